//! A server of `sotong` that a test talks to.
use crate::{
    conn::Conn,
    process::{self, Done, HANG, Running},
};
use rustix::process::Signal;
use std::{
    ffi::OsStr,
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What starts a line that names a way in: in text logs it is the last of the start-up lines.
const LAST_START_UP_LINES: [&str; 2] = ["try: ", "접속해 보기: "];

/// A running server. Killed when dropped; a test that fails prints what it wrote.
#[derive(Debug)]
pub struct Server {
    running: Option<Running>,
    addresses: Vec<String>,
    /// Lines of standard error that [`Self::line`] has passed.
    passed: usize,
}

impl Server {
    /// Starts `sotong` with these arguments, and waits until it says where it listens.
    ///
    /// # Panics
    /// It ends, or says nothing.
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::start_by(process::command(args))
    }
    /// The same for a command that becomes `sotong`, such as a shell's `exec`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_by(mut command: Command) -> Self {
        let running = process::start_with(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let mut server = Self { running: Some(running), addresses: Vec::new(), passed: 0 };
        server.wait_until("it listens", |server| {
            let lines = server.lines();
            let told = |line: &String| LAST_START_UP_LINES.iter().any(|start| line.starts_with(start));
            lines.iter().any(told) || lines.iter().any(|line| line.contains(r#""event":"listening""#))
        });
        server.addresses = server.lines().iter().filter_map(|line| address_in(line)).collect();
        assert!(!server.addresses.is_empty(), "no address in {:#?}", server.lines());
        server
    }

    /// Where it listens: one or more for each address that was asked for, in their order.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }
    /// The first of them.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }
    /// The port of the first.
    ///
    /// # Panics
    /// It has none.
    pub fn port(&self) -> &str {
        self.address().rsplit_once(':').expect("an address with a port").1
    }
    /// Connects to the first.
    pub fn dial(&self) -> Conn {
        Conn::dial(self.address())
    }
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    /// All whole lines it has written to standard error so far.
    pub fn lines(&self) -> Vec<String> {
        let text = self.running().written();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }
    /// The next line with all of `parts`, behind the one that was found last.
    ///
    /// # Panics
    /// None comes.
    #[track_caller]
    pub fn line(&mut self, parts: &[&str]) -> String {
        let is_it = |line: &String| parts.iter().all(|part| line.contains(part));
        let passed = self.passed;
        self.wait_until(&format!("a line with {parts:?}"), |server| server.lines().iter().skip(passed).any(is_it));
        let lines = self.lines();
        let at = (passed..).zip(&lines[passed..]).find(|(_, line)| is_it(line)).expect("it is there").0;
        self.passed = at + 1;
        lines[at].clone()
    }
    /// How many lines have all of `parts` so far.
    pub fn count(&self, parts: &[&str]) -> usize {
        self.lines().iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
    /// Waits until `holds`, looking again and again.
    ///
    /// # Panics
    /// It does not come to hold, or the server ends without.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + HANG;
        loop {
            // What it wrote before it ended counts.
            let runs = self.running.as_mut().expect("not stopped").runs();
            if holds(self) {
                return;
            }
            assert!(runs, "the server has ended; waited for: {what}; it wrote: {:#?}", self.lines());
            assert!(Instant::now() < until, "waited in vain until {what}; the server wrote: {:#?}", self.lines());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A number of /proc/PID/status, such as `VmHWM` in KiB, or `Threads`.
    ///
    /// # Panics
    /// There is none.
    pub fn status(&self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("there is this line");
        value.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }
    /// Forgets the highest memory so far, so that `VmHWM` begins anew.
    ///
    /// # Panics
    /// The system refuses.
    pub fn reset_high_water(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("an own process may be reset");
    }
    /// The processes that serve: its workers where it has some, else itself.
    pub fn serving(&self) -> Vec<u32> {
        let workers = children(self.pid());
        if workers.is_empty() { vec![self.pid()] } else { workers }
    }
    /// Processor time it has used, with its workers.
    ///
    /// # Panics
    /// It is gone.
    pub fn cpu(&self) -> Duration {
        let own = children(self.pid()).into_iter().chain([self.pid()]);
        own.map(cpu).sum()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.running().signal(signal);
    }
    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.running.as_mut().expect("not stopped").runs()
    }
    /// Waits for its end.
    pub fn end(mut self) -> Done {
        self.running.take().expect("not stopped").wait()
    }
    /// Stops it by SIGTERM, and holds it to a clean end.
    ///
    /// # Panics
    /// It does not exit with 0.
    #[track_caller]
    pub fn stop(self) -> Done {
        self.signal(Signal::TERM);
        let done = self.end();
        assert_eq!(done.code(), Some(0), "it ends well; it wrote: {}", done.stderr);
        done
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("not stopped")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.as_ref().filter(|_| thread::panicking()) {
            eprintln!("the server wrote:\n{}", running.written());
        }
    }
}

/// The processes that `pid` has started and that still run.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut found: Vec<u32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    found.sort_unstable();
    found
}

/// Processor time of one process; none if it is gone.
fn cpu(pid: u32) -> Duration {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Duration::ZERO };
    // The name before may hold anything; utime and stime are the 14th and 15th of all.
    let rest = text.rsplit_once(')').expect("a name in brackets").1;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    let a_second = rustix::param::clock_ticks_per_second();
    Duration::from_millis(ticks * 1000 / a_second)
}

/// The address that a start-up line tells, found as scripts find it.
fn address_in(line: &str) -> Option<String> {
    let is_address = |word: &str| {
        ["tcp://", "udp://", "unix:", "tls://", "tls+unix:", "ws://", "wss://"]
            .iter()
            .any(|scheme| word.starts_with(scheme))
    };
    if let Some((_, rest)) = line.split_once(r#""event":"listening""#) {
        let (_, rest) = rest.split_once(r#""address":""#)?;
        return rest.split('"').next().map(str::to_owned);
    }
    line.strip_prefix("sotong ")?.split(' ').find(|word| is_address(word)).map(str::to_owned)
}
