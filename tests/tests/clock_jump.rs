//! The civil clock jumps while servers run, as at a correction or after a sleep: time limits do not notice, and only what is
//! told to people follows it.
use std::{fs, path::Path, process::Stdio};
use tests::{
    conn::{Conn, Folder},
    process,
    runs::{Run, runs},
    server::Server,
};

/// Where Debian's faketime keeps what changes a program's clock.
fn library() -> Option<String> {
    // For its message, and for the failure where every tool is required.
    process::has("faketime").then_some(())?;
    let lib = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    lib.into_iter().find(|path| path.exists()).map(|path| path.display().to_string())
}

/// A server whose civil clock is as far off as the file says. Its monotonic clock is the machine's, as it would be.
fn serve(library: &str, file: &Path, line: Vec<String>) -> Server {
    let mut command = process::command(line);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Server::start_by({
        command.stdin(Stdio::null());
        command
    })
}

fn date(address: &str) -> String {
    let text = String::from_utf8(Conn::dial(address).rest()).expect("text");
    text.split('T').next().unwrap_or_default().to_owned()
}

fn check(run: &Run, library: &str) {
    let folder = Folder::new();
    let file = folder.path().join("offset");
    let jump = |offset: &str| fs::write(&file, offset).expect("written");
    jump("+0");
    let line = |service, more: &[&str]| run.line(service, &[&["127.0.0.1:0"], more].concat());
    let clock = serve(library, &file, line("daytime", &[]));
    let echo = serve(library, &file, line("echo", &["--idle", "2s"]));
    let today = date(clock.address());

    // Forward: nobody has been silent for three days, whatever the calendar says.
    let mut peer = echo.dial();
    peer.send("before");
    assert_eq!(peer.get(6), b"before", "{run}");
    jump("+3d");
    assert_ne!(date(clock.address()), today, "{run}: people are told the new date");
    peer.send("after");
    assert_eq!(peer.get(5), b"after", "{run}");
    // Backward: a limit that began before is still kept.
    jump("-300d");
    assert_ne!(date(clock.address()), today, "{run}");
    assert_eq!(peer.rest(), b"", "{run}: the silent are let go, and not in 300 days");
    clock.stop();
    echo.stop();
}

#[test]
fn limits_are_kept_by_a_clock_that_does_not_jump() {
    let Some(library) = library() else { return };
    for run in runs() {
        check(&run, &library);
    }
}
