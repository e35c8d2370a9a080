//! Which model is taken where none is asked for, and what is said where one cannot be had.
use std::process::{Command, Stdio};

use sotong::drivers::Model;
use tests::{
    process,
    server::Server,
    tool::{Tool, tool},
};

const HELLO: &str = "안녕하세요, 서버!";

/// `sotong` on a system that refuses io_uring so. The process is the command itself (`-D`), and its tracer a child.
fn without_uring(strace: &Tool, error: &str, args: &[&str]) -> Command {
    let inject = format!("inject=io_uring_setup:error={error}");
    let mut command = strace.command(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject]);
    command.arg(process::sotong()).args(args);
    command
}

fn last_word(line: &str, of: &str) -> bool {
    line.split(['(', ')', ',', ' ']).any(|word| word == of)
}

#[test]
fn the_best_model_is_taken_and_one_line_says_why() {
    let (best, _) = Model::best();
    let server = Server::start(["echo", "127.0.0.1:0"]);
    assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes());
    let lines = server.lines();
    assert!(last_word(&lines[0], best.name()), "{lines:?}");
    assert!(lines[1].starts_with(&format!("model: {best}, ")) && lines[1].contains("--model"), "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    server.stop();
    // Who asked needs no reason.
    let server = Server::start(["echo", "127.0.0.1:0", "--model", "epoll"]);
    assert_eq!(server.lines().len(), 2);
    server.stop();
}

#[test]
fn where_io_uring_is_refused_epoll_serves_and_says_so() {
    let Some(strace) = tool("strace") else { return };
    for (error, lang, why) in [
        ("EPERM", "en", "io_uring is not permitted here"),
        ("ENOSYS", "en", "this kernel has no io_uring"),
        ("ENOMEM", "en", "ulimit -l"),
        ("EPERM", "ko", "권한이 없습니다"),
    ] {
        for service in ["echo", "room"] {
            let server = Server::start_by(without_uring(&strace, error, &[service, "127.0.0.1:0", "--lang", lang]));
            let lines = server.lines();
            assert!(last_word(&lines[0], "epoll"), "{lines:?}");
            assert!(lines[1].contains("epoll") && lines[1].contains(why), "{lines:?}");
            if service == "echo" {
                assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes());
            }
            server.stop();
        }
    }
}

#[test]
fn who_asks_for_uring_where_it_is_refused_is_told_before_anything_listens() {
    let Some(strace) = tool("strace") else { return };
    for (error, lang, begin, why, way_out) in [
        ("EPERM", "en", "error: the model uring cannot run here: ", "seccomp", "Use --model epoll"),
        ("ENOSYS", "en", "error: the model uring cannot run here: ", "no io_uring", "Use --model epoll"),
        ("EINVAL", "en", "error: the model uring cannot run here: ", "lacks", "Use --model epoll"),
        ("EPERM", "ko", "오류: 여기서는 uring 모델을 쓸 수 없습니다: ", "seccomp", "--model epoll을 쓰거나"),
    ] {
        let args = ["room", "127.0.0.1:0", "--model", "uring", "--lang", lang];
        let mut command = without_uring(&strace, error, &args);
        let done = process::start_with(command.stdin(Stdio::null()).stdout(Stdio::piped())).wait();
        assert_eq!((done.status.code(), done.stdout.len()), (Some(78), 0), "{}", done.stderr);
        let line = done.stderr.strip_suffix('\n').expect("a line");
        assert!(line.starts_with(begin) && line.contains(why) && line.contains(way_out), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn the_models_of_a_machine_are_listed_for_people_and_for_programs() {
    let done = process::run(["models", "--json"], b"");
    let objects: Vec<serde_json::Value> = String::from_utf8(done.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (best, missing) = Model::best();
    assert_eq!(objects.len(), Model::ALL.len());
    for (model, object) in Model::ALL.into_iter().zip(&objects) {
        assert_eq!(object["model"], model.name());
        assert_eq!(object["auto"], model == best);
        assert_eq!(object["rooms"], model.has_mail());
        assert_eq!(object["available"], model != Model::Uring || missing.is_none());
    }
    let Some(strace) = tool("strace") else { return };
    let mut command = without_uring(&strace, "EPERM", &["models"]);
    let done = process::start_with(command.stdin(Stdio::null()).stdout(Stdio::piped())).wait();
    let text = String::from_utf8(done.stdout).expect("text");
    let of = |model: &str| text.lines().find(|line| line.starts_with(model)).expect("a line").to_owned();
    assert!(of("uring").contains("not here: io_uring is not permitted"), "{text}");
    assert!(of("epoll").contains("taken where none is asked for"), "{text}");
    assert!(of("processes").contains("no rooms") && of("sequential").contains("no rooms"), "{text}");
    assert_eq!(text.lines().count(), Model::ALL.len());
}
