//! The program of `--exec`: found before anything listens, run once for each conversation.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, access};
use sotong_certs::{CertificateDer, Fingerprint, describe};
use sotong_net::child::{Child, words};
use sotong_net::pump::End;
use sotong_session::{End as Place, TlsFacts, Way, Wire};

use crate::failure::{Failure, JoinFailure};

/// A program and its arguments, and where it runs.
pub(super) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    running: Mutex<Vec<Child>>,
}

impl Program {
    /// The program that `line` names. Arguments are `args`; without any, `line` is split into words as a shell does.
    pub(super) fn find(line: &OsStr, args: &[OsString]) -> Result<Self, Failure> {
        let shown = || line.to_string_lossy().into_owned();
        let mut words = if args.is_empty() {
            words(line).map_err(|why| Failure::Join(JoinFailure::Words { line: shown(), why }))?
        } else {
            [&[line.to_owned()], args].concat()
        };
        let args = words.split_off(1);
        let found = match words.pop() {
            Some(name) => look_up(&name).map_err(|why| (name.to_string_lossy().into_owned(), why)),
            None => Err((shown(), io::ErrorKind::NotFound)),
        };
        match found {
            Ok(path) => Ok(Self { path, args, running: Mutex::default() }),
            Err((program, why)) => Err(Failure::Join(JoinFailure::Program { program, why })),
        }
    }

    /// Runs it for the peer of `way`, which it finds in `SOTONG_PEER`, and our end in `SOTONG_LOCAL`, as addresses. Over TLS
    /// the name that the peer asked for is in `SOTONG_TLS_NAME`, and the subject and fingerprint of the certificate that it
    /// proved to have in `SOTONG_TLS_CLIENT` and `SOTONG_TLS_CLIENT_SHA256`, where there is one.
    pub(super) fn spawn(&self, way: &Way, tls: Option<&TlsFacts>) -> Result<(Child, End), JoinFailure> {
        let shown = |end| Some(address(end, way.wire, tls.is_some()));
        let client = tls.and_then(|tls| tls.peer_chain.first());
        let facts = client.and_then(|der| describe(&CertificateDer::from_slice(der)));
        // What is not known must not be what somebody else has left in the environment.
        let vars = [
            ("SOTONG_PEER", shown(&way.remote)),
            ("SOTONG_LOCAL", shown(&way.local)),
            ("SOTONG_TLS_NAME", tls.and_then(|tls| tls.server_name.as_ref()).map(ToString::to_string)),
            ("SOTONG_TLS_CLIENT", facts.map(|facts| facts.subject)),
            ("SOTONG_TLS_CLIENT_SHA256", client.map(|der| Fingerprint::of(der).to_string())),
        ];
        let spawned = Child::spawn(self.path.as_os_str(), &self.args, &vars);
        let (child, end) = spawned
            .map_err(|fault| JoinFailure::Program { program: self.path.display().to_string(), why: fault.kind() })?;
        self.running().push(child.clone());
        Ok((child, end))
    }

    /// Lets go of those that have exited.
    pub(super) fn tidy(&self) {
        self.running().retain(|child| !child.has_exited());
    }

    /// Kills it wherever it runs: it has process groups of its own, so no Ctrl-C reaches it.
    pub(super) fn kill(&self) {
        self.running().iter().for_each(Child::kill);
    }

    fn running(&self) -> MutexGuard<'_, Vec<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(place: &Place, wire: Wire, is_tls: bool) -> String {
    match (place, wire) {
        (Place::Net(address), _) if is_tls => format!("tls://{address}"),
        (Place::Net(address), Wire::Stream) => format!("tcp://{address}"),
        (Place::Net(address), Wire::Records) => format!("udp://{address}"),
        (other, _) if is_tls => format!("tls+{other}"),
        (other, _) => other.to_string(),
    }
}

/// The file that a shell would run by this name.
fn look_up(name: &OsStr) -> Result<PathBuf, io::ErrorKind> {
    if name.as_encoded_bytes().contains(&b'/') {
        return runnable(Path::new(name)).map(|()| name.into());
    }
    let paths = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut why = io::ErrorKind::NotFound;
    for folder in std::env::split_paths(&paths) {
        let path = folder.join(name);
        match runnable(&path) {
            Ok(()) => return Ok(path),
            Err(io::ErrorKind::PermissionDenied) => why = io::ErrorKind::PermissionDenied,
            Err(_) => {}
        }
    }
    Err(why)
}

fn runnable(path: &Path) -> Result<(), io::ErrorKind> {
    let kind = std::fs::metadata(path).map_err(|fault| fault.kind())?.file_type();
    if !kind.is_file() {
        return Err(io::ErrorKind::PermissionDenied);
    }
    access(path, Access::EXEC_OK).map_err(rustix::io::Errno::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(line: &str, args: &[&str]) -> Result<(PathBuf, Vec<OsString>), String> {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        Program::find(line.as_ref(), &args).map(|found| (found.path, found.args)).map_err(|why| format!("{why:?}"))
    }

    #[test]
    fn a_line_is_split_unless_arguments_follow() {
        let (path, args) = find("sh -c 'echo \"a b\"'", &[]).expect("sh is there");
        assert!(path.is_absolute() && path.ends_with("sh"), "{}", path.display());
        assert_eq!(args, ["-c", "echo \"a b\""]);
        assert_eq!(find("/bin/sh", &["a b", "-x"]), Ok(("/bin/sh".into(), vec!["a b".into(), "-x".into()])));
        assert!(find("sh -c", &["x"]).is_err_and(|why| why.contains("NotFound")), "a name with a blank is one name");
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_anything_listens() {
        for (line, why) in [
            ("no-such-program-anywhere", "NotFound"),
            ("/etc/passwd", "PermissionDenied"),
            ("/tmp", "PermissionDenied"),
            ("", "Empty"),
            ("a 'b", "OpenQuote"),
        ] {
            assert!(find(line, &[]).is_err_and(|said| said.contains(why)), "{line}");
        }
    }
}
