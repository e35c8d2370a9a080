//! Starts workers, restarts and replaces them, and sums up what they did.
use super::{START_TIME_MAX, VARIABLE, VERSION, is_worker, say};
use crate::{Options, Report, ServeError, blocking::poll_for, board::Board};
use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, PidfdFlags, pidfd_open},
};
use sotong_net::{
    clock::Clock,
    datagrams::Datagrams,
    endpoint::WS_PATH_BYTES_MAX,
    link::{Link, MESSAGE_BYTES_MAX, MESSAGE_FDS_MAX},
    listener::Listener,
    signals::{Renew, Stage, Stop},
};
use sotong_session::Moment;
use sotong_shard::Counters;
use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

/// The first pause before a worker that has ended by itself is started again; it doubles with each end.
const RESTART_WAIT: Duration = Duration::from_millis(100);
/// The longest pause.
const RESTART_WAIT_MAX: Duration = Duration::from_secs(5);
/// A worker that served for so long was well: its end is a first one again.
const HEALTHY: Duration = Duration::from_secs(10);
/// Processes of one worker's place at once: the one that serves, the one that comes, and old ones that still drain.
const SEATS_A_WORKER: usize = 4;
/// How much longer than its own limits a process that ends may take, before it is killed.
const END_MARGIN: Duration = Duration::from_secs(2);
/// How long a process that shall leave at once may take.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

/// Serves by worker processes until `stop`, and until all of them are gone.
pub(crate) fn supervise(
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    options: &Options,
    stop: &Stop,
) -> Result<Report, ServeError> {
    if is_worker() {
        return Err(ServeError::IsWorker);
    }
    let workers = options.workers.clamp(1, 1024);
    let mut args = std::env::args_os();
    let mut supervisor = Supervisor {
        options,
        // Its path, not the file behind it: an upgrade puts another file there.
        program: std::env::current_exe().map_err(ServeError::system("finding this program"))?,
        name: args.next().unwrap_or_default(),
        args: args.collect(),
        listeners,
        sockets,
        board: Board::new(workers * SEATS_A_WORKER).map_err(ServeError::system("shared memory"))?,
        clock: Clock::start(),
        places: (0..workers).map(|_| Place { start: Some(Moment::START), wait: RESTART_WAIT }).collect(),
        processes: Vec::new(),
        renewals: VecDeque::new(),
        has_begun: false,
        obeyed: Stage::Running,
        report: Report::default(),
    };
    supervisor.run(stop)?;
    Ok(std::mem::take(&mut supervisor.report))
}

struct Supervisor<'a> {
    options: &'a Options,
    program: PathBuf,
    name: OsString,
    args: Vec<OsString>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    board: Board,
    clock: Clock,
    places: Vec<Place>,
    processes: Vec<Process>,
    /// Places whose workers are to be replaced, in this order.
    renewals: VecDeque<usize>,
    /// A process could be started.
    has_begun: bool,
    /// How far `stop` has been passed on.
    obeyed: Stage,
    report: Report,
}

/// A worker's place, whoever has it.
struct Place {
    /// When to start a process for it; `None` while it has one.
    start: Option<Moment>,
    /// The pause after the next end.
    wait: Duration,
}

struct Process {
    child: Child,
    pid: u32,
    /// Readable when it has exited.
    exited: OwnedFd,
    link: Link,
    /// It says nothing any more.
    silent: bool,
    index: usize,
    seat: usize,
    state: State,
    reported: bool,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It comes up; in place of one that serves, if it is a successor.
    Starting { until: Moment, is_successor: bool },
    /// It serves.
    Serving { since: Moment },
    /// Another one serves in its place; it has until then to end its connections.
    Retired { until: Moment },
    /// It was told to end, and is killed then.
    Ending { until: Moment },
    /// It was killed.
    Killed,
}

impl Supervisor<'_> {
    fn run(&mut self, stop: &Stop) -> Result<(), ServeError> {
        loop {
            self.obey(stop);
            if self.obeyed > Stage::Running && self.processes.is_empty() {
                return Ok(());
            }
            let now = self.clock.now();
            if self.obeyed == Stage::Running {
                if self.options.renew.as_ref().is_some_and(Renew::take) {
                    tracing::info!(workers = self.places.len(), "replacing the workers");
                    self.renewals = (0..self.places.len()).collect();
                }
                self.start_due(now)?;
                self.renew(now);
            }
            self.expire(now);
            self.wait(stop)?;
            self.hear();
            self.reap();
        }
    }

    /// Passes on what `stop` says.
    fn obey(&mut self, stop: &Stop) {
        let stage = stop.stage();
        if stage == self.obeyed {
            return;
        }
        self.obeyed = stage;
        self.renewals.clear();
        // Whoever comes now is refused, not left waiting; a Unix socket's file goes with its listener.
        self.listeners.clear();
        self.sockets.clear();
        let (what, time_max) = match stage {
            Stage::Running => return,
            Stage::Draining => (say::DRAIN, self.options.limits.drain + END_MARGIN),
            Stage::Leaving => (say::LEAVE, LEAVE_TIME_MAX),
        };
        self.report.left_at_once = stage == Stage::Leaving;
        let until = self.clock.now() + time_max;
        for process in &mut self.processes {
            process.tell(what);
            if process.state != State::Killed {
                process.state = State::Ending { until };
            }
        }
    }

    /// Starts a process for each place that is without, and whose pause is over.
    fn start_due(&mut self, now: Moment) -> Result<(), ServeError> {
        for index in 0..self.places.len() {
            if self.places[index].start.is_none_or(|at| at > now) {
                continue;
            }
            match self.start(index, false) {
                Ok(()) => {
                    self.places[index].start = None;
                    self.has_begun = true;
                }
                // With the first one it is a matter of the program or the system, and somebody is there to read it.
                Err(source) if !self.has_begun => {
                    return Err(ServeError::System { what: "starting a worker", source });
                }
                Err(error) => {
                    let wait = self.places[index].fail(now);
                    tracing::error!(%error, worker = index, ?wait, "a worker cannot be started: it is tried again");
                }
            }
        }
        Ok(())
    }
    fn start(&mut self, index: usize, is_successor: bool) -> io::Result<()> {
        let taken = |seat: &usize| self.processes.iter().any(|process| process.seat == *seat);
        let seats = self.places.len() * SEATS_A_WORKER;
        let seat = (0..seats).find(|seat| !taken(seat)).ok_or(io::ErrorKind::ResourceBusy)?;
        self.board.clear(seat);
        let (link, theirs) = Link::pair()?;
        let child = Command::new(&self.program)
            .arg0(&self.name)
            .args(&self.args)
            .env(VARIABLE, VERSION.to_string())
            .stdin(theirs)
            .spawn()?;
        let pid = child.id();
        let exited = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(exited) => exited,
            Err(errno) => {
                end(child);
                return Err(errno.into());
            }
        };
        let state = State::Starting { until: self.clock.now() + START_TIME_MAX, is_successor };
        let process = Process { child, pid, exited, link, silent: false, index, seat, state, reported: false };
        // One that does not take it has ended, which is noticed; or it is stuck, and its time passes.
        if let Err(error) = self.hand_over(&process) {
            tracing::debug!(%error, pid, "a worker does not take its sockets");
        }
        self.processes.push(process);
        Ok(())
    }
    /// Gives a new process everything it needs.
    fn hand_over(&self, process: &Process) -> io::Result<()> {
        // Where there are fewer sockets than workers, as a service manager passes them, the first workers have them.
        let own = self.sockets.iter().filter_map(|group| group.get(process.index));
        let fds: Vec<_> = self.listeners.iter().map(AsFd::as_fd).chain(own.map(AsFd::as_fd)).collect();
        let (index, seat, workers) = (process.index, process.seat, self.places.len());
        let setup = format!("{} {index} {workers} {seat} {}", say::SETUP, fds.len());
        process.link.send(&setup, &[self.board.fd()])?;
        let mut spoken = self.listeners.iter().map(|listener| listener.endpoint().spoken());
        let mut fds = fds.as_slice();
        while !fds.is_empty() {
            let (mut text, mut count) = (say::SOCKETS.to_owned(), 0);
            // Paths are long, and a message is not.
            while count < fds.len().min(MESSAGE_FDS_MAX) && text.len() + WS_PATH_BYTES_MAX + 16 < MESSAGE_BYTES_MAX {
                if let Some(word) = spoken.next().filter(|word| !word.is_empty()) {
                    text.push_str(&format!(" {count}={word}"));
                }
                count += 1;
            }
            let (these, rest) = fds.split_at(count);
            process.link.send(&text, these)?;
            fds = rest;
        }
        Ok(())
    }

    /// Starts the next successor, when the one before has come up.
    fn renew(&mut self, now: Moment) {
        if self.processes.iter().any(Process::is_coming) {
            return;
        }
        let Some(index) = self.renewals.front().copied() else { return };
        let here = self.processes.iter().filter(|process| process.index == index).count();
        // Too many replacements in a short time: whoever serves out its time for longest has had it, and is waited for.
        if here + 1 >= SEATS_A_WORKER {
            let mut old = self.processes.iter_mut().filter(|process| process.index == index);
            if let Some(oldest) = old.find(|process| matches!(process.state, State::Retired { .. })) {
                oldest.state = State::Retired { until: now };
            }
        }
        if here >= SEATS_A_WORKER {
            return;
        }
        self.renewals.pop_front();
        let serves = |process: &Process| process.index == index && process.serves();
        // A place without one gets a new process anyhow.
        if self.processes.iter().any(serves)
            && let Err(error) = self.start(index, true)
        {
            self.give_up(index, &error);
        }
    }
    /// A successor did not come up.
    fn give_up(&mut self, index: usize, why: &dyn std::fmt::Display) {
        self.renewals.clear();
        tracing::error!(worker = index, %why, "a new worker did not come up: the old ones stay");
    }

    /// Acts on every limit that has passed.
    fn expire(&mut self, now: Moment) {
        let ending = now + self.options.limits.drain + END_MARGIN;
        for process in self.processes.iter_mut().filter(|process| process.until().is_some_and(|at| at <= now)) {
            match process.state {
                State::Retired { .. } => {
                    process.tell(say::DRAIN);
                    process.state = State::Ending { until: ending };
                }
                State::Starting { .. } | State::Ending { .. } => {
                    tracing::error!(pid = process.pid, worker = process.index, "a worker is stuck: it is killed");
                    // It has not been waited for, so the number is still its own.
                    let _ = process.child.kill();
                    process.state = match process.state {
                        State::Starting { is_successor, .. } => {
                            State::Starting { until: now + START_TIME_MAX, is_successor }
                        }
                        _ => State::Killed,
                    };
                }
                State::Serving { .. } | State::Killed => {}
            }
        }
    }

    fn wait(&self, stop: &Stop) -> Result<(), ServeError> {
        let now = self.clock.now();
        let starts = self.places.iter().filter(|_| self.obeyed == Stage::Running).filter_map(|place| place.start);
        let soonest = self.processes.iter().filter_map(Process::until).chain(starts).min();
        let busy = stop.stage() != self.obeyed;
        let time = if busy { Some(Duration::ZERO) } else { soonest.map(|at| at.since(now)) };
        let mut fds = Vec::with_capacity(2 + 2 * self.processes.len());
        let mut watch = |fd| fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match self.obeyed {
            Stage::Running => {
                watch(stop.draining_fd());
                if let Some(renew) = &self.options.renew {
                    watch(renew.fd());
                }
            }
            Stage::Draining => watch(stop.leaving_fd()),
            Stage::Leaving => {}
        }
        for process in &self.processes {
            watch(process.exited.as_fd());
            if !process.silent {
                watch(process.link.as_fd());
            }
        }
        poll_for(&mut fds, time).map_err(ServeError::system("poll"))
    }

    /// Hears what the processes say.
    fn hear(&mut self) {
        for at in 0..self.processes.len() {
            self.hear_one(at);
        }
    }
    fn hear_one(&mut self, at: usize) {
        while !self.processes[at].silent {
            match self.processes[at].link.receive(true) {
                Ok(Some(message)) => self.told(at, &message.text),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(None) | Err(_) => self.processes[at].silent = true,
            }
        }
    }
    fn told(&mut self, at: usize, text: &str) {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        match name {
            say::READY => self.ready(at),
            say::REPORT => {
                let (cut, counters) = rest.split_once(' ').unwrap_or((rest, ""));
                match (cut.parse::<usize>(), Counters::decode(counters)) {
                    (Ok(cut), Some(counters)) => {
                        self.processes[at].reported = true;
                        self.report.cut += cut;
                        self.report.counters.add(&counters);
                    }
                    _ => tracing::warn!(pid = self.processes[at].pid, "a worker's report cannot be read"),
                }
            }
            other => {
                tracing::warn!(pid = self.processes[at].pid, message = other, "a worker says what nobody understands");
            }
        }
    }
    fn ready(&mut self, at: usize) {
        let now = self.clock.now();
        let (index, pid) = (self.processes[at].index, self.processes[at].pid);
        let State::Starting { is_successor, .. } = self.processes[at].state else { return };
        tracing::info!(worker = index, worker_pid = pid, "a worker serves");
        if is_successor {
            for old in self.processes.iter_mut().filter(|old| old.index == index) {
                if let State::Serving { .. } = old.state {
                    old.tell(say::RETIRE);
                    old.state = State::Retired { until: now + self.options.retire };
                }
            }
            // The one before has ended by itself meanwhile, and need not be started again.
            self.places[index] = Place { start: None, wait: RESTART_WAIT };
        }
        self.processes[at].state = State::Serving { since: now };
    }

    /// Takes out who has exited.
    fn reap(&mut self) {
        let mut at = 0;
        while at < self.processes.len() {
            match self.processes[at].child.try_wait() {
                Ok(None) => at += 1,
                Ok(Some(status)) => {
                    // Its last words.
                    self.hear_one(at);
                    let process = self.processes.remove(at);
                    self.gone(&process, Ok(status));
                }
                Err(error) => {
                    let process = self.processes.remove(at);
                    self.gone(&process, Err(error));
                }
            }
        }
    }
    fn gone(&mut self, process: &Process, status: io::Result<ExitStatus>) {
        let now = self.clock.now();
        let lost = usize::try_from(self.board.load(process.seat)).unwrap_or(usize::MAX);
        let lost = if process.reported { 0 } else { lost };
        self.board.clear(process.seat);
        self.report.cut += lost;
        let Process { pid, index, state, .. } = process;
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        match state {
            State::Starting { is_successor: true, .. } => {
                self.give_up(*index, &how);
                if !self.processes.iter().any(|other| other.index == *index && other.serves()) {
                    self.places[*index].fail(now);
                }
            }
            State::Starting { is_successor: false, .. } | State::Serving { .. } => {
                if let State::Serving { since } = state
                    && now.since(*since) >= HEALTHY
                {
                    self.places[*index].wait = RESTART_WAIT;
                }
                let wait = self.places[*index].fail(now);
                tracing::error!(
                    worker = index,
                    worker_pid = pid,
                    how,
                    lost,
                    ?wait,
                    "a worker has ended: another is started"
                );
                // One that comes anyhow takes the place.
                if self.processes.iter().any(|other| other.index == *index && other.is_coming()) {
                    self.places[*index].start = None;
                }
            }
            State::Retired { .. } | State::Ending { .. } | State::Killed => {
                tracing::info!(worker = index, worker_pid = pid, how, lost, "a worker has left");
            }
        }
    }
}

impl Drop for Supervisor<'_> {
    /// Where it broke, its workers do not go on alone.
    fn drop(&mut self) {
        for process in self.processes.drain(..) {
            end(process.child);
        }
    }
}

/// Kills a process and waits for its end.
fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Place {
    /// Its process has ended. The pause before the next.
    fn fail(&mut self, now: Moment) -> Duration {
        let wait = self.wait;
        self.start = Some(now + wait);
        self.wait = (wait * 2).min(RESTART_WAIT_MAX);
        wait
    }
}

impl Process {
    fn tell(&self, what: &str) {
        if let Err(error) = self.link.send(what, &[]) {
            tracing::debug!(%error, pid = self.pid, what, "a worker cannot be told");
        }
    }
    fn serves(&self) -> bool {
        matches!(self.state, State::Serving { .. })
    }
    /// It is about to take the place of another.
    fn is_coming(&self) -> bool {
        matches!(self.state, State::Starting { is_successor: true, .. })
    }
    /// When something is to be done about it.
    fn until(&self) -> Option<Moment> {
        match self.state {
            State::Starting { until, .. } | State::Retired { until } | State::Ending { until } => Some(until),
            State::Serving { .. } | State::Killed => None,
        }
    }
}
