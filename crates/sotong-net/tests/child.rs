//! Programs beside a connection: every byte both ways, no zombies, no descriptors left, and an end in time.
use sotong_net::{
    child::{Child, Patience},
    pump::{End, FlowEnd, Limits, Pump, Report},
};
use std::{
    ffi::OsString,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::{fd::AsFd, unix::process::ExitStatusExt},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Only a guard against hanging.
const HANG: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// The tests count this process's descriptors and children: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(line: &str) -> (Child, End) {
    let args: [OsString; 2] = ["-c".into(), line.into()];
    Child::spawn("sh".as_ref(), &args, &[("SOTONG_PEER", Some("tcp://192.0.2.1:9".into()))]).unwrap()
}

struct Served {
    peer: TcpStream,
    child: Child,
    pump: JoinHandle<Report>,
}

fn serve(line: &str) -> Served {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(HANG)).unwrap();
    peer.set_write_timeout(Some(HANG)).unwrap();
    let a = End::socket(listener.accept().unwrap().0.into()).unwrap();
    let (child, b) = spawn(line);
    // A program may leave with much of its input unread; its last words must not be reset for that.
    let limits = Limits { linger_bytes_max: 16 * MIB, ..Limits::default() };
    let pump = thread::spawn(move || Pump::new(a, b).limits(limits).run(None).unwrap());
    Served { peer, child, pump }
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Sends everything from one thread and reads everything in another, as a two-way user does.
fn through(peer: &TcpStream, text: &[u8]) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = peer;
            peer.write_all(text).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::with_capacity(text.len());
        let mut peer = peer;
        peer.read_to_end(&mut got).unwrap();
        got
    })
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Children of this process that have exited and were not waited for.
fn zombies() -> usize {
    let me = std::process::id().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let text = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split(' ').map(str::to_owned);
        Some((fields.next()?, fields.next()?))
    });
    stats.filter(|(state, parent)| state == "Z" && *parent == me).count()
}

#[test]
fn eight_mebibytes_through_cat_and_back_twenty_times() {
    let _alone = alone();
    let text = noise(8 * MIB);
    let before = descriptors();
    for round in 0..20 {
        let Served { peer, child, pump } = serve("exec cat");
        assert!(through(&peer, &text) == text, "round {round}");
        let report = pump.join().unwrap();
        assert_eq!((report.forth.end, report.back.end), (FlowEnd::EndOfInput, FlowEnd::EndOfInput));
        assert_eq!(child.wait(Some(HANG)).and_then(|status| status.code()), Some(0));
    }
    assert_eq!(zombies(), 0);
    assert_eq!(descriptors(), before);
}

#[test]
fn sixty_four_mebibytes_both_ways_at_once() {
    let _alone = alone();
    let text = noise(64 * MIB);
    let Served { peer, child, pump } = serve("exec cat");
    assert!(through(&peer, &text) == text);
    assert_eq!(pump.join().unwrap().back.bytes, text.len() as u64);
    assert!(child.wait(Some(HANG)).is_some());
}

#[test]
fn what_a_program_wrote_before_it_left_is_delivered() {
    let _alone = alone();
    // It reads one line of many and leaves with 1 MiB of last words.
    let Served { mut peer, child, pump } = serve("read line; head -c 1048576 /dev/zero; echo $line");
    peer.write_all(b"hello\n").unwrap();
    peer.write_all(&noise(MIB)).unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), MIB + 6);
    assert!(got.ends_with(b"hello\n"));
    assert_eq!(child.wait(Some(HANG)).and_then(|status| status.code()), Some(0));
    pump.join().unwrap();
}

#[test]
fn a_program_knows_its_peer_and_keeps_its_signals_and_no_descriptors() {
    let _alone = alone();
    // What this process was started with, it passes on, too: so an ordinary child is the measure.
    let line = "grep SigIgn /proc/self/status; ls /proc/self/fd";
    let plain = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let Served { mut peer, pump, .. } = serve(&format!("echo $SOTONG_PEER; {line}"));
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    pump.join().unwrap();
    assert_eq!(got, format!("tcp://192.0.2.1:9\n{}", String::from_utf8(plain.stdout).unwrap()));
}

#[test]
fn when_the_connection_dies_the_program_reads_its_end_or_its_pipe_breaks() {
    let _alone = alone();
    for (line, code, signal) in [("cat >/dev/null; exit 3", Some(3), None), ("exec cat /dev/zero", None, Some(13))] {
        let Served { peer, child, pump } = serve(line);
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        // Where the sender meets the reset, the program may be gone before the reader looks.
        let report = pump.join().unwrap();
        assert!([report.forth.end, report.back.end].contains(&FlowEnd::PeerReset), "{line}: {report:?}");
        let status = child.wait(Some(HANG)).expect("it leaves by itself");
        assert_eq!((status.code(), status.signal()), (code, signal), "{line}");
    }
    assert_eq!(zombies(), 0);
}

#[test]
fn a_program_that_stays_is_told_and_then_killed() {
    let _alone = alone();
    let short = Duration::from_millis(100);
    let patience = Patience { closed: short, told: short };
    for (line, signal) in [("exec sleep 1000", 15), ("trap '' TERM; while :; do sleep 0.1; done", 9)] {
        let (child, end) = spawn(line);
        // The trap needs a moment.
        assert_eq!(child.wait(Some(Duration::from_millis(300))), None);
        drop(end);
        assert_eq!(child.stop(patience).and_then(|status| status.signal()), Some(signal), "{line}");
    }
    let (child, end) = spawn("cat; exit 5");
    drop(end);
    assert_eq!(child.stop(Patience::default()).and_then(|status| status.code()), Some(5));
}

#[test]
fn whoever_waits_is_woken_by_the_exit_or_the_stop() {
    let _alone = alone();
    let (stop, stopper) = std::io::pipe().unwrap();
    let (child, end) = spawn("read line; exit 4");
    let waiting = thread::spawn(move || (child.wait_or(stop.as_fd()), child, stop));
    thread::sleep(Duration::from_millis(50));
    drop(stopper);
    let (status, child, _) = waiting.join().unwrap();
    assert_eq!(status, None);
    let (stop, _stopper) = std::io::pipe().unwrap();
    drop(end);
    assert_eq!(child.wait_or(stop.as_fd()).and_then(|status| status.code()), Some(4));
}

#[test]
fn a_dropped_program_is_still_waited_for() {
    let _alone = alone();
    let (child, end) = spawn("exec cat");
    drop((child, end));
    for _ in 0..600 {
        if zombies() == 0 && !cat_runs() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("a child was left behind");
}

fn cat_runs() -> bool {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    std::fs::read_to_string(path).is_ok_and(|children| !children.trim().is_empty())
}

#[test]
fn what_cannot_be_run_is_said() {
    let _alone = alone();
    let before = descriptors();
    let error = Child::spawn("/no/such/program".as_ref(), &[], &[]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(descriptors(), before);
}
