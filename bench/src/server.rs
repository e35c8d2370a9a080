//! The servers that are measured, and starting and ending one.
use std::{
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use sotong::drivers::Model;

use crate::{
    peer::{IMPOSSIBLE, Wire},
    proc::Tree,
    workload::Workload,
};

/// How long a server may take to say where it listens.
const START_MAX: Duration = Duration::from_secs(20);
/// How long it may take to end when asked to; then it is killed.
const END_MAX: Duration = Duration::from_secs(5);
/// Of what a server says on stderr, this much of its first line is kept.
const LINE_BYTES_MAX: u64 = 4096;

/// A server by the name that stands in tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// Written for the purpose, without Sotong.
    Plain(Plain),
    /// `sotong echo --model …`, by the model's name.
    Ours(String),
    /// Our echo as a session that could get mail, by the model's name.
    WithMail(String),
}

/// The plain servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plain {
    /// One io_uring.
    Uring,
    /// One epoll.
    Epoll,
    /// tokio with two workers.
    TokioMulti,
    /// tokio on one thread.
    TokioCurrent,
    /// A thread a connection.
    Threads,
}

impl Plain {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Uring, Self::Epoll, Self::TokioMulti, Self::TokioCurrent, Self::Threads];

    fn name(self) -> &'static str {
        match self {
            Self::Uring => "plain-uring",
            Self::Epoll => "plain-epoll",
            Self::TokioMulti => "plain-tokio-multi",
            Self::TokioCurrent => "plain-tokio-current",
            Self::Threads => "plain-threads",
        }
    }
}

impl Server {
    /// Every server that there is: the plain ones, ours under every model, and `threads` with mail.
    pub fn all() -> Vec<Self> {
        let plain = Plain::ALL.into_iter().map(Self::Plain);
        let ours = Model::ALL.into_iter().map(|model| Self::Ours(model.name().to_owned()));
        let threads = Self::WithMail(Model::Threads.name().to_owned());
        plain.chain(ours).chain([threads]).collect()
    }

    /// The name for `--servers`, in JSON and in tables.
    pub fn name(&self) -> String {
        match self {
            Self::Plain(plain) => plain.name().to_owned(),
            Self::Ours(model) => model.clone(),
            Self::WithMail(model) => format!("{model}+mail"),
        }
    }

    /// The plain server that does the same by hand.
    pub fn counterpart(&self) -> Option<Self> {
        let (Self::Ours(model) | Self::WithMail(model)) = self else { return None };
        Some(Self::Plain(match model.as_str() {
            "threads" | "sequential" => Plain::Threads,
            "epoll" | "processes" => Plain::Epoll,
            "async" => Plain::TokioCurrent,
            _ => Plain::Uring,
        }))
    }

    /// Why this server does not take part in a workload.
    pub fn lacks(&self, workload: Workload) -> Option<&'static str> {
        match self {
            Self::Ours(model) if model == "sequential" && workload.is_concurrent() => {
                Some("sequential serves one connection at a time")
            }
            Self::WithMail(_) if workload == Workload::Datagrams => Some("the session with mail is for streams"),
            _ => None,
        }
    }

    fn command(&self, folder: &Path, wire: Wire) -> Command {
        let (scheme, is_udp) = match wire {
            Wire::Tcp => ("tcp", false),
            Wire::Udp => ("udp", true),
        };
        let program = |name: &str| Command::new(folder.join(name));
        let mut command = match self {
            Self::Plain(Plain::Uring) if is_udp => program("plain-uring-udp"),
            Self::Plain(Plain::TokioMulti | Plain::TokioCurrent) => program("plain-tokio"),
            Self::Plain(plain) => program(plain.name()),
            Self::Ours(_) => program("sotong"),
            Self::WithMail(_) => program("echo-with-mail"),
        };
        match self {
            Self::Plain(Plain::TokioMulti) => command.args(["multi", scheme]),
            Self::Plain(Plain::TokioCurrent) => command.args(["current", scheme]),
            Self::Plain(_) => command.arg(scheme),
            Self::WithMail(model) => command.args([model, scheme]),
            Self::Ours(model) => {
                let address = format!("{scheme}://127.0.0.1:0");
                command.args(["echo", &address, "--lang", "en", "--model", model, "--workers", "1"])
            }
        };
        command
    }
}

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This machine cannot run it: what the server says about it.
    #[error("{0}")]
    Impossible(String),
    /// It ended or was silent before it listened.
    #[error("{0}")]
    Failed(String),
    /// It cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The cores that servers and the load run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The server's.
    pub server: usize,
    /// The load's: another one if there is one.
    pub load: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn pick() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let server = cores.next().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { server, load: cores.next().unwrap_or(server) })
    }

    /// Keeps this thread, and what it starts from now on, on one core.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn pin(core: usize) -> io::Result<()> {
        let mut only = CpuSet::new();
        only.set(core);
        Ok(sched_setaffinity(None, &only)?)
    }
}

/// A process that is ended when this is dropped: asked first, then killed.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn end(&mut self) -> Option<ExitStatus> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // One that has ended already was not waited for yet, so the number is still its own.
        if let (Some(pid), Ok(None)) = (pid, self.0.try_wait()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        loop {
            match self.0.try_wait() {
                Ok(None) if asked.elapsed() < END_MAX => thread::sleep(Duration::from_millis(2)),
                Ok(Some(status)) => return Some(status),
                Ok(None) | Err(_) => break,
            }
        }
        let _ = self.0.kill();
        self.0.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server that serves; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    /// Starts a server from `folder` on the server's core and waits until it says where it listens.
    ///
    /// # Errors
    /// If it does not come to that.
    pub fn start(server: &Server, wire: Wire, folder: &Path, cores: Cores) -> Result<Self, StartError> {
        Self::launch(&server.name(), server.command(folder, wire), cores)
    }

    /// The same of a program that says where it listens.
    ///
    /// # Errors
    /// If it does not come to that.
    pub fn launch(name: &str, mut command: Command, cores: Cores) -> Result<Self, StartError> {
        command.stderr(Stdio::piped());
        let mut process = spawn(command, cores)?;
        let (sender, said) = sync_channel(1);
        if let Some(stderr) = process.0.stderr.take() {
            thread::spawn(move || listen_to(stderr, &sender));
        }
        match said.recv_timeout(START_MAX) {
            Ok(Said::Address(address)) => Ok(Self { process, address }),
            Ok(Said::Last(line)) => match process.end().and_then(|status| status.code()) {
                Some(IMPOSSIBLE) => Err(StartError::Impossible(line)),
                _ => Err(StartError::Failed(format!("{name} does not listen: {line}"))),
            },
            Err(_) => Err(StartError::Failed(format!("{name} does not say where it listens"))),
        }
    }

    /// The same of a program that was told to listen at `address`, and does not say when it does.
    ///
    /// # Errors
    /// If it cannot be reached there.
    pub fn at(name: &str, address: SocketAddr, mut command: Command, cores: Cores) -> Result<Self, StartError> {
        command.stderr(Stdio::null());
        let mut process = spawn(command, cores)?;
        let began = Instant::now();
        loop {
            if TcpStream::connect(address).is_ok() {
                return Ok(Self { process, address });
            }
            if began.elapsed() > START_MAX || !matches!(process.0.try_wait(), Ok(None)) {
                return Err(StartError::Failed(format!("{name} does not listen at {address}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its processes.
    pub fn tree(&self) -> Tree {
        Tree::new(self.process.0.id())
    }
}

/// Starts a program on the server's core.
fn spawn(mut command: Command, cores: Cores) -> Result<Process, StartError> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let program = command.get_program().display().to_string();
    // A child begins where its parent is.
    let spawned = Cores::pin(cores.server).and_then(|()| {
        let spawned = command.spawn();
        Cores::pin(cores.load)?;
        spawned
    });
    Ok(Process(spawned.map_err(|source| StartError::Start { program, source })?))
}

/// What a server said.
enum Said {
    Address(SocketAddr),
    /// Its last line, and nothing of an address.
    Last(String),
}

/// Reads what a server says until it ends, so that it never waits for a reader.
fn listen_to(stderr: impl Read, sender: &SyncSender<Said>) {
    let mut reader = BufReader::new(stderr);
    let mut last = String::new();
    let mut line = Vec::new();
    let mut is_told = false;
    loop {
        line.clear();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(1..) if is_told => {}
            Ok(1..) => {
                String::from_utf8_lossy(&line).trim().clone_into(&mut last);
                if let Some(address) = address(&last) {
                    is_told = sender.send(Said::Address(address)).is_ok();
                }
            }
            Ok(0) | Err(_) => break,
        }
    }
    if !is_told {
        // Whoever has given up waiting does not miss it.
        let line = last.strip_prefix("error: ").unwrap_or(&last).to_owned();
        let _ = sender.send(Said::Last(line));
    }
}

/// The address in a line that says where a server listens.
fn address(line: &str) -> Option<SocketAddr> {
    let words = line.split_ascii_whitespace();
    words
        .filter_map(|word| word.strip_prefix("tcp://").or(word.strip_prefix("udp://")))
        .find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_among_other_words() {
        let line = "sotong echo: listening on tcp://127.0.0.1:41 (epoll, 1 worker)";
        assert_eq!(address(line), Some(SocketAddr::from(([127, 0, 0, 1], 41))));
        assert_eq!(address("plain-epoll: listening on udp://127.0.0.1:9"), Some(SocketAddr::from(([127, 0, 0, 1], 9))));
        assert_eq!(address("error: no tcp:// here"), None);
    }

    #[test]
    fn every_model_of_ours_has_a_counterpart_and_names_differ() {
        let mut names: Vec<_> = Server::all().iter().map(Server::name).collect();
        let ours = Server::all().into_iter().filter(|server| matches!(server, Server::Ours(_)));
        assert!(ours.clone().count() >= 2 && ours.clone().all(|server| server.counterpart().is_some()));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Server::all().len());
    }

    #[test]
    fn sequential_stays_out_of_crowds() {
        let server = Server::Ours("sequential".to_owned());
        let out: Vec<_> = Workload::ALL.into_iter().filter(|&workload| server.lacks(workload).is_some()).collect();
        use Workload::{EightThousand, Fifty, Hog, Idle, Large, Pipelined, Thousand};
        assert_eq!(out, [Fifty, Thousand, EightThousand, Pipelined, Large, Idle, Hog]);
        assert!(Workload::ALL.into_iter().all(|all| Server::Ours("epoll".to_owned()).lacks(all).is_none()));
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let cores = Cores::pick().unwrap();
        let fault = Running::start(&Server::Plain(Plain::Epoll), Wire::Tcp, Path::new("/nowhere"), cores).unwrap_err();
        assert!(fault.to_string().starts_with("cannot start /nowhere/plain-epoll: "), "{fault}");
    }
}
