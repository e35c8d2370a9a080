//! What `sotong connect` does with its input and output, and what it leaves alone.
use rustix::{
    fs::{OFlags, SeekFrom, fcntl_getfl, fcntl_setfl, seek},
    process::Signal,
};
use sotong::net::signals::SAME_SIGNAL_TIME_MAX;
use std::{
    fs::{self, File},
    io::{Read, Write, pipe},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Stdio,
    thread,
};
use tests::process::{HANG, accept, command, listener, noise, run, start, start_with};

/// Sends back what comes, until the end.
fn echo() -> String {
    let (listener, address) = listener();
    thread::spawn(move || {
        let stream = accept(&listener);
        stream.set_read_timeout(Some(HANG)).unwrap();
        std::io::copy(&mut &stream, &mut &stream).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    address
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sotong-stdio-{name}-{}", std::process::id()))
}

/// O_NONBLOCK belongs to the open file, which the parent's shell uses, too: it would find its own input non-blocking.
#[test]
fn the_flags_of_inherited_descriptors_stay() {
    let (listener, address) = listener();
    let (input, mut to_input) = pipe().unwrap();
    let (mut from_output, output) = pipe().unwrap();
    let (input_kept, output_kept) = (input.try_clone().unwrap(), output.try_clone().unwrap());
    let running = start_with(command(["connect", &address]).stdin(input).stdout(output));
    let mut stream = accept(&listener);
    let mut word = [0; 2];
    to_input.write_all(b"hi").unwrap();
    stream.read_exact(&mut word).unwrap();
    stream.write_all(b"ho").unwrap();
    from_output.read_exact(&mut word).unwrap();
    let blocks = |fd: &dyn rustix::fd::AsFd| !fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK);
    assert!(blocks(&input_kept) && blocks(&output_kept), "while it runs");
    drop((to_input, stream));
    running.wait();
    assert!(blocks(&input_kept) && blocks(&output_kept), "after it");
    // And with sockets, as under inetd.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let kept = theirs.try_clone().unwrap();
    let input = theirs.try_clone().unwrap();
    let address = echo();
    let mut command = command(["connect", &address]);
    let running =
        start_with(command.stdin(std::os::fd::OwnedFd::from(input)).stdout(std::os::fd::OwnedFd::from(theirs)));
    (&ours).write_all(b"hi").unwrap();
    (&ours).read_exact(&mut word).unwrap();
    assert!(blocks(&kept));
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(running.wait().code(), Some(0));
    assert!(blocks(&kept));
}

/// A descriptor that somebody else has made non-blocking is as good.
#[test]
fn descriptors_that_do_not_wait_work() {
    let (input, mut to_input) = pipe().unwrap();
    let (mut from_output, output) = pipe().unwrap();
    for fd in [rustix::fd::AsFd::as_fd(&input), rustix::fd::AsFd::as_fd(&output)] {
        fcntl_setfl(fd, fcntl_getfl(fd).unwrap() | OFlags::NONBLOCK).unwrap();
    }
    let address = echo();
    let running = start_with(command(["connect", &address]).stdin(input).stdout(output));
    let text = noise(4 << 20, 3);
    let wanted = text.clone();
    let writer = thread::spawn(move || to_input.write_all(&text).unwrap());
    let mut got = Vec::new();
    from_output.read_to_end(&mut got).unwrap();
    assert!(got == wanted);
    writer.join().unwrap();
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn a_file_is_read_from_where_it_stands_and_written_from_where_it_stands() {
    let (text, path, out) = (noise(3 << 20, 4), scratch("in"), scratch("out"));
    fs::write(&path, &text).unwrap();
    for append in [false, true] {
        let input = File::open(&path).unwrap();
        seek(&input, SeekFrom::Start(10)).unwrap();
        fs::write(&out, "before:").unwrap();
        let output = if append {
            File::options().append(true).open(&out).unwrap()
        } else {
            let output = File::options().write(true).open(&out).unwrap();
            seek(&output, SeekFrom::Start(7)).unwrap();
            output
        };
        let address = echo();
        let kept = input.try_clone().unwrap();
        let done = start_with(command(["connect", &address]).stdin(input).stdout(output)).wait();
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        let written = fs::read(&out).unwrap();
        assert!(written.starts_with(b"before:") && written[7..] == text[10..], "append: {append}");
        assert_eq!(seek(&kept, SeekFrom::Current(0)).unwrap(), text.len() as u64);
    }
    fs::remove_file(&path).unwrap();
    fs::remove_file(&out).unwrap();
}

#[test]
fn without_an_input_there_is_an_end_at_once() {
    let address = echo();
    let done = start_with(command(["connect", &address]).stdin(Stdio::null()).stdout(Stdio::piped())).wait();
    assert_eq!((done.code(), done.stdout.len()), (Some(0), 0));
}

/// The end of what the peer says reaches whoever reads, while the input goes on.
#[test]
fn the_peers_end_is_passed_on_to_the_reader() {
    let (listener, address) = listener();
    let (mut from_output, output) = pipe().unwrap();
    let mut command = command(["connect", &address]);
    let mut running = start_with(command.stdin(Stdio::piped()).stdout(output));
    drop(command);
    let mut stream = accept(&listener);
    stream.write_all(b"all").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    from_output.read_to_string(&mut got).unwrap();
    assert_eq!(got, "all");
    assert!(running.runs());
    running.say(b"more");
    running.end_input();
    got.clear();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "more");
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn a_slow_reader_holds_up_nothing_but_itself() {
    let (listener, address) = listener();
    let (mut from_output, output) = pipe().unwrap();
    let mut command = command(["connect", &address]);
    let mut running = start_with(command.stdin(Stdio::piped()).stdout(output));
    drop(command);
    let stream = accept(&listener);
    let (there, back) = (noise(16 << 20, 5), noise(8 << 20, 6));
    let (mut input, sent, answer) = (running.take_stdin(), there.clone(), back.clone());
    let mut speaking = stream.try_clone().unwrap();
    let speaker = thread::spawn(move || {
        speaking.write_all(&answer).unwrap();
        speaking.shutdown(Shutdown::Write).unwrap();
    });
    let writer = thread::spawn(move || input.write_all(&sent).unwrap());
    // Nobody reads the answer before all of the request has arrived.
    let mut got = Vec::new();
    (&stream).read_to_end(&mut got).unwrap();
    assert!(got == there);
    got.clear();
    from_output.read_to_end(&mut got).unwrap();
    assert!(got == back);
    writer.join().unwrap();
    speaker.join().unwrap();
    assert_eq!(running.wait().code(), Some(0));
}

/// A signal finds it also while the reader takes nothing.
#[test]
fn a_reader_who_takes_nothing_keeps_no_signal_away() {
    let (listener, address) = listener();
    let (_from_output, output) = pipe().unwrap();
    let running = start_with(command(["connect", &address]).stdin(Stdio::piped()).stdout(output));
    let mut stream = accept(&listener);
    let speaker = thread::spawn(move || stream.write_all(&vec![0; 32 << 20]).is_err());
    thread::sleep(std::time::Duration::from_millis(300));
    running.signal(Signal::TERM);
    thread::sleep(SAME_SIGNAL_TIME_MAX * 2);
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(143));
    assert!(speaker.join().unwrap());
}

#[test]
fn line_ends_become_crlf_once_also_where_reads_are_cut() {
    let (listener, address) = listener();
    let mut running = start(["connect", "-C", &address]);
    let mut stream = accept(&listener);
    let mut got = Vec::new();
    for (part, sent) in [("one\n", "one\r\n"), ("two\r", "two\r"), ("\nthree\r\n", "\nthree\r\n"), ("\n", "\r\n")] {
        running.say(part.as_bytes());
        got.resize(sent.len(), 0);
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, sent.as_bytes(), "{part:?}");
    }
    // What the peer says stays as it is.
    stream.write_all(b"lf\n").unwrap();
    drop(stream);
    assert_eq!(running.finish().stdout, b"lf\n");
}

#[test]
fn a_log_holds_both_directions_and_hex_goes_to_stderr() {
    let log = scratch("log");
    let done = run(["connect", "-x", "-o", log.to_str().unwrap(), &echo()], "안녕\n".as_bytes());
    assert_eq!((done.code(), done.stdout), (Some(0), "안녕\n".as_bytes().to_vec()));
    assert_eq!(fs::read(&log).unwrap(), "안녕\n안녕\n".as_bytes());
    let hex = "00000000  ec 95 88 eb 85 95 0a                              .......\n";
    assert_eq!(done.stderr, format!("> {hex}< {hex}"));
    fs::remove_file(&log).unwrap();
}

#[test]
fn a_log_line_tells_of_the_end() {
    let done = run(["connect", "--log-format", "json", "-v", &echo()], b"12345");
    let closed = done.stderr.lines().find(|line| line.contains("\"closed\"")).expect("a line of the end");
    for field in ["\"bytes_in\":5", "\"bytes_out\":5", "\"sent\":\"end of input\"", "\"received\":\"end of input\""] {
        assert!(closed.contains(field), "{closed}");
    }
}

#[test]
fn unix_sockets_by_path_and_abstract() {
    let path = scratch("unix");
    let _ = fs::remove_file(&path);
    for address in [format!("unix:{}", path.display()), format!("unix:@sotong-test-{}", std::process::id())] {
        let mut listening = start(["listen", &address]);
        assert_eq!(listening.address(), address);
        listening.end_input();
        let done = run(["connect", &address], b"over there");
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        assert_eq!(listening.wait().stdout, b"over there");
    }
    assert!(!path.exists(), "the socket's file is gone with its listener");
}

#[test]
fn the_own_address_can_be_chosen() {
    let (listener, address) = listener();
    let serving = thread::spawn(move || {
        let (_stream, peer): (TcpStream, _) = listener.accept().unwrap();
        peer.ip().to_string()
    });
    let done = run(["connect", "--source", "127.0.0.9", &address, "--keepalive", "30"], b"");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(serving.join().unwrap(), "127.0.0.9");
}
