//! `processes`: workers that crash are started again, workers that are replaced lose nobody, and none outlives its supervisor.
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};
use tests::{
    conn::{Conn, Folder, datagram, udp},
    process::{self, HANG, noise},
    server::{Server, children},
};

const HELLO: &str = "안녕하세요, 서버!";

fn line<'a>(service: &'a str, workers: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[service, "--model", "processes", "--workers", workers, "-v"], more].concat()
}

/// A server whose workers all serve.
fn start(service: &str, workers: usize, more: &[&str]) -> Server {
    ready(Server::start(line(service, &workers.to_string(), more)), workers)
}

fn ready(mut server: Server, workers: usize) -> Server {
    server.wait_until("its workers serve", |server| server.count(&["a worker serves"]) >= workers);
    server
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().expect("a process number")).expect("not 0")
}

fn kill(number: u32) {
    kill_process(pid(number), Signal::KILL).expect("it runs");
}

/// Waits until `holds`.
#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + HANG;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tells the others that it is over, also where a check has failed.
struct Over<'a>(&'a AtomicBool);
impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Connects, talks, and leaves in order, again and again, until `over`; anything but the right bytes and the right end is a
/// panic. How often.
fn visit(at: &str, over: &AtomicBool) -> usize {
    let noise = noise(20_000, 11);
    let mut visits = 0;
    while !over.load(Ordering::SeqCst) {
        let mut peer = Conn::dial(at);
        let piece = &noise[visits % 1000..][..1 + visits % 5000];
        assert!(peer.echoed(piece) == piece, "visit {visits}: the bytes differ");
        peer.end();
        assert_eq!(peer.rest(), b"", "visit {visits}: an end in order");
        visits += 1;
    }
    visits
}

#[test]
fn a_worker_that_is_killed_is_started_again_while_the_others_serve_on() {
    let mut server = start("echo", 3, &["127.0.0.1:0"]);
    let before = children(server.pid());
    assert_eq!(before.len(), 3);
    let mut peers: Vec<_> = (0..30).map(|_| server.dial()).collect();
    for peer in &mut peers {
        peer.echoed(HELLO);
    }
    kill(before[1]);
    // In mid-load: those of the one that is gone are lost, and only those.
    let mut lost = 0;
    for peer in &mut peers {
        let answered = peer.write_all(b"x").is_ok() && peer.read(&mut [0]).is_ok_and(|count| count == 1);
        lost += usize::from(!answered);
    }
    assert!((1..=14).contains(&lost), "{lost} of 30 were lost with one of three");
    let said = server.line(&["a worker has ended", "signal: 9", "another is started"]);
    assert!(said.contains(&format!("lost={lost}")), "{said}");
    server.wait_until("another serves", |server| server.count(&["a worker serves"]) == 4);
    let after = children(server.pid());
    assert_eq!(after.len(), 3);
    assert!(!after.contains(&before[1]) && after.contains(&before[0]) && after.contains(&before[2]));
    // New ones come to the new one, too, until it has as many as the others.
    peers.extend((0..30).map(|_| {
        let mut peer = server.dial();
        peer.echoed(HELLO);
        peer
    }));
    let new = after.iter().find(|pid| !before.contains(pid)).expect("a new one");
    // The others have at most 1.25 times the mean of the 46 and more that there are.
    let opened = format!("pid={new}");
    server.wait_until("the new one has a share", |server| server.count(&["opened", &opened]) >= 7);
    drop(peers);
    server.stop();
}

#[test]
fn new_connections_are_served_while_workers_are_killed() {
    let server = start("echo", 3, &["127.0.0.1:0"]);
    let (at, over, served) = (server.address(), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    // Whoever is with a killed worker is cut off; nobody is refused.
                    let mut peer = Conn::dial(at);
                    let answered = peer.write_all(b"hello").and_then(|()| peer.read_exact(&mut [0; 5]));
                    served.fetch_add(usize::from(answered.is_ok()), Ordering::SeqCst);
                }
            });
        }
        let _over = Over(&over);
        for round in 0..6 {
            let (before, workers) = (served.load(Ordering::SeqCst), children(server.pid()));
            kill(workers[round % workers.len()]);
            wait_until("the others go on", || served.load(Ordering::SeqCst) > before + 100);
            wait_until("there are three again", || children(server.pid()).len() == 3);
        }
    });
    server.stop();
}

#[test]
fn replaced_workers_lose_nobody() {
    let folder = Folder::new();
    let path = folder.unix("socket");
    // Far longer than the test may take: an old worker leaves when its last client does.
    let mut server = start("echo", 2, &["127.0.0.1:0", &path, "--retire", "10m"]);
    let at = server.addresses().to_vec();
    let over = AtomicBool::new(false);
    let mut long = server.dial();
    assert_eq!(long.echoed(HELLO), HELLO.as_bytes());
    let visits = thread::scope(|scope| {
        let over = &over;
        let visitors: Vec<_> =
            at.iter().flat_map(|at| [at, at, at]).map(|at| scope.spawn(|| visit(at, over))).collect();
        let told = Over(over);
        for round in 1..=4 {
            let before: BTreeSet<_> = children(server.pid()).into_iter().collect();
            server.signal(Signal::HUP);
            let serve = 2 + 2 * round;
            server.wait_until("new ones serve", |server| server.count(&["a worker serves"]) == serve);
            let new: BTreeSet<_> = children(server.pid()).into_iter().filter(|pid| !before.contains(pid)).collect();
            assert_eq!(new.len(), 2, "all are new");
            // Who stays with an old worker is served there.
            assert_eq!(long.echoed(HELLO), HELLO.as_bytes());
            thread::sleep(Duration::from_millis(200));
        }
        drop(told);
        visitors.into_iter().map(|visitor| visitor.join().expect("every byte, and no refusal")).sum::<usize>()
    });
    assert!(visits > 100, "{visits}");
    long.end();
    assert_eq!(long.rest(), b"");
    server.wait_until("old ones have left", |server| children(server.pid()).len() == 2);
    assert_eq!(server.count(&["a worker has ended"]) + server.count(&["ERROR"]), 0);
    let done = server.stop();
    let opened = done.stderr.lines().find_map(|line| line.split_once("stopped service=echo opened=")).expect("a sum").1;
    let opened: usize = opened.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert_eq!(opened, visits + 1, "every process has reported");
}

#[test]
fn who_stays_with_an_old_worker_is_told_in_the_end() {
    let mut server = start("echo", 1, &["127.0.0.1:0", "--retire", "300ms"]);
    let mut peer = server.dial();
    peer.echoed(HELLO);
    server.signal(Signal::HUP);
    assert_eq!(peer.rest(), b"", "an end in order");
    server.line(&["closed", "reason=stop"]);
    server.wait_until("the old one has left", |server| children(server.pid()).len() == 1);
    assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes());
    server.stop();
}

#[test]
fn datagrams_are_answered_while_workers_are_replaced_and_killed() {
    let mut server = start("echo", 2, &["udp://127.0.0.1:0"]);
    let peers: Vec<_> = (0..20).map(|_| udp(server.address())).collect();
    let mut number = 0_u32;
    let mut talk = |rounds: u32| {
        for _ in 0..rounds {
            number += 1;
            for peer in &peers {
                peer.send(&number.to_be_bytes()).expect("sent");
            }
            for peer in &peers {
                assert_eq!(datagram(peer), number.to_be_bytes(), "not one is lost");
            }
        }
    };
    talk(10);
    for round in 1..=3 {
        server.signal(Signal::HUP);
        talk(100);
        server.wait_until("new ones serve", |server| server.count(&["a worker serves"]) == 2 + 2 * round);
        talk(10);
    }
    // What comes while nobody reads waits in the socket, which the supervisor keeps. What a killed worker has read is lost:
    // nobody talks at that moment.
    for worker in children(server.pid()) {
        kill(worker);
    }
    talk(10);
    server.stop();
}

/// A program of its own beside the server's, which can be put in its place.
fn install(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("sotong");
    std::fs::copy(process::sotong(), &program).expect("copied");
    program
}

/// Puts a script where the program is. Renamed into its place, as installers do: the running file stays as it is.
fn replace(program: &Path, script: &str) {
    let new = program.with_extension("new");
    std::fs::write(&new, script).expect("written");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("executable");
    std::fs::rename(new, program).expect("renamed");
}

fn start_program(program: &Path, workers: &str, more: &[&str]) -> Server {
    let mut command = std::process::Command::new(program);
    command.args(line("echo", workers, more)).env("LC_ALL", "C.UTF-8");
    ready(Server::start_by(command), workers.parse().expect("a number"))
}

#[test]
fn an_upgraded_program_is_taken_and_a_broken_one_is_not() {
    let folder = Folder::new();
    let program = install(folder.path());
    let mut server = start_program(&program, "2", &["127.0.0.1:0"]);
    let before = children(server.pid());
    let mut peer = server.dial();
    peer.echoed(HELLO);
    replace(&program, "#!/bin/sh\nexit 3\n");
    server.signal(Signal::HUP);
    server.line(&["a new worker did not come up", "exit status: 3", "the old ones stay"]);
    assert_eq!(children(server.pid()), before, "nobody has left");
    assert_eq!(peer.echoed(HELLO), HELLO.as_bytes());
    assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes());
    let real = process::sotong().display();
    replace(&program, &format!("#!/bin/sh\necho upgraded >&2\nexec {real} \"$@\"\n"));
    server.signal(Signal::HUP);
    for _ in 0..2 {
        server.line(&["upgraded"]);
        server.line(&["a worker serves"]);
    }
    assert!(children(server.pid()).iter().filter(|pid| !before.contains(pid)).count() == 2);
    assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes());
    server.stop();
}

#[test]
fn a_worker_that_crashes_again_and_again_is_backed_off() {
    let folder = Folder::new();
    let (program, starts) = (install(folder.path()), folder.path().join("starts"));
    let mut server = start_program(&program, "2", &["127.0.0.1:0"]);
    replace(&program, &format!("#!/bin/sh\necho x >> {}\nkill -ABRT $$\n", starts.display()));
    let workers = children(server.pid());
    kill(workers[0]);
    for wait in ["100ms", "200ms", "400ms", "800ms", "1.6s"] {
        server.line(&["a worker has ended", &format!("wait={wait}")]);
        // The other one serves on.
        assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes());
    }
    let count = std::fs::read_to_string(&starts).expect("it was started").lines().count();
    assert_eq!(count, 4, "as often as was said, and no more");
    let before = server.cpu();
    thread::sleep(Duration::from_secs(1));
    assert!(server.cpu() - before < Duration::from_millis(300), "nobody spins");
    // The program is mended: the next start serves.
    replace(&program, &format!("#!/bin/sh\nexec {} \"$@\"\n", process::sotong().display()));
    server.wait_until("it serves again", |server| server.count(&["a worker serves"]) == 3);
    server.stop();
}

#[test]
fn no_worker_outlives_its_supervisor() {
    for stuck in [false, true] {
        let server = start("chargen", 3, &["127.0.0.1:0"]);
        // With connections that are busy, and stopped in the middle of everything.
        let mut peers: Vec<_> = (0..6).map(|_| server.dial()).collect();
        for peer in &mut peers {
            peer.get(74);
        }
        let workers = children(server.pid());
        assert_eq!(workers.len(), 3);
        if stuck {
            for worker in &workers {
                kill_process(pid(*worker), Signal::STOP).expect("it runs");
            }
        }
        server.signal(Signal::KILL);
        assert_eq!(server.end().code(), None);
        wait_until("no worker is left", || workers.iter().all(|worker| test_kill_process(pid(*worker)).is_err()));
    }
}

#[test]
fn connections_are_balanced_over_the_workers() {
    for workers in [2, 4] {
        let mut server = start("echo", workers, &["127.0.0.1:0", "127.0.0.1:0"]);
        let count = 50 * workers;
        let peers: Vec<_> = (0..count).map(|number| Conn::dial(&server.addresses()[number % 2])).collect();
        server.wait_until("all are served", |server| server.count(&["opened"]) == count);
        for worker in children(server.pid()) {
            let has = server.count(&["opened", &format!("pid={worker}")]);
            // Above 1.25 times the mean nobody accepts; the one that brings it above is the last.
            assert!(has <= 50 * 5 / 4 + 1, "{has} of {count} with one of {workers}");
        }
        drop(peers);
        server.stop();
    }
}

#[test]
fn a_worker_that_is_stuck_keeps_nobody_from_being_served() {
    let server = start("echo", 2, &["127.0.0.1:0", "--drain", "500ms"]);
    let worker = children(server.pid())[0];
    kill_process(pid(worker), Signal::STOP).expect("it runs");
    let mut peers: Vec<_> = (0..10).map(|_| server.dial()).collect();
    for peer in &mut peers {
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes());
    }
    // Told to end it does not, and is killed in time.
    server.signal(Signal::TERM);
    let done = server.end();
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("a worker is stuck: it is killed"), "{}", done.stderr);
}

#[test]
fn places_are_divided_among_the_workers() {
    let server = start("echo", 2, &["127.0.0.1:0", "--max-conns", "5"]);
    let mut served: Vec<_> = (0..5).map(|_| server.dial()).collect();
    for peer in &mut served {
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes());
    }
    let mut sixth = server.dial();
    sixth.send(HELLO);
    let Conn::Tcp(stream) = &sixth else { panic!("TCP") };
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
    assert!(sixth.read(&mut [0; 9]).is_err(), "there are five places");
    served.pop();
    let Conn::Tcp(stream) = &sixth else { panic!("TCP") };
    stream.set_read_timeout(Some(HANG)).expect("a limit");
    assert_eq!(sixth.get(HELLO.len()), HELLO.as_bytes());
    server.stop();
}

#[test]
fn a_signal_to_the_whole_group_counts_once() {
    use std::os::unix::process::CommandExt;
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut command = process::command(line("echo", "2", &["127.0.0.1:0", "--drain", "10m", "--stall", "10m"]));
        command.process_group(0);
        let mut server = ready(Server::start_by(command), 2);
        let mut peer = server.dial();
        peer.echoed(HELLO);
        // It hears that the server leaves, and does not leave itself: the worker waits for it a moment.
        let group = pid(server.pid());
        rustix::process::kill_process_group(group, Signal::HUP).expect("it runs");
        server.wait_until("new ones serve", |server| server.count(&["a worker serves"]) == 4);
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes(), "a worker does not die of a hang-up");
        let _greedy = stuck(&server);
        rustix::process::kill_process_group(group, signal).expect("it runs");
        server.line(&["stopping"]);
        assert_eq!(peer.rest(), b"", "an end in order");
        thread::sleep(Duration::from_millis(300));
        assert!(server.runs(), "the one who never reads is still waited for");
        rustix::process::kill_process_group(group, signal).expect("it runs");
        let done = server.end();
        assert_eq!(done.code(), Some(code), "{}", done.stderr);
        assert_eq!(done.stderr.matches("stopping").count(), 1, "{}", done.stderr);
        assert_eq!(done.stderr.matches("error: ").count(), 1, "said once, by the supervisor: {}", done.stderr);
    }
}

/// A peer that sends and never reads, so that its output cannot drain.
fn stuck(server: &Server) -> Conn {
    let mut peer = server.dial();
    peer.echoed(HELLO);
    let Conn::Tcp(stream) = &peer else { panic!("TCP") };
    stream.set_nonblocking(true).expect("an option");
    let mut refusals = 0;
    while refusals < 50 {
        match peer.write(&[0; 65_536]) {
            Ok(count) => refusals = if count > 0 { 0 } else { refusals + 1 },
            Err(_) => {
                refusals += 1;
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    peer
}

#[test]
fn lines_of_many_workers_come_whole() {
    let mut server = start("echo", 4, &["127.0.0.1:0", "--log-format", "json", "-vv"]);
    let at = server.address().to_owned();
    thread::scope(|scope| {
        for number in 0..8 {
            let at = &at;
            scope.spawn(move || {
                for turn in 0..50 {
                    Conn::dial(at).echoed(noise(2_000, number * 100 + turn));
                }
            });
        }
    });
    server.wait_until("all have left", |server| server.count(&[r#""event":"closed""#]) == 400);
    let supervisor = server.pid();
    let done = server.stop();
    for line in done.stderr.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let of_worker = matches!(value["event"].as_str(), Some("opened" | "closed" | "received" | "sent"));
        assert!(!of_worker || value["pid"].as_u64().is_some_and(|pid| pid != u64::from(supervisor)), "{line}");
    }
}
