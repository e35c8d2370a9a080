//! `--hash-password`: the hash of a password, for a file.

use std::io::{self, BufRead, BufReader, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use sotong_desks::hash_password;

use crate::catalogue::text;
use crate::console::Console;
use crate::failure::{Failure, ReadProblem};

/// Bytes of a password that is hashed.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Prints the hash of the password on standard input, without the end of its line.
pub(crate) fn hash(console: &Console) -> Result<(), Failure> {
    let failed = |fault: io::Error| Failure::Read { path: "stdin".to_owned(), why: ReadProblem::Io(fault.kind()) };
    let silent = Silent::begin();
    if silent.is_some() {
        console.say(&text!(console.catalogue, "web-password"));
    }
    let mut password = Vec::new();
    let read = BufReader::new(io::stdin().lock().take(PASSWORD_BYTES_MAX)).read_until(b'\n', &mut password);
    drop(silent);
    read.map_err(failed)?;
    while let Some(b'\n' | b'\r') = password.last() {
        password.pop();
    }
    if password.is_empty() {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    let hash = hash_password(&password).map_err(failed)?;
    console.out(&format!("{hash}\n"))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silent {
    before: Termios,
}

impl Silent {
    /// `None` where standard input is no terminal.
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Self { before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // It worked a moment ago.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
