//! When `sotong connect` leaves, and that nothing is lost by it.
use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use tests::process::{accept, has, listener, noise, run, sotong, start, wait};

#[test]
fn after_the_end_of_the_input_the_peer_says_all_it_has_however_late() {
    let (listener, address) = listener();
    let mut running = start(["connect", &address]);
    running.say(b"question");
    running.end_input();
    let mut stream = accept(&listener);
    let mut question = String::new();
    stream.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    // Longer than the half second after which other tools are gone.
    thread::sleep(Duration::from_millis(1500));
    assert!(running.runs());
    stream.write_all(b"late ").unwrap();
    thread::sleep(Duration::from_millis(300));
    stream.write_all(b"answer").unwrap();
    drop(stream);
    let done = running.wait();
    assert_eq!((done.code(), done.stdout), (Some(0), b"late answer".to_vec()));
}

#[test]
fn after_the_peer_has_ended_a_pipe_is_read_and_sent_to_its_end() {
    let (listener, address) = listener();
    let mut running = start(["connect", &address]);
    running.say(b"first ");
    let mut stream = accept(&listener);
    stream.write_all(b"goodbye").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    running.wait_for("goodbye");
    thread::sleep(Duration::from_millis(300));
    assert!(running.runs(), "the input has not ended");
    let rest = noise(8 << 20, 1);
    let reading = thread::spawn(move || {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    running.say(&rest);
    let done = running.finish();
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let got = reading.join().unwrap();
    assert!(got.starts_with(b"first ") && got[6..] == rest);
}

#[test]
fn after_the_peer_has_left_a_broken_pipe_is_the_end() {
    let (listener, address) = listener();
    let mut running = start(["connect", &address]);
    drop(accept(&listener));
    let mut input = running.take_stdin();
    let writer = thread::spawn(move || {
        while input.write_all(b"anybody?\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let done = running.wait();
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    writer.join().unwrap();
}

#[test]
fn a_time_limit_bounds_the_wait_for_the_input() {
    let (listener, address) = listener();
    let running = start(["connect", "-w", "0.4", &address]);
    drop(accept(&listener));
    let done = running.wait();
    assert_eq!(done.code(), Some(75), "{}", done.stderr);
}

/// At a terminal, which is what `socat` makes for it, nobody wants to press Ctrl-D once the peer has gone.
#[test]
fn after_the_peer_has_ended_a_terminal_is_left_at_once() {
    if !has("socat") {
        return;
    }
    let (listener, address) = listener();
    let scratch = |name| std::env::temp_dir().join(format!("sotong-terminal-{name}-{}", std::process::id()));
    let (script, code) = (scratch("script"), scratch("code"));
    let line = format!("{} connect {address}; echo $? > {}", sotong().display(), code.display());
    fs::write(&script, line).unwrap();
    let mut socat = Command::new("socat");
    socat.arg("-").arg(format!("EXEC:sh {},pty,ctty,setsid,rawer", script.display()));
    let mut socat = socat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = socat.stdin.take().unwrap();
    let mut stream = accept(&listener);
    keys.write_all(b"typed\n").unwrap();
    let mut line = [0; 6];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"typed\n");
    stream.write_all(b"seen").unwrap();
    drop(stream);
    // The keyboard is still there.
    wait(&mut socat);
    drop(keys);
    let mut seen = String::new();
    socat.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
    assert!(seen.ends_with("seen"), "{seen:?}");
    assert_eq!(fs::read_to_string(&code).unwrap(), "0\n");
    fs::remove_file(&code).unwrap();
    fs::remove_file(&script).unwrap();
}

/// `sotong connect … | head -1`: nobody reads any more, and the input never ends.
#[test]
fn a_reader_who_leaves_ends_it_quietly() {
    for speaks in [true, false] {
        let (listener, address) = listener();
        let mut command = Command::new(sotong());
        command.args(["connect", &address]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stream = accept(&listener);
        stream.write_all(b"one\n").unwrap();
        let mut line = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        // Also when the peer says nothing more that would break the pipe.
        drop(child.stdout.take());
        if speaks {
            let _ = stream.write_all(&vec![0; 1 << 20]);
        }
        assert_eq!(wait(&mut child).code(), Some(0));
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(errors, "");
    }
}

/// The peer answers and leaves without reading: its answer is not lost to the reset, and neither is the reset.
#[test]
fn an_answer_before_a_reset_is_printed() {
    let (listener, address) = listener();
    let mut running = start(["connect", &address]);
    running.say(b"a request that nobody reads");
    let mut stream = accept(&listener);
    thread::sleep(Duration::from_millis(200));
    stream.write_all(b"413 too large").unwrap();
    drop(stream);
    let done = running.finish();
    assert_eq!((done.code(), done.stdout), (Some(76), b"413 too large".to_vec()), "{}", done.stderr);
}

#[test]
fn a_message_is_sent_with_a_line_end_and_the_input_is_left_alone() {
    for (args, sent) in [(&["-m", "안녕하세요"][..], "안녕하세요\n"), (&["-C", "-m", "HELO x"], "HELO x\r\n")]
    {
        let (listener, address) = listener();
        let serving = thread::spawn(move || {
            let mut stream = accept(&listener);
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            stream.write_all(b"answer\n").unwrap();
            text
        });
        let running = start([&["connect", &address], args].concat());
        let done = running.wait();
        assert_eq!((done.code(), done.stdout), (Some(0), b"answer\n".to_vec()));
        assert_eq!(serving.join().unwrap(), sent);
    }
}

#[test]
fn nothing_is_said_and_nothing_heard() {
    let (listener, address) = listener();
    let serving = thread::spawn(move || accept(&listener).read_to_end(&mut Vec::new()).unwrap());
    let done = run(["connect", &address], b"");
    assert_eq!((done.code(), done.stdout.len(), serving.join().unwrap()), (Some(0), 0, 0));
}
