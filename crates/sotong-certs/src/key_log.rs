//! The secrets of sessions, written for a tool that decrypts captures (the format of NSS). Only where asked for.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;

use crate::error::CertError;

/// Appends to a file that only its owner may read if it is new.
#[derive(Debug)]
pub(crate) struct KeyLogTo(Mutex<File>);

impl KeyLogTo {
    pub(crate) fn open(file: &Path) -> Result<Self, CertError> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
        let opened = opened.map_err(|fault| CertError::KeyLog { file: file.to_owned(), why: fault.kind() })?;
        Ok(Self(Mutex::new(opened)))
    }
}

impl KeyLog for KeyLogTo {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        for (bytes, after) in [(client_random, ' '), (secret, '\n')] {
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
            line.push(after);
        }
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written is no reason to end a connection.
        let _ = file.write_all(line.as_bytes());
    }
}
