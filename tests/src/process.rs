//! `sotong` as a process of its own, with its outputs collected and its end guaranteed.
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};
use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

/// Only a guard against hanging: no test asserts a time by it.
pub const HANG: Duration = Duration::from_secs(60);

/// The command, built as the tests were; or the one that `SOTONG_BIN` names, such as an installed one.
///
/// # Panics
/// It cannot be built.
pub fn sotong() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(path) = std::env::var_os("SOTONG_BIN") {
            return path.into();
        }
        build(&["--package", "sotong", "--bin", "sotong"]).join("sotong")
    })
}

/// An example, built as the tests were.
///
/// # Panics
/// It cannot be built.
pub fn example(name: &str) -> PathBuf {
    build(&["--package", "examples", "--example", name]).join("examples").join(name)
}

/// Builds what `which` selects as this test was built. The folder where it stands.
fn build(which: &[&str]) -> PathBuf {
    // This test stands in <target>/<profile>/deps/.
    let own = std::env::current_exe().expect("a test has a path");
    let folder = own.ancestors().nth(2).expect("a test stands in a target folder").to_owned();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet"]).args(which);
    build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    build.arg("--target-dir").arg(folder.parent().expect("a profile stands in a target folder"));
    match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => {}
        Some(profile) => {
            build.args(["--profile", profile]);
        }
    }
    assert!(build.status().expect("cargo runs").success(), "{which:?} is built");
    folder
}

/// Bytes that a process has written so far, and whether these are all.
type Bytes = (Vec<u8>, bool);

/// What a process writes, collected by a thread.
#[derive(Clone, Debug, Default)]
struct Written {
    shared: Arc<(Mutex<Bytes>, Condvar)>,
}

impl Written {
    fn collect(mut from: impl Read + Send + 'static) -> Self {
        let written = Self::default();
        let ours = written.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let count = from.read(&mut buffer).unwrap_or(0);
                let mut state = ours.shared.0.lock().unwrap();
                state.0.extend_from_slice(&buffer[..count]);
                state.1 = count == 0;
                ours.shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        written
    }

    /// Waits until `done` holds for the bytes, or no more come.
    fn wait(&self, what: &str, done: impl Fn(&[u8], bool) -> bool) -> Vec<u8> {
        let state = self.shared.0.lock().unwrap();
        let (state, timeout) =
            self.shared.1.wait_timeout_while(state, HANG, |(bytes, ended)| !done(bytes, *ended) && !*ended).unwrap();
        let text = String::from_utf8_lossy(&state.0[..state.0.len().min(2000)]);
        assert!(!timeout.timed_out(), "waited in vain for {what}; so far: {text}");
        state.0.clone()
    }
}

/// A running `sotong`, killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<Written>,
    stderr: Written,
}

/// What is left of a process that has ended.
#[derive(Debug)]
pub struct Done {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output, unless that led elsewhere.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Done {
    /// The exit code; none if a signal has ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A `sotong` that is to be started: English, no environment of the tester's.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(sotong());
    command.args(args).env("LANG", "C.UTF-8").env_remove("LC_ALL").env_remove("LC_MESSAGES").env_remove("LISTEN_FDS");
    command.env_remove("CLICOLOR_FORCE");
    command
}

/// Starts it with pipes for its input and outputs.
pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Running {
    start_with(command(args).stdin(Stdio::piped()).stdout(Stdio::piped()))
}

/// Starts `command`, whose input and output are as they are; standard error is collected.
///
/// # Panics
/// It cannot be started.
pub fn start_with(command: &mut Command) -> Running {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let stderr = Written::collect(child.stderr.take().expect("a pipe"));
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take().map(Written::collect));
    Running { child, stdin, stdout, stderr }
}

/// Runs it to its end with `input`.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &[u8]) -> Done {
    let mut running = start(args);
    running.say(input);
    running.finish()
}

impl Running {
    /// The addresses of its start-up lines, once there are `count`.
    ///
    /// # Panics
    /// It ends before.
    pub fn addresses(&self, count: usize) -> Vec<String> {
        let addresses = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes);
            // A line that is not complete yet may end inside of an address.
            let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains("listening"));
            let words = complete.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            words.filter(|word| ["://", "unix:"].iter().any(|scheme| word.contains(scheme))).collect()
        };
        let bytes = self.stderr.wait("the start-up lines", |bytes, _| addresses(bytes).len() >= count);
        let found = addresses(&bytes);
        assert!(found.len() >= count, "it ended: {}", String::from_utf8_lossy(&bytes));
        found
    }
    /// The first address that it listens on.
    pub fn address(&self) -> String {
        self.addresses(1).remove(0)
    }
    /// The same without its scheme, for sockets of the standard library.
    pub fn place(&self) -> String {
        self.address().rsplit_once('/').map(|(_, place)| place.to_owned()).expect("an address with a scheme")
    }
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Writes to its standard input; that it has closed that is no matter.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.stdin.as_mut().expect("input is open").write_all(bytes);
    }
    /// Its standard input, to be written elsewhere.
    ///
    /// # Panics
    /// It was taken or closed before.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("input is open")
    }
    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }
    /// Waits until it has printed `text`.
    ///
    /// # Panics
    /// It ends before.
    pub fn wait_for(&self, text: &str) {
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        let bytes = self.stdout.as_ref().expect("a pipe").wait(text, |bytes, _| has(bytes));
        assert!(has(&bytes), "it ended without {text:?}: {}", String::from_utf8_lossy(&bytes));
    }
    /// Waits until it has written `text` to standard error.
    ///
    /// # Panics
    /// It ends before.
    pub fn wait_for_word(&self, text: &str) {
        let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
        let bytes = self.stderr.wait(text, |bytes, _| has(bytes));
        assert!(has(&bytes), "it ended without {text:?}: {}", String::from_utf8_lossy(&bytes));
    }
    /// What it has printed, once `holds` of that.
    ///
    /// # Panics
    /// It ends before.
    #[track_caller]
    pub fn wait_printed(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let stdout = self.stdout.as_ref().expect("a pipe");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let printed = text(&stdout.wait(what, |bytes, _| holds(&text(bytes))));
        assert!(holds(&printed), "it ended without {what}: {printed}");
        printed
    }
    /// What it has printed so far.
    pub fn printed(&self) -> Vec<u8> {
        self.stdout.as_ref().expect("a pipe").shared.0.lock().unwrap().0.clone()
    }
    /// What it has written to standard error so far.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.stderr.shared.0.lock().unwrap().0).into_owned()
    }
    /// Sends it a signal.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }
    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }
    /// Ends its input and waits for its end.
    pub fn finish(mut self) -> Done {
        self.end_input();
        self.wait()
    }
    /// Waits for its end; the input stays open.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait(mut self) -> Done {
        let status = wait(&mut self.child);
        let stdout = self.stdout.as_ref().map(|written| written.wait("the end of the output", |_, ended| ended));
        // Programs that it ran may hold the pipe for a moment more; what it wrote itself is there.
        let stderr = self.stderr.wait("the end of the errors", |_, ended| ended);
        Done { status, stdout: stdout.unwrap_or_default(), stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process of any kind.
///
/// # Panics
/// It does not end; it is killed then.
pub fn wait(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + HANG;
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A listener of a test's own on localhost, and its address.
pub fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// The next connection, which waits for nothing longer than [`HANG`].
///
/// # Panics
/// Nobody comes.
pub fn accept(listener: &TcpListener) -> TcpStream {
    let limit = Timespec { tv_sec: HANG.as_secs().cast_signed(), tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit));
    assert_eq!(ready, Ok(1), "nobody came");
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(HANG)).expect("a limit");
    stream.set_write_timeout(Some(HANG)).expect("a limit");
    stream
}

/// Whether a tool is installed that a test would talk to. Says so where it is not, so that the log shows what was left out.
///
/// # Panics
/// It is missing, and `SOTONG_TOOLS=required` is in the environment.
pub fn has(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(tool).is_file());
    if !found {
        assert!(std::env::var_os("SOTONG_TOOLS").is_none_or(|value| value != "required"), "{tool} is not installed");
        eprintln!("{tool} is not installed: what needs it is left out");
    }
    found
}

/// Bytes that differ from place to place, so that a lost, doubled or moved piece shows.
pub fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
