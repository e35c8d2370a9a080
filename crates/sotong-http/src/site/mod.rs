//! A folder as a web site.
//!
//! [`Site`] answers the requests of one connection. It opens no file: a desk does ([`mail`]), and puts what it finds on the
//! [`Shelf`] that all sessions of a server share, where it is good for a second.
pub(crate) mod auth;
mod found;
pub mod mail;
mod negotiate;
mod page;
mod path;
mod range;
mod send;
mod shelf;
mod upload;
mod visit;

pub use found::{Content, Entry, Facts, Found, SMALL_BYTES_MAX};
pub use page::{NAMES_MAX, Name as PageName, NameKind, Words, folder, hello};
pub use path::{BadPath, SitePath};
pub use range::{RANGES_MAX, Ranges};
pub use shelf::{Shelf, ShelfLimits};
pub use upload::UploadLimits;
pub use visit::{AccessLog, Visit};

use crate::{Answered, App, Fields, Framing, Http, HttpLimits, Method, Name, Next, Reply, Request, Status};
use found::Variant;
use mail::{Answer, Ask, Credentials, FILES, Mail, PASSWORDS};
use negotiate::Verdict;
use send::Sending;
use shelf::Looked;
use sotong_session::{Address, Close, End, Host, Service, Way};
use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicUsize},
};
use upload::{Permit, Taking};

/// What a site shows and takes.
#[derive(Clone, Debug, Default)]
pub struct SiteOptions {
    /// Names that begin with a dot are shown, too.
    pub shows_hidden: bool,
    /// A path that leads nowhere, and does not look like a file's, shows the page at the root: for applications that have
    /// their paths in the browser.
    pub falls_back: bool,
    /// Names and passwords are asked for, and checked by the desk [`mail::PASSWORDS`].
    pub asks_password: bool,
    /// Files are taken: PUT to a name, and by the form on a folder's page. They are written by the desk [`mail::UPLOADS`].
    pub uploads: Option<UploadLimits>,
    /// The origin whose pages may read what is served here (CORS); `*` is any.
    pub cors: Option<String>,
    /// Is told of each request.
    pub log: Option<Arc<dyn AccessLog>>,
    /// The languages of pages that are made; the first is for who asks for none of them. Empty is English.
    pub words: Vec<Words>,
    /// What an HTTP session may cost.
    pub limits: HttpLimits,
}

/// Makes the sessions of a site.
#[derive(Clone, Debug)]
pub struct SiteService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: SiteOptions,
    shelf: Arc<Shelf>,
    /// What is shown where there is no folder: a page in each language.
    hello: Vec<Entry>,
    /// What every answer has.
    common: Fields,
    /// Files that are being taken.
    uploads: Arc<AtomicUsize>,
}

impl SiteService {
    /// A site whose files are looked up by a desk with the same `shelf`.
    pub fn new(options: SiteOptions, shelf: Arc<Shelf>) -> Self {
        Self::with(options, shelf, Vec::new())
    }
    /// A server without a folder: it shows a page, of which there is one for each of the site's languages, and sends back
    /// what is sent to it by any method but GET and HEAD, up to 64 KiB. It needs no desk.
    pub fn hello(options: SiteOptions, pages: Vec<String>) -> Self {
        let shelf = Arc::new(Shelf::new(ShelfLimits::default()));
        Self::with(options, shelf, pages.into_iter().map(Entry::page).collect())
    }
    fn with(mut options: SiteOptions, shelf: Arc<Shelf>, hello: Vec<Entry>) -> Self {
        if options.words.is_empty() {
            options.words.push(Words::default());
        }
        let mut common = Fields::new().with(Name::CONTENT_TYPE_OPTIONS, "nosniff");
        if let Some(origin) = &options.cors {
            // An origin that is none is no field, and then nobody's pages may read.
            if common.add(Name::ALLOW_ORIGIN, origin).is_ok() {
                common = common.with(Name::EXPOSE_HEADERS, "Accept-Ranges, Content-Range, ETag");
                if origin != "*" {
                    common = common.with(Name::VARY, "Origin");
                }
            }
        }
        Self { shared: Arc::new(Shared { options, shelf, hello, common, uploads: Arc::default() }) }
    }
}

impl Service for SiteService {
    type Session = Http<Site>;
    /// What there is comes from desks alone.
    const TALKS: bool = false;

    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        let peer = way.peer().clone();
        let site = Site { shared: Arc::clone(&self.shared), peer, work: Work::Nothing, known: None, note: None };
        Ok(Http::new(site, self.shared.options.limits))
    }
    fn lost(&self, _who: Address, _host: &mut dyn Host<Mail>) {}
}

/// Answers the requests of one connection.
#[derive(Debug)]
pub struct Site {
    shared: Arc<Shared>,
    peer: End,
    work: Work,
    /// Whose password has been checked on this connection.
    known: Option<Credentials>,
    /// What the log will tell of the request that is under way.
    note: Option<Box<Note>>,
}

/// What a request says about itself and its sender.
#[derive(Debug)]
struct Note {
    line: Vec<u8>,
    referer: Option<Vec<u8>>,
    agent: Option<Vec<u8>>,
}

/// What is under way.
#[derive(Debug)]
enum Work {
    Nothing,
    /// The desk looks for what the request in `head` wants.
    Looking {
        head: Vec<u8>,
        key: Arc<[u8]>,
        is_fallback: bool,
    },
    Sending(Sending),
    /// The desk checks a password for the request in `head`.
    Checking {
        head: Vec<u8>,
        credentials: Credentials,
    },
    Taking(Taking),
    /// What is sent back when it is whole.
    Echoing(Vec<u8>),
}

/// Bytes that a server without a folder sends back.
const ECHO_BYTES_MAX: u64 = 64 << 10;

impl App for Site {
    type Mail = Mail;

    fn open(&mut self, way: &Way) {
        // A layer may have learned who it really is.
        self.peer = way.peer().clone();
    }
    fn request(&mut self, request: &Request<'_>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        if self.shared.options.log.is_some() {
            let own = |value: &[u8]| value.to_vec();
            let (referer, agent) = (request.one("referer").map(own), request.one("user-agent").map(own));
            self.note = Some(Box::new(Note { line: request.line().to_vec(), referer, agent }));
        }
        if request.method() == Method::Options {
            return self.options(request, reply);
        }
        if !self.shared.options.asks_password {
            return self.serve(request, reply);
        }
        match auth::credentials(request) {
            Some(credentials) if self.known.as_ref() == Some(&credentials) => self.serve(request, reply),
            Some(credentials) => {
                let ask = Mail::Ask(Ask::Check(credentials.clone()));
                if reply.cx.host.ask(PASSWORDS, ask).is_err() {
                    return self.say_busy(reply);
                }
                self.work = Work::Checking { head: request.bytes().to_vec(), credentials };
                Next::Wait
            }
            None => self.say_who(reply),
        }
    }
    fn body(&mut self, bytes: &[u8], reply: &mut Reply<'_, '_, Mail>) -> Next {
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Echoing(mut body) => {
                body.extend_from_slice(bytes);
                self.work = Work::Echoing(body);
                Next::Body
            }
            Work::Taking(mut taking) => {
                let next = taking.body(bytes, self.shared.options.shows_hidden, reply);
                self.taken(taking, next, reply)
            }
            Work::Nothing | Work::Looking { .. } | Work::Checking { .. } | Work::Sending(_) => Next::Break,
        }
    }
    fn body_end(&mut self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Echoing(body) => {
                let length = body.len() as u64;
                let fields = Fields::new().with(Name::CONTENT_TYPE, "application/octet-stream");
                reply.head(Status::OK, length, &[&fields, &self.shared.common]);
                self.begin(Sending::part(&Content::Bytes(body.into()), 0..length), reply)
            }
            Work::Taking(mut taking) => {
                let next = taking.end(reply);
                self.taken(taking, next, reply)
            }
            Work::Nothing | Work::Looking { .. } | Work::Checking { .. } | Work::Sending(_) => Next::Break,
        }
    }
    fn mail(&mut self, mail: &Mail, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let Mail::Answer(answer) = mail else { return Next::Wait };
        let limits = self.shared.options.limits;
        match (std::mem::replace(&mut self.work, Work::Nothing), answer) {
            (Work::Looking { head, key, is_fallback }, Answer::Found { key: told, found }) if key == *told => {
                match Request::parse(&head, &limits) {
                    Ok(request) => self.answer(&request, found, is_fallback, reply),
                    Err(_) => Next::Break,
                }
            }
            (Work::Checking { head, credentials }, Answer::Checked(is_right)) => match Request::parse(&head, &limits) {
                Ok(request) if *is_right => {
                    self.known = Some(credentials);
                    self.serve(&request, reply)
                }
                Ok(_) => self.say_who(reply),
                Err(_) => Next::Break,
            },
            (Work::Sending(mut sending), Answer::Piece(piece)) => {
                let next = sending.piece(piece.as_ref(), reply);
                self.sent(sending, next)
            }
            (Work::Taking(mut taking), answer) => {
                if matches!(answer, Answer::Stored(Ok(_))) {
                    // Whoever sees the answer sees the file.
                    self.shared.shelf.clear();
                }
                let bytes_max = self.shared.options.uploads.map_or(0, |uploads| uploads.bytes_max);
                let next = taking.answer(answer, bytes_max, reply);
                self.taken(taking, next, reply)
            }
            (work, _) => {
                self.work = work;
                Next::Wait
            }
        }
    }
    fn drained(&mut self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Sending(mut sending) => {
                let next = sending.go_on(reply);
                self.sent(sending, next)
            }
            work => {
                self.work = work;
                Next::Wait
            }
        }
    }
    fn answered(&mut self, answered: &Answered) {
        let note = self.note.take();
        let Some(log) = &self.shared.options.log else { return };
        let Answered { status, bytes, time, wall } = *answered;
        let user = self.known.as_ref().map(Credentials::name);
        let (line, referer, agent) = match note.as_deref() {
            Some(Note { line, referer, agent }) => (&line[..], referer.as_deref(), agent.as_deref()),
            None => (&[][..], None, None),
        };
        log.log(&Visit { peer: &self.peer, user, line, referer, agent, status, bytes, time, wall });
    }
    fn refused(&mut self, answered: &Answered, under_way: bool) {
        if !under_way {
            self.note = None;
        }
        self.answered(answered);
    }
    fn broken(&mut self, host: &mut dyn Host<Mail>) {
        if let Work::Taking(taking) = std::mem::replace(&mut self.work, Work::Nothing) {
            taking.abandon(host);
        }
    }
}

impl Site {
    fn serve(&mut self, request: &Request<'_>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let path = request.path_and_query().map(|(path, _)| path);
        if !self.shared.hello.is_empty() {
            return self.greet(request, path == Some(b"/"), reply);
        }
        let Some(Ok(path)) = path.map(SitePath::parse) else { return self.say(Status::BAD_REQUEST, reply) };
        if path.is_hidden() && !self.shared.options.shows_hidden {
            return self.say(Status::NOT_FOUND, reply);
        }
        match request.method() {
            Method::Get | Method::Head => self.look(request, &path, false, reply),
            Method::Put | Method::Post if self.shared.options.uploads.is_some() => self.take(request, &path, reply),
            _ => self.say_with(Status::METHOD_NOT_ALLOWED, &self.allow(), reply),
        }
    }
    fn allow(&self) -> Fields {
        let takes = self.shared.options.uploads.is_some();
        let methods = match (self.shared.hello.is_empty(), takes) {
            (true, false) => "GET, HEAD, OPTIONS",
            (true, true) => "GET, HEAD, OPTIONS, POST, PUT",
            (false, _) => "GET, HEAD, OPTIONS, POST, PUT, DELETE",
        };
        Fields::new().with(Name::ALLOW, methods)
    }
    /// What can be done here; for a browser, whether a page of another origin may.
    fn options(&self, request: &Request<'_>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let mut fields = self.allow();
        let options = &self.shared.options;
        if options.cors.is_some() && request.one("access-control-request-method").is_some() {
            // Pages of everybody may read; only those of a named origin may write.
            let writes = options.uploads.is_some() && options.cors.as_deref() != Some("*");
            let methods = if writes { "GET, HEAD, PUT" } else { "GET, HEAD" };
            fields = fields
                .with(Name::ALLOW_METHODS, methods)
                .with(Name::ALLOW_HEADERS, "Authorization, Content-Type, If-Modified-Since, If-None-Match, Range")
                .with(Name::MAX_AGE, "600");
        }
        reply.head(Status::NO_CONTENT, 0, &[&fields, &self.shared.common]);
        Next::Done
    }
    /// Takes a file: the body of a PUT to its name, or the one in the form of a POST to its folder.
    fn take(&mut self, request: &Request<'_>, path: &SitePath<'_>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let Some(UploadLimits { bytes_max, at_once_max }) = self.shared.options.uploads else { return Next::Break };
        if !self.is_own(request) {
            return self.say(Status::FORBIDDEN, reply);
        }
        let is_put = request.method() == Method::Put;
        let boundary = request.one("content-type").and_then(upload::boundary);
        if is_put == path.is_folder() || is_put == boundary.is_some() {
            let status = if is_put { Status::CONFLICT } else { Status::BAD_REQUEST };
            return self.say(status, reply);
        }
        let length_max = if is_put { bytes_max } else { bytes_max.saturating_add(upload::FORM_BYTES_MAX) };
        if matches!(request.framing(), Framing::Length(length) if length > length_max) {
            return self.say(Status::CONTENT_TOO_LARGE, reply);
        }
        let Some(permit) = Permit::take(&self.shared.uploads, at_once_max) else { return upload::busy(reply) };
        let (taking, next) = match boundary {
            Some(boundary) => Taking::form(permit, path.names(), &boundary, bytes_max),
            None => Taking::put(permit, path.names(), reply),
        };
        self.taken(taking, next, reply)
    }
    /// Whether a request comes from a page of this very server, of the origin that may write, or from no page at all: any
    /// page can make a browser send a form anywhere.
    fn is_own(&self, request: &Request<'_>) -> bool {
        let Some(origin) = request.all("origin").next() else { return true };
        let host = origin.windows(3).position(|part| part == b"://").map(|at| &origin[at + 3..]);
        let allowed = self.shared.options.cors.as_deref().filter(|allowed| *allowed != "*");
        host.is_some() && host == request.host() || allowed.is_some_and(|allowed| allowed.as_bytes() == origin)
    }
    fn taken(&mut self, taking: Taking, next: Next, reply: &mut Reply<'_, '_, Mail>) -> Next {
        match next {
            Next::Done | Next::Upgrade | Next::Break => taking.abandon(reply.cx.host),
            Next::Take(_) | Next::Body | Next::Wait => self.work = Work::Taking(taking),
        }
        next
    }
    /// Answers without a folder.
    fn greet(&mut self, request: &Request<'_>, is_root: bool, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let shared = Arc::clone(&self.shared);
        match request.method() {
            Method::Get | Method::Head if is_root => {
                let languages = shared.options.words.iter().map(|words| &*words.lang);
                let page = shared.hello.get(negotiate::language(request, languages)).unwrap_or(&shared.hello[0]);
                self.send(request, page, reply)
            }
            Method::Get | Method::Head => self.say(Status::NOT_FOUND, reply),
            _ => {
                self.work = Work::Echoing(Vec::new());
                Next::Take(ECHO_BYTES_MAX)
            }
        }
    }
    /// Answers with what is at `path`, now or when the desk has looked.
    fn look(
        &mut self,
        request: &Request<'_>,
        path: &SitePath<'_>,
        is_fallback: bool,
        reply: &mut Reply<'_, '_, Mail>,
    ) -> Next {
        let options = &self.shared.options;
        let is_folder = path.is_folder();
        let language =
            if is_folder { negotiate::language(request, options.words.iter().map(|words| &*words.lang)) } else { 0 };
        let key = key(path, language);
        let (me, now, host) = (reply.cx.me, reply.cx.now, &mut *reply.cx.host);
        let mut asked = None;
        let looked = self.shared.shelf.look(&key, me, now, |key| {
            let names = path.names().into();
            let ask = Ask::Look { key: Arc::clone(&key), names, is_folder, language };
            asked = Some(key);
            host.ask(FILES, Mail::Ask(ask)).is_ok()
        });
        match looked {
            Looked::Here(found) => self.answer(request, &found, is_fallback, reply),
            Looked::Busy => self.answer(request, &Found::Busy, is_fallback, reply),
            Looked::Coming => {
                let key = asked.unwrap_or_else(|| key.as_ref().into());
                self.work = Work::Looking { head: request.bytes().to_vec(), key, is_fallback };
                Next::Wait
            }
        }
    }
    fn answer(
        &mut self,
        request: &Request<'_>,
        found: &Found,
        is_fallback: bool,
        reply: &mut Reply<'_, '_, Mail>,
    ) -> Next {
        match found {
            Found::Entry(entry) => self.send(request, entry, reply),
            Found::Folder => self.redirect(request, reply),
            Found::Missing if self.shared.options.falls_back && !is_fallback && is_route(request) => {
                match SitePath::parse(b"/") {
                    Ok(root) => self.look(request, &root, true, reply),
                    Err(_) => self.say(Status::NOT_FOUND, reply),
                }
            }
            Found::Missing => self.say(Status::NOT_FOUND, reply),
            Found::Forbidden => self.say(Status::FORBIDDEN, reply),
            Found::Failed => self.say(Status::INTERNAL_SERVER_ERROR, reply),
            Found::Busy => self.say_busy(reply),
        }
    }
    fn send(&mut self, request: &Request<'_>, entry: &Entry, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let variant = entry.best(|coding| negotiate::accepts(request, coding));
        let common = &self.shared.common;
        let ranges = match negotiate::weigh(request, variant.etag.as_deref(), variant.modified) {
            Verdict::NotModified => {
                reply.head(Status::NOT_MODIFIED, 0, &[&variant.fields, common]);
                return Next::Done;
            }
            Verdict::Failed => return self.say(Status::PRECONDITION_FAILED, reply),
            Verdict::Send { ranges } if ranges && request.method() == Method::Get && variant.etag.is_some() => {
                request.one("range").map_or(Ranges::Whole, |value| Ranges::parse(value, variant.length))
            }
            Verdict::Send { .. } => Ranges::Whole,
        };
        let sending = match ranges {
            Ranges::Unsatisfiable => {
                let mut fields = Fields::new();
                let added = fields.add(Name::CONTENT_RANGE, format!("bytes */{}", variant.length));
                debug_assert_eq!(added, Ok(()));
                return self.say_with(Status::RANGE_NOT_SATISFIABLE, &fields, reply);
            }
            Ranges::Whole => {
                reply.head(Status::OK, variant.length, &[&variant.fields, common]);
                if reply.is_bodiless() {
                    return Next::Done;
                }
                Sending::part(&variant.content, 0..variant.length)
            }
            Ranges::Parts(parts) => self.begin_parts(variant, &parts, reply),
        };
        self.begin(sending, reply)
    }
    fn begin(&mut self, mut sending: Sending, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let next = sending.go_on(reply);
        self.sent(sending, next)
    }
    fn begin_parts(
        &self,
        variant: &Variant,
        parts: &[std::ops::Range<u64>],
        reply: &mut Reply<'_, '_, Mail>,
    ) -> Sending {
        let mut fields = Fields::new();
        let common = &self.shared.common;
        if let [part] = parts {
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, variant.length);
            let added = fields.add(Name::CONTENT_RANGE, range);
            debug_assert_eq!(added, Ok(()));
            reply.head(Status::PARTIAL_CONTENT, part.end - part.start, &[&variant.fields, &fields, common]);
            return Sending::part(&variant.content, part.clone());
        }
        let mut random = [0; 12];
        reply.cx.host.random(&mut random);
        let (sending, length, content_type) = Sending::parts(variant, parts, random);
        let added = fields.add(Name::CONTENT_TYPE, content_type);
        debug_assert_eq!(added, Ok(()));
        reply.head(Status::PARTIAL_CONTENT, length, &[&variant.unmarked, &fields, common]);
        sending
    }
    fn sent(&mut self, sending: Sending, next: Next) -> Next {
        if next == Next::Wait {
            self.work = Work::Sending(sending);
        }
        next
    }
    /// A folder is at its name with a slash: else the links of its page would lead elsewhere.
    fn redirect(&self, request: &Request<'_>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let Some((raw, query)) = request.path_and_query() else { return self.say(Status::BAD_REQUEST, reply) };
        let Ok(path) = SitePath::parse(raw) else { return self.say(Status::BAD_REQUEST, reply) };
        // One slash at the front, whatever was sent: two would name another host.
        let mut location = vec![b'/'];
        path::encode(path.names(), &mut location);
        location.push(b'/');
        if let Some(query) = query {
            location.push(b'?');
            location.extend_from_slice(query);
        }
        let mut fields = Fields::new();
        if fields.add(Name::LOCATION, location).is_err() {
            return self.say(Status::BAD_REQUEST, reply);
        }
        self.say_with(Status::MOVED_PERMANENTLY, &fields, reply)
    }
    fn say_busy(&self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        self.say_with(Status::SERVICE_UNAVAILABLE, &Fields::new().with(Name::RETRY_AFTER, "1"), reply)
    }
    fn say_who(&mut self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        self.known = None;
        let ask = Fields::new().with(Name::WWW_AUTHENTICATE, "Basic realm=\"Sotong\", charset=\"UTF-8\"");
        self.say_with(Status::UNAUTHORIZED, &ask, reply)
    }
    fn say(&self, status: Status, reply: &mut Reply<'_, '_, Mail>) -> Next {
        self.say_with(status, &Fields::new(), reply)
    }
    /// Answers with a status and nothing but its name.
    fn say_with(&self, status: Status, fields: &Fields, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let text = Fields::new().with(Name::CONTENT_TYPE, "text/plain; charset=utf-8");
        reply.whole(status, &[&text, fields, &self.shared.common], format!("{}\n", status.line()).as_bytes())
    }
}

/// Whether a path may be one that an application has in the browser: it has no ending, as files have.
fn is_route(request: &Request<'_>) -> bool {
    let path = request.path_and_query().map(|(path, _)| SitePath::parse(path));
    matches!(path, Some(Ok(path)) if !path.last().contains(&b'.'))
}

/// What a path is kept under: its names, a slash behind those of a folder, and the language of its page, where it is not
/// the first, behind a NUL, which no name has.
fn key<'p>(path: &'p SitePath<'_>, language: usize) -> Cow<'p, [u8]> {
    if !path.is_folder() {
        return Cow::Borrowed(path.names());
    }
    let mut key = path.names().to_vec();
    key.push(b'/');
    if language > 0 {
        key.push(0);
        key.extend_from_slice(language.to_string().as_bytes());
    }
    Cow::Owned(key)
}
