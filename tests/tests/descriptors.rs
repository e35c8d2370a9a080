//! When descriptors or places run out: those who are served stay served, those who wait come in later, it is said once, and
//! the processor is not burnt meanwhile.
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sotong::drivers::Model;
use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Read},
    thread,
    time::{Duration, Instant},
};
use tests::{
    conn::Conn,
    process,
    runs::{Run, concurrent_runs, shared_runs},
    server::Server,
    tool::tool,
};

/// How long the processor's use is watched.
const WATCHED: Duration = Duration::from_secs(1);

/// A server with a hard limit of descriptors, which it cannot raise.
fn limited(run: &Run, service: &str, descriptors: u32) -> Server {
    let mut command = std::process::Command::new("sh");
    let script = format!("ulimit -n {descriptors}; exec \"$@\"");
    command.args(["-c", &script, "sh"]).arg(process::sotong()).args(run.line(service, &["127.0.0.1:0", "-v"]));
    command.env("LC_ALL", "C.UTF-8");
    Server::start_by(command)
}

/// Uses at most half of a processor: a loop that spins takes all of one.
#[track_caller]
fn check_rests(run: &Run, server: &Server) {
    let (before, since) = (server.cpu(), Instant::now());
    thread::sleep(WATCHED);
    let used = server.cpu() - before;
    assert!(used < since.elapsed() / 2, "{run}: {used:?} of {:?}", since.elapsed());
}

#[track_caller]
fn check_echo(run: &Run, peer: &mut Conn) {
    assert_eq!(String::from_utf8_lossy(&peer.echoed("안녕")), "안녕", "{run}");
}

/// Has been answered nothing so far.
#[track_caller]
fn check_waits(run: &Run, peer: &Conn) {
    let Conn::Tcp(stream) = peer else { panic!("TCP") };
    stream.set_nonblocking(true).expect("an option");
    let came = (&*stream).read(&mut [0; 9]).map_err(|error| error.kind());
    stream.set_nonblocking(false).expect("an option");
    assert_eq!(came, Err(ErrorKind::WouldBlock), "{run}: it waits");
}

#[test]
fn who_finds_no_place_waits_until_there_is_one() {
    for run in concurrent_runs() {
        let mut server = limited(&run, "echo", 300);
        // 256 descriptors are kept for what is no connection.
        let mut served: Vec<_> = (0..44 * run.processes()).map(|_| server.dial()).collect();
        for peer in &mut served {
            check_echo(&run, peer);
        }
        let mut waiting: Vec<_> = (0..10).map(|_| server.dial()).collect();
        for peer in &mut waiting {
            peer.send("안녕");
        }
        // By each process, when it notices.
        server.wait_until("it is said", |server| server.count(&["all places are taken"]) == run.processes());
        check_rests(&run, &server);
        for peer in &mut served {
            check_echo(&run, peer);
        }
        for peer in &waiting {
            check_waits(&run, peer);
        }
        for mut peer in waiting {
            served.pop();
            assert_eq!(peer.get("안녕".len()), "안녕".as_bytes(), "{run}: who came first comes in first");
            served.insert(0, peer);
        }
        assert_eq!(server.count(&["all places are taken"]), run.processes(), "{run}: said once");
        server.stop();
    }
}

#[test]
fn places_of_a_room_leave_room_for_its_wakers() {
    for run in shared_runs() {
        let server = limited(&run, "room", 300);
        let mut people: Vec<_> = (0..60).map(|_| server.dial()).collect();
        let places = if run.workers.is_some() { 44 } else { 22 };
        for person in &mut people[..places] {
            person.get("What is your name?\n".len());
        }
        check_rests(&run, &server);
        check_waits(&run, &people[places]);
        assert_eq!(server.count(&["cannot accept"]), 0, "{run}: there are descriptors for all who have a place");
        while people.len() > places {
            people.drain(..places);
            let next = people.len().min(places);
            for person in &mut people[..next] {
                person.get("What is your name?\n".len());
            }
        }
        server.stop();
    }
}

/// A server whose processes have all they need to serve. With so few places every model accepts by calls: where the kernel
/// accepts by itself, the limit is the one that the process had when it was told to.
fn ready(run: &Run) -> Server {
    let mut server = Server::start(run.line("echo", &["127.0.0.1:0", "-v", "--max-conns", "100"]));
    let workers = if run.model == Model::Processes { run.processes() } else { 0 };
    server.wait_until("its workers serve", |server| server.count(&["a worker serves"]) >= workers);
    server
}

/// Lets each process that serves open as many descriptors as `free` more. What the limit was.
fn limit(server: &Server, free: usize) -> u64 {
    let set = |pid| set_limit(pid, limit_with(pid, free));
    server.serving().into_iter().map(set).max().expect("somebody serves")
}

/// Takes the limit back.
fn unlimit(server: &Server, before: u64) {
    for pid in server.serving() {
        set_limit(pid, before);
    }
}

/// Sets the soft limit of descriptors of a process. What it was.
fn set_limit(pid: u32, descriptors: u64) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("an own process");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is this line");
    let hard = line.split_whitespace().nth(4).and_then(|word| word.parse().ok());
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process number"));
    let new = Rlimit { current: Some(descriptors), maximum: hard };
    prlimit(pid, Resource::Nofile, new).expect("an own process").current.expect("a limit")
}

/// The limit under which a process can open as many as `free` more. It counts numbers, of which some may be free.
fn limit_with(pid: u32, free: usize) -> u64 {
    let names = fs::read_dir(format!("/proc/{pid}/fd")).expect("an own process");
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string().expect("digits");
    let used: BTreeSet<u64> = names.map(|entry| name(entry).parse().expect("a number")).collect();
    (0..).filter(|number| !used.contains(number)).nth(free).expect("numbers do not end")
}

#[test]
fn without_descriptors_nobody_is_lost() {
    for run in concurrent_runs() {
        let mut server = ready(&run);
        let mut served: Vec<_> = (0..5).map(|_| server.dial()).collect();
        for peer in &mut served {
            check_echo(&run, peer);
        }
        let before = limit(&server, 3);
        let mut waiting: Vec<_> = (0..20).map(|_| server.dial()).collect();
        for peer in &mut waiting {
            peer.send("안녕");
        }
        server.line(&["cannot accept for now", "Too many open files"]);
        check_rests(&run, &server);
        for peer in &mut served {
            check_echo(&run, peer);
        }
        let said = server.count(&["cannot accept for now"]);
        assert!((1..=run.processes()).contains(&said), "{run}: said once: {:#?}", server.lines());
        unlimit(&server, before);
        server.line(&["accepting again"]);
        for peer in &mut waiting {
            assert_eq!(peer.get("안녕".len()), "안녕".as_bytes(), "{run}");
        }
        check_echo(&run, &mut server.dial());
        server.stop();
    }
}

#[test]
fn descriptors_that_come_back_by_themselves_are_used() {
    for run in concurrent_runs() {
        let mut server = ready(&run);
        let mut served: Vec<_> = (0..10).map(|_| server.dial()).collect();
        for peer in &mut served {
            check_echo(&run, peer);
        }
        limit(&server, 0);
        let mut late = server.dial();
        late.send("안녕");
        server.line(&["cannot accept for now"]);
        check_waits(&run, &late);
        drop(served);
        assert_eq!(late.get("안녕".len()), "안녕".as_bytes(), "{run}");
        server.line(&["accepting again"]);
        server.stop();
    }
}

#[test]
fn accept_may_fail_in_every_way() {
    let Some(strace) = tool("strace") else { return };
    for run in concurrent_runs().into_iter().filter(|run| run.workers != Some(2)) {
        for (errno, times) in
            [("EMFILE", 5), ("ENFILE", 5), ("ENOMEM", 3), ("ECONNABORTED", 5), ("EPERM", 70), ("EINTR", 5)]
        {
            let inject = format!("inject=accept4:error={errno}:when=1..{times}");
            // With few places every model accepts by calls, of which the tracer can make some fail. The tracer runs beside:
            // the server itself is who is started and stopped.
            let mut command = strace.command(["-D", "-f", "-o", "/dev/null", "-e", "trace=accept4", "-e", &inject]);
            command.arg(process::sotong()).args(run.line("echo", &["127.0.0.1:0", "-v", "--max-conns", "100"]));
            let mut server = Server::start_by(command);
            let mut peers: Vec<_> = (0..3).map(|_| server.dial()).collect();
            for peer in &mut peers {
                check_echo(&run, peer);
            }
            let is_said = !matches!(errno, "ECONNABORTED" | "EINTR");
            if is_said {
                server.line(&["accepting again"]);
            }
            assert_eq!(server.count(&["cannot accept for now"]), usize::from(is_said), "{run}: {errno}");
            server.stop();
        }
    }
}
