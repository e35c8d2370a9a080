//! `sotong chat`: IRC and plain text in the same rooms, on one port.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};
use sotong_chat::{ChatOptions, ChatService, Entrance, TlsEntrance};
use sotong_session::Wall;

use crate::catalogue::{Catalogue, Lang, text};
use crate::cli::{CHAT_ADDRESS, Chat, ChatFlags};
use crate::commands::password;
use crate::commands::serve::{self, FrontDoor};
use crate::commands::serve_tls::Tls;
use crate::config::{self, Config, example};
use crate::console::Console;
use crate::failure::{Failure, ReadProblem, Usage};

/// Opens a chat until a signal comes.
pub(crate) fn run(args: Chat, console: &Console) -> Result<(), Failure> {
    let Chat { mut serve, chat: flags } = args;
    if flags.hash_password {
        return password::hash(console);
    }
    if flags.example_config {
        return console.out(&example(&console.catalogue));
    }
    let config = match &flags.config {
        Some(path) => Config::read(path)?,
        None => of_flags(&flags)?,
    };
    if let Some(path) = &flags.config {
        if config.says_history {
            let file = path.display().to_string();
            console.warn("history", |catalogue| text!(catalogue, "config-history-later", file = file.clone()));
        }
        if flags.check_config {
            console.say(&text!(console.catalogue, "config-ok", file = path.display().to_string()));
            return Ok(());
        }
    }
    let mut speaks_tls = flags.tls;
    if serve.addresses.is_empty() {
        if flags.tls || serve.tls.has_certificate() {
            let flag = if flags.tls { "--tls" } else { "--cert" };
            return Err(Failure::Usage(Usage::Needs { flag, other: "ADDR" }));
        }
        for listen in &config.listen {
            if let Some(address) = &listen.address.0 {
                serve.addresses.push(address.to_string());
            }
            speaks_tls |= listen.tls;
            if let Some(cert) = listen.tls_cert.given() {
                serve.tls.show(cert, listen.tls_key.given());
            }
        }
        if serve.addresses.is_empty() {
            serve.addresses.push(CHAT_ADDRESS.to_owned());
        }
    }
    let options = config.chat_options(ChatOptions {
        ways: ways(&config),
        created: Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)),
        cloak_key: key()?,
        ..ChatOptions::default()
    });
    let front = if speaks_tls || serve.tls.has_certificate() { FrontDoor::Both } else { FrontDoor::Plain };
    let service = ChatService::new(options);
    let entrance = |tls: Option<&Tls>| {
        let tls = tls.map(|tls| TlsEntrance { secure: tls.secure(()), required: false });
        service.with_entrances(vec![Entrance { tls, ..Entrance::default() }])
    };
    let result = serve::run_whole("chat", &serve, front, entrance, Vec::new(), console);
    for (limit, count) in service.counters() {
        tracing::info!(service = "chat", limit, count, "limit reached");
    }
    result
}

/// What the flags say, where there is no file.
fn of_flags(flags: &ChatFlags) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.server.name.0.clone_from(&flags.server_name);
    config.server.network.0.clone_from(&flags.network);
    config.server.lobby.0.clone_from(&flags.lobby);
    config.limits.flood_control = !flags.no_flood_control;
    if let Some(path) = &flags.motd {
        config.motd = motd(path)?;
    }
    Ok(config)
}

/// What keeps addresses from being guessed by trying all of them. A new one with each start.
fn key() -> Result<[u8; 32], Failure> {
    let mut key = [0; 32];
    match getrandom(&mut key[..], GetRandomFlags::empty()) {
        Ok(_) => Ok(key),
        Err(why) => Err(Failure::Read { path: "getrandom".to_owned(), why: ReadProblem::Io(why.kind()) }),
    }
}

fn motd(path: &Path) -> Result<Vec<String>, Failure> {
    let failed = |why| Failure::Read { path: path.display().to_string(), why: ReadProblem::Io(why) };
    let text = config::motd(path).map_err(|fault| failed(fault.kind()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The document that a browser gets, in all languages. Where the browser came to is put in when it has asked.
fn ways(config: &Config) -> Vec<String> {
    let of = |lang: Lang| {
        let catalogue = Catalogue::new(lang);
        let (network, room) = (config.server.network.0.clone(), config.server.lobby.0.clone());
        let (client, nc) = ("irssi -c {host} -p {port}", "nc {host} {port}");
        [
            text!(catalogue, "chat-page-what", network = network),
            String::new(),
            text!(catalogue, "chat-page-irc", command = client),
            text!(catalogue, "chat-page-nc", command = nc, room = room),
            String::new(),
        ]
    };
    Lang::ALL.into_iter().flat_map(of).collect()
}
