//! `sotong web`: a folder as a web site.

use std::path::Path;
use std::sync::Arc;

use sotong_desks::{Beneath, Files, FilesOptions};
use sotong_drivers::{DeskWork, Plan, desk};
use sotong_http::site::mail::Mail;
use sotong_http::site::{Shelf, ShelfLimits, SiteOptions, SiteService, Words, hello};

use crate::catalogue::{Catalogue, Lang, text};
use crate::cli::{WEB_ADDRESS, Web, WebFlags};
use crate::commands::serve;
use crate::console::Console;
use crate::failure::{Failure, Usage};

/// Threads that look files up: a slow disk holds up so many at once.
const FILE_THREADS: usize = 4;
/// Questions that wait for them; what comes then is answered 503.
const FILE_QUESTIONS_MAX: usize = 4096;

/// Serves a folder, or a small page where there is none.
pub(crate) fn run(mut args: Web, console: &Console) -> Result<(), Failure> {
    let folder = take_folder(&mut args.serve.addresses)?;
    let options = SiteOptions {
        shows_hidden: args.site.hidden,
        falls_back: args.site.spa,
        words: Lang::ALL.into_iter().map(words).collect(),
        ..SiteOptions::default()
    };
    let Some(folder) = folder else {
        let pages = Lang::ALL.into_iter().map(page).collect();
        return serve::run_streams("web", &args.serve, SiteService::hello(options, pages), Vec::new(), console);
    };
    let root = Beneath::open(Path::new(&folder)).map_err(|why| Failure::Folder { path: folder, why })?;
    let shelf = Arc::new(Shelf::new(ShelfLimits::default()));
    let desks = desks(&args.site, &options, root, &shelf);
    serve::run_streams("web", &args.serve, SiteService::new(options, shelf), desks, console)
}

fn desks(flags: &WebFlags, options: &SiteOptions, root: Beneath, shelf: &Arc<Shelf>) -> Vec<Plan<Mail>> {
    let files = FilesOptions {
        index: flags.index.clone().into_bytes(),
        lists: !flags.no_list,
        shows_hidden: flags.hidden,
        words: options.words.clone(),
        ..FilesOptions::default()
    };
    let (root, files) = (Arc::new(root), Arc::new(files));
    let worker = || -> Box<dyn DeskWork<Mail>> {
        Box::new(Files::new(Arc::clone(&root), Arc::clone(shelf), Arc::clone(&files)))
    };
    vec![desk(FILE_QUESTIONS_MAX, (0..FILE_THREADS).map(|_| worker()).collect())]
}

/// The first argument is the folder unless it is an address. The address is the usual one where none is given.
fn take_folder(arguments: &mut Vec<String>) -> Result<Option<String>, Failure> {
    let folder = arguments.first().is_some_and(|first| !is_address(first)).then(|| arguments.remove(0));
    if let Some(second) = arguments.iter().find(|argument| !is_address(argument)) {
        return Err(Failure::Usage(Usage::UnexpectedValue { value: second.clone() }));
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
        for address in ["127.0.0.1:8080", ":0", "*:80", "localhost:1", "[::1]:80", "tcp://x", "unix:/tmp/s", "tls://x"] {
            assert!(is_address(address), "{address}");
        }
        for folder in [".", "..", "/srv/www", "/srv/a:80", "./a:80", "www", "localhost", "a:b", "a:", "a:123456", "한글"] {
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
        assert_eq!(taken(&["www", "other"]), None);
        assert_eq!(taken(&[":1", "www"]), None);
    }
}
