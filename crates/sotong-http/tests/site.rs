//! A site in the rig, its desk played by the test: what is answered for what there is.
mod common;

use bytes::Bytes;
use common::{Answer, answers};
use sotong_http::{
    Http,
    site::{
        AccessLog, Content, Entry, Facts, Found, Shelf, ShelfLimits, Site, SiteOptions, SiteService, UploadLimits,
        Visit, hello,
        mail::{self, Ask, Credentials, FILES, Mail, PASSWORDS, Refusal, UPLOADS, Upload},
    },
};
use sotong_session::{Address, Close, End, Marks, Service, Way, Wire, rig::Rig};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

const MODIFIED: i64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A site, its desks, and one client.
struct World {
    rig: Rig<Http<Site>>,
    service: SiteService,
    shelf: Arc<Shelf>,
    files: BTreeMap<Vec<u8>, Found>,
    /// What the upload desk has.
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    asked: usize,
}

fn file(name: &str, text: &str, compressed: &[(&'static str, &str)]) -> Found {
    let content = |text: &str, inode| {
        let facts = Facts { length: text.len() as u64, modified: (MODIFIED, 5), inode };
        (Content::Bytes(Bytes::copy_from_slice(text.as_bytes())), facts)
    };
    let compressed = compressed.iter().map(|(coding, text)| {
        let (content, facts) = content(text, 2);
        (*coding, content, facts)
    });
    Found::Entry(Arc::new(Entry::file(name.as_bytes(), content(text, 1), compressed.collect())))
}

impl World {
    fn new(options: SiteOptions) -> Self {
        let shelf = Arc::new(Shelf::new(ShelfLimits::default()));
        let service = SiteService::new(options, Arc::clone(&shelf));
        let mut files = BTreeMap::new();
        for (path, found) in [
            ("", file("index.html", "<p>root", &[])),
            ("sub", Found::Folder),
            ("sub/", file("index.html", "<p>sub", &[])),
            ("a.txt", file("a.txt", "0123456789", &[])),
            ("app.js", file("app.js", "plain", &[("br", "brotli"), ("gzip", "gzipped")])),
            ("secret", Found::Forbidden),
            ("broken", Found::Failed),
            ("busy", Found::Busy),
            ("한글 1.txt", file("한글 1.txt", "안녕", &[])),
        ] {
            files.insert(path.as_bytes().to_vec(), found);
        }
        let rig = rig(&service, 0);
        Self { rig, service, shelf, files, stored: BTreeMap::new(), asked: 0 }
    }
    /// The desks do what they were asked.
    fn work(&mut self) {
        loop {
            let asked = std::mem::take(&mut self.rig.host().asked);
            if asked.is_empty() {
                return;
            }
            for (desk, mail) in asked {
                let Mail::Ask(ask) = mail else { panic!("an answer to a desk") };
                let answer = self.answer(desk, ask);
                self.rig.mail(&Mail::Answer(answer));
            }
        }
    }
    fn answer(&mut self, desk: sotong_session::Desk, ask: Ask) -> mail::Answer {
        match ask {
            Ask::Look { key, names, is_folder, .. } => {
                assert_eq!(desk, FILES);
                self.asked += 1;
                let mut path = names.to_vec();
                if is_folder && !path.is_empty() {
                    path.push(b'/');
                }
                let found = self.files.get(&path).cloned().unwrap_or(Found::Missing);
                assert_eq!(self.shelf.put(&key, &found), []);
                mail::Answer::Found { key, found }
            }
            Ask::Check(credentials) => {
                assert_eq!(desk, PASSWORDS);
                mail::Answer::Checked(credentials.name() == b"mina" && credentials.password() == "비:밀".as_bytes())
            }
            Ask::Begin { names } => {
                assert_eq!(desk, UPLOADS);
                let upload = (names.to_vec(), Mutex::new(Vec::<u8>::new()));
                mail::Answer::Begun(match &*names {
                    b"taken" => Err(Refusal::Exists),
                    b"full" => Err(Refusal::Full),
                    _ => Ok(Upload(Arc::new(upload))),
                })
            }
            Ask::Write { upload, bytes } => {
                let (_, content) = upload.0.downcast_ref::<(Vec<u8>, Mutex<Vec<u8>>)>().unwrap();
                content.lock().unwrap().extend_from_slice(&bytes);
                mail::Answer::Written(Ok(()))
            }
            Ask::Finish { upload } => {
                let (names, content) = upload.0.downcast_ref::<(Vec<u8>, Mutex<Vec<u8>>)>().unwrap();
                let before = self.stored.insert(names.clone(), content.lock().unwrap().clone());
                mail::Answer::Stored(Ok(before.is_some()))
            }
            Ask::Abandon { .. } => mail::Answer::Written(Err(Refusal::Failed)),
            Ask::Read { .. } => mail::Answer::Piece(None),
        }
    }
    fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        self.rig.input(bytes);
        loop {
            self.work();
            let more = self.rig.sent();
            if more.is_empty() {
                return sent;
            }
            sent.extend_from_slice(&more);
        }
    }
    fn ask(&mut self, line: &str, fields: &str) -> Answer {
        let is_head = line.starts_with("HEAD");
        let sent = self.send(format!("{line} HTTP/1.1\r\nHost: x.example\r\n{fields}\r\n").as_bytes());
        let all = answers(&sent, if is_head { &[0] } else { &[] });
        assert_eq!(all.len(), 1, "{line}: {all:?}");
        all.into_iter().next().unwrap()
    }
    fn status(&mut self, line: &str, fields: &str) -> u16 {
        self.ask(line, fields).status
    }
}

fn rig(service: &SiteService, slot: u32) -> Rig<Http<Site>> {
    let end = |port| End::Net(([127, 0, 0, 1], port).into());
    let way = Way::new(end(80), end(5), Wire::Stream);
    let me = Address { shard: 0, slot, turn: 0 };
    let mut rig = Rig::stream(service.open(&way).unwrap()).at(me);
    rig.open_as(&way);
    rig
}

#[test]
fn what_is_there_is_sent() {
    let mut world = World::new(SiteOptions::default());
    let answer = world.ask("GET /a.txt", "");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"0123456789"[..]));
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("last-modified"), Some(DATE));
    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.field("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    let head = world.ask("HEAD /a.txt", "");
    assert_eq!(head.head, answer.head);
    assert_eq!(world.ask("GET /", "").body, b"<p>root");
    assert_eq!(world.ask("GET /sub/?x=/../y", "").body, b"<p>sub");
    assert_eq!(world.ask("GET /%ED%95%9C%EA%B8%80%201.txt", "").body, "안녕".as_bytes());
    assert_eq!(world.ask("GET http://x.example/a.txt", "").body, b"0123456789");
}

#[test]
fn what_is_not_there_is_told() {
    let mut world = World::new(SiteOptions::default());
    for (line, status) in [
        ("GET /nothing", 404),
        ("GET /a.txt/", 404),
        ("GET /secret", 403),
        ("GET /broken", 500),
        ("GET /busy", 503),
        ("GET /.hidden", 404),
        ("GET /sub/.git/config", 404),
        ("GET /..", 400),
        ("GET /../etc/passwd", 400),
        ("GET /sub/../../etc/passwd", 400),
        ("GET /%2e%2e/etc/passwd", 400),
        ("GET /%2E%2E%2fetc%2fpasswd", 400),
        ("GET /..%2fetc/passwd", 400),
        ("GET /..%5cetc/passwd", 404),
        ("GET /..\\etc\\passwd", 404),
        ("GET /%252e%252e/etc/passwd", 404),
        ("GET /a.txt%00.html", 400),
        ("GET /a.txt%0d%0aX:y", 400),
        ("GET /%zz", 400),
        ("GET *", 400),
        ("CONNECT x.example:443", 400),
        ("DELETE /a.txt", 405),
        ("POST /a.txt", 405),
        ("PUT /a.txt", 405),
        ("BREW /a.txt", 405),
    ] {
        assert_eq!(world.status(line, ""), status, "{line}");
    }
    assert_eq!(world.ask("DELETE /a.txt", "").field("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(world.status("OPTIONS *", ""), 204);
    assert_eq!(world.status("GET /a.txt", ""), 200, "the connection is as good as before");
}

#[test]
fn a_folder_is_at_its_slash_and_on_this_host() {
    let mut world = World::new(SiteOptions::default());
    assert_eq!(world.ask("GET /sub?a=b", "").field("location"), Some("/sub/?a=b"));
    world.files.insert(b"evil.example".to_vec(), Found::Folder);
    world.files.insert("한 \"글".as_bytes().to_vec(), Found::Folder);
    assert_eq!(world.ask("GET //evil.example", "").field("location"), Some("/evil.example/"));
    assert_eq!(world.ask("GET /\\evil.example", "").status, 404);
    assert_eq!(world.ask("GET /%ed%95%9c%20%22%ea%b8%80", "").field("location"), Some("/%ED%95%9C%20%22%EA%B8%80/"));
}

#[test]
fn parts_are_sent() {
    let mut world = World::new(SiteOptions::default());
    let etag = world.ask("GET /a.txt", "").field("etag").unwrap().to_owned();
    let answer = world.ask("GET /a.txt", "Range: bytes=2-4\r\n");
    assert_eq!((answer.status, &answer.body[..]), (206, &b"234"[..]));
    assert_eq!(answer.field("content-range"), Some("bytes 2-4/10"));
    assert_eq!(world.ask("GET /a.txt", "Range: bytes=-3\r\n").body, b"789");
    let past = world.ask("GET /a.txt", "Range: bytes=10-\r\n");
    assert_eq!((past.status, past.field("content-range")), (416, Some("bytes */10")));
    assert_eq!(world.status("GET /a.txt", &format!("Range: bytes={}\r\n", ["0-0"; 17].join(","))), 416);
    for whole in [
        "Range: bytes=0-9,0-9\r\n".to_owned(),
        "Range: lines=1\r\n".to_owned(),
        "Range: bytes=1-2\r\nRange: bytes=3-4\r\n".to_owned(),
        "Range: bytes=1-2\r\nIf-Range: \"other\"\r\n".to_owned(),
        format!("Range: bytes=1-2\r\nIf-Range: W/{etag}\r\n"),
    ] {
        assert_eq!(world.status("GET /a.txt", &whole), 200, "{whole}");
    }
    assert_eq!(world.status("HEAD /a.txt", "Range: bytes=1-2\r\n"), 200);
    assert_eq!(world.status("GET /a.txt", &format!("Range: bytes=1-2\r\nIf-Range: {etag}\r\n")), 206);
    assert_eq!(world.status("GET /a.txt", &format!("Range: bytes=1-2\r\nIf-Range: {DATE}\r\n")), 206);
    let many = world.ask("GET /a.txt", "Range: bytes=0-1,-2\r\n");
    let boundary = many.field("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    let expect = format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89"));
    assert_eq!(String::from_utf8(many.body.clone()).unwrap(), expect);
    assert_eq!(many.head.matches("\r\nContent-Type:").count(), 1);
}

#[test]
fn who_has_it_is_told_so() {
    let mut world = World::new(SiteOptions::default());
    let etag = world.ask("GET /a.txt", "").field("etag").unwrap().to_owned();
    let same = world.ask("GET /a.txt", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((same.status, same.field("etag"), same.field("content-length")), (304, Some(&*etag), None));
    assert_eq!(world.status("GET /a.txt", &format!("If-Modified-Since: {DATE}\r\n")), 304);
    assert_eq!(world.status("GET /a.txt", "If-Match: \"other\"\r\n"), 412);
    assert_eq!(world.status("GET /a.txt", "If-None-Match: \"other\"\r\n"), 200);
}

#[test]
fn what_was_compressed_beforehand_is_sent_to_who_can_read_it() {
    let mut world = World::new(SiteOptions::default());
    let mut tags = Vec::new();
    for (accept, body, coding) in [
        ("", "plain", None),
        ("Accept-Encoding: gzip\r\n", "gzipped", Some("gzip")),
        ("Accept-Encoding: gzip, deflate, br\r\n", "brotli", Some("br")),
        ("Accept-Encoding: br;q=0, *\r\n", "gzipped", Some("gzip")),
        ("Accept-Encoding: identity\r\n", "plain", None),
    ] {
        let answer = world.ask("GET /app.js", accept);
        assert_eq!((answer.body.as_slice(), answer.field("content-encoding")), (body.as_bytes(), coding), "{accept}");
        assert_eq!(answer.field("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
        tags.push(answer.field("etag").unwrap().to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each coding has its own tag");
    assert_eq!(world.ask("GET /a.txt", "Accept-Encoding: br\r\n").field("vary"), None);
}

#[test]
fn many_who_wait_ask_once_and_what_is_found_is_good_for_a_second() {
    let mut world = World::new(SiteOptions::default());
    let request = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut others: Vec<_> = (1..50).map(|slot| rig(&world.service, slot)).collect();
    world.rig.input(request);
    for other in &mut others {
        other.input(request);
        assert!(other.host().asked.is_empty());
    }
    let (_, mail) = world.rig.host().asked.pop().unwrap();
    let Mail::Ask(Ask::Look { key, .. }) = mail else { panic!("{mail:?}") };
    let found = world.files[&b"a.txt"[..]].clone();
    let waiting = world.shelf.put(&key, &found);
    assert_eq!(waiting.iter().map(|who| who.slot).collect::<Vec<_>>(), (1..50).collect::<Vec<_>>());
    let answer = Mail::Answer(mail::Answer::Found { key, found });
    for rig in others.iter_mut().chain([&mut world.rig]) {
        rig.mail(&answer);
        assert_eq!(answers(&rig.sent(), &[])[0].body, b"0123456789");
    }
    world.files.insert(b"a.txt".to_vec(), file("a.txt", "new", &[]));
    world.rig.advance(Duration::from_millis(999));
    assert_eq!(world.ask("GET /a.txt", "").body, b"0123456789");
    assert_eq!(world.asked, 0);
    world.rig.advance(Duration::from_millis(1));
    assert_eq!(world.ask("GET /a.txt", "").body, b"new");
    assert_eq!(world.asked, 1);
}

#[test]
fn a_desk_that_is_full_or_silent_is_told() {
    let mut world = World::new(SiteOptions::default());
    world.rig.host().busy = true;
    let answer = world.ask("GET /a.txt", "");
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    world.rig.host().busy = false;
    assert_eq!(world.status("GET /a.txt", ""), 200, "nobody waits for a question that was not taken");
    world.rig.input(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    world.rig.advance(Duration::from_secs(29));
    assert_eq!(world.rig.close(), None);
    world.rig.advance(Duration::from_secs(1));
    assert!(world.rig.sent().starts_with(b"HTTP/1.1 503 "));
    assert_eq!(world.rig.close(), Some(&Close::Limit("answer_time")));
}

#[test]
fn a_slow_reader_gets_all_of_it_through_a_small_output() {
    let world = World::new(SiteOptions::default());
    let text: String = (0..3000).map(|number| format!("{number} ")).collect();
    let found = file("long.txt", &text, &[]);
    let mut rig = rig(&world.service, 7).with_marks(Marks { low: 16, high: 64, hard: 4096 });
    rig.input(
        b"GET /long.txt HTTP/1.1\r\nHost: x\r\n\r\nGET /long.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let mut sent = Vec::new();
    for _ in 0..100_000 {
        for (_, mail) in std::mem::take(&mut rig.host().asked) {
            let Mail::Ask(Ask::Look { key, .. }) = mail else { panic!("{mail:?}") };
            world.shelf.put(&key, &found);
            rig.mail(&Mail::Answer(mail::Answer::Found { key, found: found.clone() }));
        }
        sent.extend_from_slice(&rig.sent_some(13));
        if rig.close().is_some() && rig.queued() == 0 {
            break;
        }
    }
    assert_eq!(rig.close(), Some(&Close::Done));
    let all = answers(&sent, &[]);
    assert_eq!(all.iter().map(|answer| answer.body == text.as_bytes()).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn an_application_has_its_paths_in_the_browser() {
    let mut world = World::new(SiteOptions { falls_back: true, ..SiteOptions::default() });
    assert_eq!(world.ask("GET /people/7", "").body, b"<p>root");
    assert_eq!(world.status("GET /missing.js", ""), 404);
    assert_eq!(world.ask("GET /a.txt", "").body, b"0123456789");
    world.files.remove(&b""[..]);
    world.rig.advance(Duration::from_secs(2));
    assert_eq!(world.status("GET /people/7", ""), 404, "without an end it would go round in circles");
}

#[test]
fn names_and_passwords_are_asked_for() {
    let mut world = World::new(SiteOptions { asks_password: true, ..SiteOptions::default() });
    let nobody = world.ask("GET /a.txt", "");
    assert_eq!(nobody.status, 401);
    assert_eq!(nobody.field("www-authenticate"), Some("Basic realm=\"Sotong\", charset=\"UTF-8\""));
    let right = "Authorization: Basic bWluYTrruYQ667CA\r\n";
    for (fields, status) in [
        (right, 200),
        (right, 200),
        ("Authorization: basic bWluYTrruYQ667CA\r\n", 200),
        ("Authorization: Basic bWluYTp4\r\n", 401),
        ("Authorization: Basic ???\r\n", 401),
        ("Authorization: Basic bWluYQ==\r\n", 401),
        ("Authorization: Bearer bWluYTrruYQ667CA\r\n", 401),
        ("Authorization: Basic bWluYTrruYQ667CA\r\nAuthorization: Basic bWluYTp4\r\n", 401),
        ("", 401),
    ] {
        assert_eq!(world.status("GET /a.txt", fields), status, "{fields}");
    }
    assert_eq!(format!("{:?}", Ask::Check(credentials_of(&mut world, right))), "Check");
}

fn credentials_of(world: &mut World, fields: &str) -> Credentials {
    let mut rig = rig(&world.service, 9);
    rig.input(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
    match rig.host().asked.pop() {
        Some((_, Mail::Ask(Ask::Check(credentials)))) => credentials,
        other => panic!("{other:?}"),
    }
}

fn taking() -> World {
    let uploads = Some(UploadLimits { bytes_max: 1000, at_once_max: 2 });
    World::new(SiteOptions { uploads, ..SiteOptions::default() })
}

#[test]
fn files_are_taken() {
    let mut world = taking();
    let put = |path: &str, text: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: x.example\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    };
    let answer = &answers(&world.send(put("/new/%ED%95%9C.txt", "hello").as_bytes()), &[])[0];
    assert_eq!((answer.status, answer.field("location")), (201, Some("/new/%ED%95%9C.txt")));
    assert_eq!(world.stored["new/한.txt".as_bytes()], b"hello");
    for (path, status) in [("/taken", 409), ("/full", 507), ("/folder/", 409), ("/.hidden", 404), ("/../x", 400)] {
        assert_eq!(answers(&world.send(put(path, "x").as_bytes()), &[])[0].status, status, "{path}");
    }
    let waits =
        world.send(b"PUT /b HTTP/1.1\r\nHost: x.example\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(waits, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(answers(&world.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), &[])[0].status, 201);
    assert_eq!(world.stored[&b"b"[..]], b"abcde");
    let form =
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"사진.jpg\"\r\n\r\n\u{0}jpeg\r\n--XX--\r\n";
    let head = format!(
        "POST /sub/ HTTP/1.1\r\nHost: x.example\r\nOrigin: http://x.example\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=XX\r\n\r\n",
        form.len()
    );
    let answer = &answers(&world.send(format!("{head}{form}").as_bytes()), &[])[0];
    assert_eq!((answer.status, answer.field("location")), (303, Some("/sub/")));
    assert_eq!(world.stored["sub/사진.jpg".as_bytes()], b"\0jpeg");
    let foreign = head.replace("http://x.example", "http://evil.example");
    assert_eq!(answers(&world.send(format!("{foreign}{form}").as_bytes()), &[])[0].status, 403);
    let sent = world.send(b"PUT /c HTTP/1.1\r\nHost: x.example\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(answers(&sent, &[])[0].status, 413);
}

#[test]
fn few_files_are_taken_at_once_and_broken_ones_given_up() {
    let mut world = taking();
    let head = b"PUT /a HTTP/1.1\r\nHost: x.example\r\nContent-Length: 10\r\n\r\nabc";
    let mut others: Vec<_> = (1..3).map(|slot| rig(&world.service, slot)).collect();
    for other in &mut others {
        other.input(head);
        assert_eq!(other.host().asked.len(), 1);
    }
    assert_eq!(answers(&world.send(head), &[])[0].status, 503);
    let upload = Upload(Arc::new((b"a".to_vec(), Mutex::new(Vec::<u8>::new()))));
    let first = &mut others[0];
    first.mail(&Mail::Answer(mail::Answer::Begun(Ok(upload))));
    first.mail(&Mail::Answer(mail::Answer::Written(Ok(()))));
    first.end();
    assert_eq!(first.close(), Some(&Close::Truncated));
    assert!(matches!(first.host().asked.last(), Some((_, Mail::Ask(Ask::Abandon { .. })))));
    others.remove(0);
    let mut world = World { rig: rig(&world.service, 5), ..world };
    world.send(b"PUT /d HTTP/1.1\r\nHost: x.example\r\nContent-Length: 1\r\n\r\nd");
    assert_eq!(world.stored[&b"d"[..]], b"d");
}

#[test]
fn pages_of_one_other_origin_may_read() {
    let cors = |origin: &str| World::new(SiteOptions { cors: Some(origin.to_owned()), ..SiteOptions::default() });
    let mut world = cors("https://a.example");
    let answer = world.ask("GET /a.txt", "Origin: https://a.example\r\n");
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(answer.field("vary"), Some("Origin"));
    let ahead = world.ask("OPTIONS /a.txt", "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n");
    assert_eq!((ahead.status, ahead.field("access-control-allow-methods")), (204, Some("GET, HEAD")));
    assert_eq!(cors("*").ask("GET /a.txt", "").field("access-control-allow-origin"), Some("*"));
    assert_eq!(cors("x\r\nSet-Cookie: y").ask("GET /a.txt", "").field("access-control-allow-origin"), None);
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl AccessLog for Log {
    fn log(&self, visit: &Visit<'_>) {
        let mut line = String::new();
        visit.write_common(&mut line);
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn requests_are_logged() {
    let log = Arc::new(Log::default());
    let mut world = World::new(SiteOptions { log: Some(Arc::clone(&log) as _), ..SiteOptions::default() });
    world.ask("GET /a.txt", "");
    world.ask("HEAD /a.txt", "");
    world.ask("GET /no\"pe", "");
    world.send(b"nonsense\r\n\r\n");
    let at = "127.0.0.1 - - [01/Jan/1970:00:00:00 +0000]";
    let expect = [
        format!("{at} \"GET /a.txt HTTP/1.1\" 200 10\n"),
        format!("{at} \"HEAD /a.txt HTTP/1.1\" 200 0\n"),
        format!("{at} \"GET /no\\\"pe HTTP/1.1\" 404 14\n"),
        format!("{at} \"-\" 400 47\n"),
    ];
    assert_eq!(*log.0.lock().unwrap(), expect);
}

#[test]
fn a_server_without_a_folder_greets_and_sends_back() {
    let pages = vec![hello(&Default::default(), "Hello", &["<&>".to_owned()])];
    let service = SiteService::hello(SiteOptions::default(), pages);
    let mut rig = rig(&service, 0);
    rig.input(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    rig.input(b"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    let all = answers(&rig.sent(), &[]);
    assert_eq!(all.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 404, 200]);
    assert!(String::from_utf8_lossy(&all[0].body).contains("<p>&lt;&amp;&gt;</p>"));
    assert_eq!(all[2].body, b"hello");
}
