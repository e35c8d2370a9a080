//! `sotong web`: a folder as a web site.

use std::path::Path;
use std::sync::Arc;

use sotong_desks::{Beneath, Files, FilesOptions, PasswordTable, Passwords, Uploads};
use sotong_drivers::{DeskWork, Plan, desk};
use sotong_http::site::mail::Mail;
use sotong_http::site::{AccessLog, Shelf, ShelfLimits, SiteOptions, SiteService, UploadLimits, Words, hello};

use crate::access_log::Logger;
use crate::catalogue::{Catalogue, Lang, text};
use crate::cli::{WEB_ADDRESS, Web, WebFlags};
use crate::commands::password;
use crate::commands::serve::{self, FrontDoor};
use crate::console::Console;
use crate::failure::{Failure, ReadProblem, Usage};

/// Threads that look files up: a slow disk holds up so many at once.
const FILE_THREADS: usize = 4;
/// Questions that wait for them; what comes then is answered 503.
const FILE_QUESTIONS_MAX: usize = 4096;

/// Threads that write what is sent, and questions that wait for them: each file has at most one.
const UPLOAD_THREADS: usize = 2;
const UPLOAD_QUESTIONS_MAX: usize = 256;
/// Passwords that are hashed at once, 19 MiB and a core each, and those that wait for it.
const PASSWORD_THREADS: usize = 2;
const PASSWORD_QUESTIONS_MAX: usize = 64;

/// Serves a folder, or a small page where there is none.
pub(crate) fn run(mut args: Web, console: &Console) -> Result<(), Failure> {
    if args.site.hash_password {
        return password::hash(console);
    }
    let folder = take_folder(&mut args.serve.addresses)?;
    let logger = logger(&args.site)?;
    let passwords = args.site.passwords.as_deref().map(passwords).transpose()?;
    let (limits, flags) = (UploadLimits::default(), &args.site);
    let uploads = flags.upload.then_some(UploadLimits { bytes_max: flags.upload_max.0 as u64, ..limits });
    let options = SiteOptions {
        shows_hidden: args.site.hidden,
        falls_back: args.site.spa,
        asks_password: passwords.is_some(),
        uploads: uploads.filter(|_| folder.is_some()),
        cors: args.site.cors.clone(),
        log: logger.clone().map(|logger| logger as Arc<dyn AccessLog>),
        words: Lang::ALL.into_iter().map(words).collect(),
        ..SiteOptions::default()
    };
    let front = match args.site.https || args.serve.tls.has_certificate() {
        true => FrontDoor::Both,
        false => FrontDoor::Plain,
    };
    let speaks_tls = front == FrontDoor::Both || args.serve.addresses.iter().any(|at| at.starts_with("tls"));
    if speaks_tls {
        args.serve.tls.speak("http/1.1");
    }
    let result = match folder {
        None => {
            let pages = Lang::ALL.into_iter().map(page).collect();
            // Without a folder nobody looks for files or takes them.
            let desks = vec![desk(0, Vec::new()), desk(0, Vec::new()), hashing(passwords)];
            serve::run_streams("web", &args.serve, front, SiteService::hello(options, pages), desks, console)
        }
        Some(folder) => {
            let root = Beneath::open(Path::new(&folder)).map_err(|why| Failure::Folder { path: folder, why })?;
            let shelf = Arc::new(Shelf::new(ShelfLimits::default()));
            let mut desks = filing(&args.site, &options, &Arc::new(root), &shelf);
            desks.push(hashing(passwords));
            serve::run_streams("web", &args.serve, front, SiteService::new(options, shelf), desks, console)
        }
    };
    if let Some(logger) = logger {
        logger.finish();
    }
    result
}

/// The desks by their numbers: [`sotong_http::site::mail::FILES`], then `UPLOADS`.
fn filing(flags: &WebFlags, options: &SiteOptions, root: &Arc<Beneath>, shelf: &Arc<Shelf>) -> Vec<Plan<Mail>> {
    let files = Arc::new(FilesOptions {
        index: flags.index.clone().into_bytes(),
        lists: !flags.no_list,
        shows_hidden: flags.hidden,
        takes_files: flags.upload,
        words: options.words.clone(),
    });
    let looking =
        || -> Box<dyn DeskWork<Mail>> { Box::new(Files::new(Arc::clone(root), Arc::clone(shelf), Arc::clone(&files))) };
    let taking = || -> Box<dyn DeskWork<Mail>> { Box::new(Uploads::new(Arc::clone(root), flags.overwrite)) };
    let upload_threads = if flags.upload { UPLOAD_THREADS } else { 0 };
    vec![
        desk(FILE_QUESTIONS_MAX, (0..FILE_THREADS).map(|_| looking()).collect()),
        desk(UPLOAD_QUESTIONS_MAX, (0..upload_threads).map(|_| taking()).collect()),
    ]
}

/// The desk `PASSWORDS`.
fn hashing(passwords: Option<Passwords>) -> Plan<Mail> {
    let worker = |passwords: Passwords| -> Box<dyn DeskWork<Mail>> { Box::new(passwords) };
    let workers = passwords.into_iter().flat_map(|passwords| std::iter::repeat_n(passwords, PASSWORD_THREADS));
    desk(PASSWORD_QUESTIONS_MAX, workers.map(worker).collect())
}

fn logger(flags: &WebFlags) -> Result<Option<Arc<Logger>>, Failure> {
    let Some(path) = &flags.access_log else { return Ok(None) };
    match Logger::open(path, flags.access_format) {
        Ok(logger) => Ok(Some(Arc::new(logger))),
        Err(fault) => Err(Failure::Write { what: path.display().to_string(), why: fault.kind() }),
    }
}

fn passwords(path: &Path) -> Result<Passwords, Failure> {
    let failed = |why| Failure::Read { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map_err(|fault| failed(ReadProblem::Io(fault.kind())))?;
    let table = PasswordTable::parse(&text).map_err(|why| failed(ReadProblem::Passwords(why)))?;
    Passwords::new(table).map_err(|fault| failed(ReadProblem::Io(fault.kind())))
}

/// The first argument is the folder unless it is an address. The address is the usual one where none is given.
fn take_folder(arguments: &mut Vec<String>) -> Result<Option<String>, Failure> {
    let folder = arguments.first().is_some_and(|first| !is_address(first)).then(|| arguments.remove(0));
    if let Some(second) = arguments.iter().find(|argument| !is_address(argument)) {
        return Err(Failure::Usage(Usage::UnexpectedValue { value: second.clone() }));
    }
    for argument in arguments.iter_mut() {
        // As in a browser's line.
        for (url, address) in [("http://", "tcp://"), ("https://", "tls://")] {
            if let Some(rest) = argument.strip_prefix(url) {
                *argument = format!("{address}{}", rest.trim_end_matches('/'));
            }
        }
    }
    if arguments.is_empty() {
        arguments.push(WEB_ADDRESS.to_owned());
    }
    Ok(folder)
}

/// Whether an argument has a scheme or ends with `:PORT`. A folder of such a name is written `./NAME`.
fn is_address(argument: &str) -> bool {
    if argument.starts_with(['.', '/']) {
        return false;
    }
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    argument.contains("://")
        || argument.starts_with("unix:")
        || argument.starts_with("tls+unix:")
        || argument.rsplit_once(':').is_some_and(|(_, port)| is_port(port))
}

/// The words of pages, in one language.
fn words(lang: Lang) -> Words {
    let catalogue = Catalogue::new(lang);
    Words {
        lang: lang.tag().to_owned(),
        root: text!(catalogue, "web-page-root"),
        up: text!(catalogue, "web-page-up"),
        name: text!(catalogue, "web-page-name"),
        size: text!(catalogue, "web-page-size"),
        changed: text!(catalogue, "web-page-changed"),
        empty: text!(catalogue, "web-page-empty"),
        more: text!(catalogue, "web-page-more"),
        upload: text!(catalogue, "web-page-upload"),
        send: text!(catalogue, "web-page-send"),
    }
}

/// The page of a server without a folder.
fn page(lang: Lang) -> String {
    let catalogue = Catalogue::new(lang);
    let paragraphs = [text!(catalogue, "web-hello-what"), text!(catalogue, "web-hello-next")];
    hello(&words(lang), &text!(catalogue, "web-hello-title"), &paragraphs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_told_from_an_address() {
        for address in ["127.0.0.1:8080", ":0", "*:80", "localhost:1", "[::1]:80", "tcp://x", "unix:/tmp/s", "tls://x"]
        {
            assert!(is_address(address), "{address}");
        }
        for folder in
            [".", "..", "/srv/www", "/srv/a:80", "./a:80", "www", "localhost", "a:b", "a:", "a:123456", "한글"]
        {
            assert!(!is_address(folder), "{folder}");
        }
    }

    #[test]
    fn the_folder_comes_first() {
        let taken = |arguments: &[&str]| {
            let mut arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            take_folder(&mut arguments).map(|folder| (folder, arguments)).ok()
        };
        let expect = |folder: Option<&str>, addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            Some((folder.map(str::to_owned), addresses))
        };
        assert_eq!(taken(&[WEB_ADDRESS]), expect(None, &[WEB_ADDRESS]));
        assert_eq!(taken(&["www"]), expect(Some("www"), &[WEB_ADDRESS]));
        assert_eq!(taken(&["www", ":1", ":2"]), expect(Some("www"), &[":1", ":2"]));
        assert_eq!(taken(&[":1"]), expect(None, &[":1"]));
        assert_eq!(taken(&["www", "http://:1/", "https://h:2"]), expect(Some("www"), &["tcp://:1", "tls://h:2"]));
        assert_eq!(taken(&["www", "other"]), None);
        assert_eq!(taken(&[":1", "www"]), None);
    }
}
