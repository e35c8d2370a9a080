//! `sotong chat`: IRC and plain text in the same rooms, on one port.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};
use sotong_chat::{ChatLimits, ChatOptions, ChatService};
use sotong_session::Wall;
use sotong_tls::Greets;

use crate::catalogue::{Catalogue, Lang, text};
use crate::cli::{Chat, ChatFlags};
use crate::commands::serve::{self, FrontDoor};
use crate::console::Console;
use crate::failure::{Failure, ReadProblem};

/// A person with a terminal waits for the server to speak; whoever speaks TLS does so at once.
const SILENCE: Duration = Duration::from_secs(1);

/// Bytes of a message of the day.
const MOTD_BYTES_MAX: usize = 16 << 10;

/// Opens a chat until a signal comes.
pub(crate) fn run(args: Chat, console: &Console) -> Result<(), Failure> {
    let Chat { serve, chat } = args;
    let flags = &chat;
    let options = ChatOptions {
        name: flags.server_name.clone(),
        network: flags.network.clone(),
        room: flags.lobby.clone(),
        motd: flags.motd.as_deref().map_or(Ok(Vec::new()), motd)?,
        ways: ways(flags),
        created: Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)),
        cloak_key: key()?,
        limits: ChatLimits { flood_control: !flags.no_flood_control, ..ChatLimits::default() },
        ..ChatOptions::default()
    };
    let front = if flags.tls || serve.tls.has_certificate() { FrontDoor::Both } else { FrontDoor::Plain };
    let service = ChatService::new(options);
    let greets = Greets { after: SILENCE, service: service.for_the_silent() };
    serve::run_streams("chat", &serve, (front, Some(greets)), service, Vec::new(), console)
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
    let text = std::fs::read_to_string(path).map_err(|fault| failed(fault.kind()))?;
    if text.len() > MOTD_BYTES_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// The document that a browser gets, in all languages. Where the browser came to is put in when it has asked.
fn ways(flags: &ChatFlags) -> Vec<String> {
    let of = |lang: Lang| {
        let catalogue = Catalogue::new(lang);
        let (network, room) = (flags.network.clone(), flags.lobby.clone());
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
