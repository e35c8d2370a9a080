//! The examples do what they say.
use rustix::process::Signal;
use std::process::{Command, Stdio};
use tests::{
    conn::Conn,
    process::{Running, example, start_with},
};

fn start(name: &str) -> Running {
    start_with(Command::new(example(name)).stdin(Stdio::null()).stdout(Stdio::piped()))
}

/// Where the example says that it listens, once it has named `count` places.
#[track_caller]
fn addresses(example: &Running, count: usize) -> Vec<String> {
    let found = |printed: &str| -> Vec<String> {
        let lines = printed.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.filter_map(|line| Some(line.split_once("listening on ")?.1.to_owned())).collect()
    };
    found(&example.wait_printed("addresses", |printed| found(printed).len() >= count))
}

#[test]
fn shout_is_louder_under_each_of_its_models() {
    let example = start("shout");
    for address in addresses(&example, 2) {
        let mut peer = Conn::dial(&address);
        peer.send("hello");
        peer.end();
        assert_eq!(peer.rest(), b"HELLO", "{address}");
    }
    example.signal(Signal::INT);
    assert_eq!(example.finish().code(), Some(0));
}

#[test]
fn guest_serves_while_its_host_does_something_else() {
    let example = start("guest");
    let mut peer = Conn::dial(&addresses(&example, 1)[0]);
    for times in 1..=2 {
        assert_eq!(peer.echoed("안녕하세요"), "안녕하세요".as_bytes());
        example.wait_printed("its host", |printed| printed.matches("still here").count() > times);
    }
    example.signal(Signal::INT);
    let done = example.finish();
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(String::from_utf8_lossy(&done.stdout).ends_with("served 1 connections\n"));
}
