//! Files that are sent to a site: the whole body of a PUT, or the one file of a form.
use super::{
    mail::{Answer, Ask, Mail, Refusal, UPLOADS, Upload},
    path::encode,
};
use crate::{Fields, Name, Next, Reply, Status};
use bytes::Bytes;
use memchr::memmem;
use sotong_session::Host;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Which files a site takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Bytes of a file: 64 MiB. Answer: 413.
    pub bytes_max: u64,
    /// Files at once: 2, so that a disk is not filled from many sides at once. Answer: 503.
    pub at_once_max: usize,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, at_once_max: 2 }
    }
}

/// Bytes of a form beside its file: boundaries, and the head of the part.
pub(crate) const FORM_BYTES_MAX: u64 = 8 << 10;

/// One of the places for files that are being taken; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    taken: Arc<AtomicUsize>,
}

impl Permit {
    pub(crate) fn take(taken: &Arc<AtomicUsize>, at_once_max: usize) -> Option<Self> {
        let more = |taken: usize| (taken < at_once_max).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self { taken: Arc::clone(taken) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that is being taken.
#[derive(Debug)]
pub(crate) struct Taking {
    _permit: Permit,
    /// Where it is to be; of a form, once its head has come.
    names: Arc<[u8]>,
    form: Option<Form>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing has come of a form's head.
    New,
    /// The desk opens it.
    Opening,
    /// More of it is awaited.
    Open(Upload),
    /// The desk writes some of it.
    Writing(Upload),
    /// The desk makes it last.
    Closing,
}

impl Taking {
    /// The body of a PUT is the file `names`.
    pub(crate) fn put(permit: Permit, names: &[u8], reply: &mut Reply<'_, '_, Mail>) -> (Self, Next) {
        let mut taking = Self { _permit: permit, names: names.into(), form: None, stage: Stage::New };
        let next = taking.begin(reply);
        (taking, next)
    }
    /// The body of a POST has a file for the folder `names`.
    pub(crate) fn form(permit: Permit, names: &[u8], boundary: &[u8], bytes_max: u64) -> (Self, Next) {
        let form = Some(Form::new(boundary));
        let taking = Self { _permit: permit, names: names.into(), form, stage: Stage::New };
        (taking, Next::Take(bytes_max.saturating_add(FORM_BYTES_MAX)))
    }
    fn begin(&mut self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        self.stage = Stage::Opening;
        ask(Ask::Begin { names: Arc::clone(&self.names) }, reply)
    }
    /// Some of the body.
    pub(crate) fn body(&mut self, bytes: &[u8], shows_hidden: bool, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let Some(form) = &mut self.form else { return self.write(Bytes::copy_from_slice(bytes), reply) };
        form.pending.extend_from_slice(bytes);
        if matches!(self.stage, Stage::New) {
            let name = match form.head() {
                Ok(None) => return Next::Body,
                Ok(Some(name)) if name.starts_with(b".") && !shows_hidden => return refuse(Refusal::Forbidden, reply),
                Ok(Some(name)) => name,
                Err(BadForm) => return say(Status::BAD_REQUEST, &Fields::new(), reply),
            };
            if !self.names.is_empty() {
                self.names = [&self.names, &b"/"[..], &name].concat().into();
            } else {
                self.names = name.into();
            }
            return self.begin(reply);
        }
        self.write_form(reply)
    }
    /// Writes what is known to be the file's.
    fn write_form(&mut self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let Some(form) = &mut self.form else { return Next::Body };
        let bytes = form.content();
        if bytes.is_empty() { Next::Body } else { self.write(bytes, reply) }
    }
    fn write(&mut self, bytes: Bytes, reply: &mut Reply<'_, '_, Mail>) -> Next {
        match std::mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Open(upload) => {
                self.stage = Stage::Writing(upload.clone());
                ask(Ask::Write { upload, bytes }, reply)
            }
            _ => Next::Break,
        }
    }
    /// All of the body has come.
    pub(crate) fn end(&mut self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        if self.form.as_ref().is_some_and(|form| !form.is_over) {
            return say(Status::BAD_REQUEST, &Fields::new(), reply);
        }
        match std::mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Open(upload) => ask(Ask::Finish { upload }, reply),
            _ => Next::Break,
        }
    }
    /// The desk has done something.
    pub(crate) fn answer(&mut self, answer: &Answer, bytes_max: u64, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let stage = std::mem::replace(&mut self.stage, Stage::Closing);
        match (stage, answer) {
            (Stage::Opening, Answer::Begun(Ok(upload))) => {
                self.stage = Stage::Open(upload.clone());
                // A form's beginning came before its file had a name.
                if self.form.is_some() { self.write_form(reply) } else { Next::Take(bytes_max) }
            }
            (Stage::Writing(upload), Answer::Written(Ok(()))) => {
                self.stage = Stage::Open(upload);
                Next::Body
            }
            (Stage::Closing, Answer::Stored(Ok(was_there))) => self.stored(*was_there, reply),
            (_, Answer::Begun(Err(why)) | Answer::Written(Err(why)) | Answer::Stored(Err(why))) => refuse(*why, reply),
            (stage, _) => {
                self.stage = stage;
                Next::Wait
            }
        }
    }
    fn stored(&self, was_there: bool, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let mut location = vec![b'/'];
        if self.form.is_some() {
            // Back to the page of the folder, by GET.
            let folder = self.names.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            encode(&self.names[..folder], &mut location);
        } else {
            encode(&self.names, &mut location);
        }
        let mut fields = Fields::new();
        // Encoded, so that nothing in it can be no value.
        let added = fields.add(Name::LOCATION, location);
        debug_assert_eq!(added, Ok(()));
        match (&self.form, was_there) {
            (Some(_), _) => say(Status::SEE_OTHER, &fields, reply),
            (None, false) => say(Status::CREATED, &fields, reply),
            (None, true) => {
                reply.head(Status::NO_CONTENT, 0, &[]);
                Next::Done
            }
        }
    }
    /// It comes to nothing.
    pub(crate) fn abandon(self, host: &mut dyn Host<Mail>) {
        if let Stage::Open(upload) | Stage::Writing(upload) = self.stage {
            // A desk that has too much to do throws it away when it lets go of it.
            let _ = host.ask(UPLOADS, Mail::Ask(Ask::Abandon { upload }));
        }
    }
}

/// Asks the desk; a desk that has too much to do is told to the client.
fn ask(ask: Ask, reply: &mut Reply<'_, '_, Mail>) -> Next {
    match reply.cx.host.ask(UPLOADS, Mail::Ask(ask)) {
        Ok(()) => Next::Wait,
        Err(_) => busy(reply),
    }
}

/// Too many files at once.
pub(crate) fn busy(reply: &mut Reply<'_, '_, Mail>) -> Next {
    say(Status::SERVICE_UNAVAILABLE, &Fields::new().with(Name::RETRY_AFTER, "5"), reply)
}

fn refuse(why: Refusal, reply: &mut Reply<'_, '_, Mail>) -> Next {
    let status = match why {
        Refusal::Exists => Status::CONFLICT,
        Refusal::NoFolder => Status::NOT_FOUND,
        Refusal::Forbidden => Status::FORBIDDEN,
        Refusal::Full => Status::INSUFFICIENT_STORAGE,
        Refusal::Failed => Status::INTERNAL_SERVER_ERROR,
    };
    say(status, &Fields::new(), reply)
}

/// Answers, and ends the connection if more of the body is to come: nobody wants it.
fn say(status: Status, fields: &Fields, reply: &mut Reply<'_, '_, Mail>) -> Next {
    let text = Fields::new().with(Name::CONTENT_TYPE, "text/plain; charset=utf-8");
    reply.whole(status, &[&text, fields], format!("{}\n", status.line()).as_bytes())
}

/// The one file of a form (RFC 7578), as it comes.
#[derive(Debug)]
struct Form {
    /// CR, LF, two dashes and the boundary.
    delimiter: Vec<u8>,
    pending: Vec<u8>,
    /// The end of the file has been seen.
    is_over: bool,
}

/// A form that is not understood, or has no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BadForm;

impl Form {
    fn new(boundary: &[u8]) -> Self {
        // As if a line's end stood before the first boundary, too.
        Self { delimiter: [b"\r\n--", boundary].concat(), pending: b"\r\n".to_vec(), is_over: false }
    }
    /// The file's name, once the head of its part has come; what follows is the file.
    fn head(&mut self) -> Result<Option<Vec<u8>>, BadForm> {
        let known = self.pending.len().min(self.delimiter.len());
        if self.pending[..known] != self.delimiter[..known] {
            return Err(BadForm);
        }
        let Some(end) = memmem::find(&self.pending, b"\r\n\r\n") else {
            return if self.pending.len() as u64 > FORM_BYTES_MAX / 2 { Err(BadForm) } else { Ok(None) };
        };
        let head = self.pending[..end].get(self.delimiter.len()..).ok_or(BadForm)?;
        let name = head.split(|byte| *byte == b'\n').find_map(file_name).ok_or(BadForm)?;
        self.pending.drain(..end + 4);
        Ok(Some(name))
    }
    /// What is certainly the file's, of what has come.
    fn content(&mut self) -> Bytes {
        if self.is_over {
            // What follows the file is of no interest.
            self.pending.clear();
            return Bytes::new();
        }
        if let Some(end) = memmem::find(&self.pending, &self.delimiter) {
            self.is_over = true;
            self.pending.truncate(end);
            return std::mem::take(&mut self.pending).into();
        }
        let certain = (self.pending.len() + 1).saturating_sub(self.delimiter.len());
        let rest = self.pending.split_off(certain);
        std::mem::replace(&mut self.pending, rest).into()
    }
}

/// The last name of `filename="…"` in a line of a part's head; browsers write a quote in it as `%22`.
fn file_name(line: &[u8]) -> Option<Vec<u8>> {
    const FIELD: &[u8] = b"content-disposition:";
    let (field, value) = line.split_at_checked(FIELD.len())?;
    if !field.eq_ignore_ascii_case(FIELD) {
        return None;
    }
    let start = memmem::find(value, b"; filename=\"")? + b"; filename=\"".len();
    let name = value[start..].split(|byte| *byte == b'"').next()?;
    let name = name.rsplit(|byte| matches!(byte, b'/' | b'\\')).next()?;
    let name = String::from_utf8_lossy(name).replace("%22", "\"").into_bytes();
    let is_name = !name.is_empty() && name != b"." && name != b"..";
    (is_name && name.len() <= 255 && !name.iter().any(|byte| *byte < b' ' || *byte == 0x7f)).then_some(name)
}

/// The boundary of a form, if that is what the type says.
pub(crate) fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content_type).ok()?;
    let (essence, rest) = text.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut parameters = rest.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, boundary) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let boundary = boundary.trim_matches('"');
    ((1..=70).contains(&boundary.len())).then(|| boundary.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a form's file is, cut into pieces of `step` bytes.
    fn file_of(body: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, bool), BadForm> {
        let mut form = Form::new(b"XX");
        let (mut name, mut content) = (None, Vec::new());
        for piece in body.chunks(step) {
            form.pending.extend_from_slice(piece);
            if name.is_none() {
                name = form.head()?;
            }
            if name.is_some() {
                content.extend_from_slice(&form.content());
            }
        }
        Ok((name.unwrap_or_default(), content, form.is_over))
    }

    #[test]
    fn a_file_is_found_in_a_form_however_it_is_cut() {
        let head = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\한글%22.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\n";
        let name = "한글\".txt".as_bytes().to_vec();
        for content in ["", "a", "\r\n", "a\r\n--X", "a\r\n--\r\n--XY\r\n", "--XX--", "한글\r\n\r\n"] {
            let body = format!("{head}{content}\r\n--XX--\r\n");
            for step in 1..body.len() {
                let expect = Ok((name.clone(), content.as_bytes().to_vec(), true));
                assert_eq!(file_of(body.as_bytes(), step), expect, "{content:?} by {step}");
            }
        }
        for body in
            ["--XY\r\n\r\n", "--XX\r\n\r\nx", "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx", "x"]
        {
            assert!(file_of(body.as_bytes(), 3).is_err(), "{body:?}");
        }
        let (_, _, is_over) = file_of(format!("{head}abc\r\n--X").as_bytes(), 5).unwrap();
        assert!(!is_over);
    }

    #[test]
    fn names_of_files_are_names() {
        let name = |name: &str| {
            file_name(format!("Content-Disposition: form-data; name=\"f\"; filename=\"{name}\"").as_bytes())
        };
        assert_eq!(name("a.txt").as_deref(), Some(&b"a.txt"[..]));
        assert_eq!(name("/etc/passwd").as_deref(), Some(&b"passwd"[..]));
        assert_eq!(name("..\\..\\x").as_deref(), Some(&b"x"[..]));
        for bad in ["", "..", ".", "a/", "a\u{1}", &"x".repeat(256)] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn boundaries_are_read() {
        assert_eq!(boundary(b"multipart/form-data; boundary=ab-c").as_deref(), Some(&b"ab-c"[..]));
        assert_eq!(boundary(b"Multipart/Form-Data; charset=x; Boundary=\"a b\"").as_deref(), Some(&b"a b"[..]));
        for bad in
            ["multipart/mixed; boundary=a", "multipart/form-data", "multipart/form-data; boundary=", "text/plain"]
        {
            assert_eq!(boundary(bad.as_bytes()), None, "{bad}");
        }
    }
}
