//! The log of a server: who reads it slowly, or not at all, holds up nobody.
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc::sync_channel,
    thread,
};
use tests::{conn::Conn, process, runs::runs};

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    for run in runs() {
        for format in ["text", "json"] {
            // Far more lines than a pipe of 64 KiB holds, fewer than a burst that is metered.
            let mut command = process::command(run.line("echo", &["127.0.0.1:0", "-v", "--log-format", format]));
            let mut server = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
            let mut log = BufReader::new(server.stderr.take().expect("a pipe"));
            let mut line = String::new();
            while !line.contains("tcp://") {
                line.clear();
                assert_ne!(log.read_line(&mut line).expect("a line"), 0, "{run}: ended");
            }
            let at = line.find("tcp://").expect("an address");
            let address: String = line[at..].chars().take_while(|c| !c.is_whitespace() && *c != '"').collect();
            for _ in 0..900 {
                assert_eq!(Conn::dial(&address).echoed("x"), b"x", "{run}");
            }
            // Somebody begins to read: the next line that is written tells of those that were not.
            let (sender, read) = sync_channel(1);
            let reader = thread::spawn(move || {
                let mut lines: Vec<String> = Vec::new();
                for line in log.lines().map_while(Result::ok) {
                    lines.push(line);
                    // A pipe's worth: there is room again.
                    if lines.len() == 200 {
                        sender.send(()).expect("somebody waits");
                    }
                }
                lines
            });
            read.recv_timeout(process::HANG).expect("lines");
            assert_eq!(Conn::dial(&address).echoed("x"), b"x", "{run}");
            let pid = rustix::process::Pid::from_child(&server);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
            let rest = reader.join().expect("no panic");
            assert!(server.wait().expect("ended").success(), "{run}");
            assert!(rest.len() < 1_800, "{run}: all lines fitted: {}", rest.len());
            let told = rest.iter().filter(|line| line.contains("log lines left out"));
            let counted: u64 = told.filter_map(|line| digits_behind(line, "lines")).sum();
            assert!(counted > 0, "{run}: {:?}", rest.last());
        }
    }
}

/// The number behind `name=` or `"name":`.
fn digits_behind(line: &str, name: &str) -> Option<u64> {
    let ways = [format!("{name}="), format!("\"{name}\":")];
    let at = ways.iter().find_map(|way| line.rfind(way.as_str()).map(|at| at + way.len()))?;
    line[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
