//! A chat ends on SIGTERM, with exit code 0: all who read have been told what was said before, and that the server leaves; and
//! nobody who does not read keeps it for longer than the drain.
use rustix::process::Signal;
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use tests::{
    conn::{Conn, Folder},
    irc::Client,
    process::Done,
    runs::{Run, shared_runs},
    server::Server,
};

/// Words that are said to all before the server is told to leave.
const WORDS: usize = 300;
/// Words for somebody who does not read: more than the kernel keeps for him, which lets what it sends grow to 4 MiB.
const MANY_WORDS: usize = 11_000;
const DRAIN: Duration = Duration::from_secs(10);
/// The issue's figure is the drain's 10 s. A machine that is busy with other tests needs time of its own to end a process.
const SLACK: Duration = Duration::from_secs(20);

fn chat(run: &Run, folder: &Folder) -> Server {
    let path = folder.path().join("chat.toml");
    fs::write(&path, "[[listen]]\naddress = '127.0.0.1:0'\n[limits]\nflood_control = false\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    // Who does not read has all of it queued, and is not cut off for that.
    let more = ["--config", path, "--output-hard", "64MiB", "--log-format", "json"];
    Server::start(run.line("chat", &more))
}

/// What `reader` hears from the first word to the last, while it is said.
fn hear_all(mut reader: Client) -> (Client, Vec<String>) {
    let heard = reader.hear_until(" PRIVMSG #lobby :the last");
    (reader, heard)
}

/// Everybody comes, words are said, the server is told to leave; then everybody reads to the end. The server, with who does not
/// read if there is one, and when it was told.
fn leave(run: &Run, folder: &Folder, deaf: bool) -> (Server, Option<Conn>, Instant) {
    let server = chat(run, folder);
    let deaf = deaf.then(|| {
        let mut conn = server.dial();
        if let Conn::Tcp(stream) = &conn {
            socket2::SockRef::from(stream).set_recv_buffer_size(4096).expect("an option");
        }
        conn.send("NICK deaf\r\nUSER d 0 * :d\r\nJOIN #lobby,#deaf\r\n");
        conn
    });
    let mut person = server.dial();
    person.send("사람\n");
    let readers = [Client::enter(server.address(), "a", "server-time"), Client::enter(server.address(), "b", "batch")];
    let mut speaker = Client::enter(server.address(), "speaker", "message-tags");
    // All are there before anything is said.
    let all = if deaf.is_some() { 5 } else { 4 };
    while {
        speaker.say("LUSERS");
        !speaker.wait_for(" 255 ").contains(&format!(":I have {all} clients"))
    } {
        thread::sleep(Duration::from_millis(20));
    }
    thread::scope(|scope| {
        let hearing: Vec<_> = readers.into_iter().map(|reader| scope.spawn(move || hear_all(reader))).collect();
        let mut readers = Vec::new();
        let person = scope.spawn(move || person.rest());
        let filler = "x".repeat(400);
        if deaf.is_some() {
            speaker.say("JOIN #deaf");
        }
        let rooms = [("#deaf", if deaf.is_some() { MANY_WORDS } else { 0 }), ("#lobby", WORDS)];
        for (room, word) in rooms.into_iter().flat_map(|(room, words)| (0..words).map(move |word| (room, word))) {
            speaker.say(&format!("PRIVMSG {room} :{word} {filler}"));
            if word % 500 == 499 {
                speaker.say(&format!("PING {word}"));
                speaker.hear_until(&format!(" PONG sotong.local :{word}"));
            }
        }
        speaker.say("PRIVMSG #lobby :the last\r\nPING last");
        speaker.hear_until(" PONG sotong.local :last");
        for heard in hearing {
            let (reader, heard) = heard.join().expect("it hears");
            readers.push(reader);
            let said = heard.iter().filter_map(|line| line.split_once(" PRIVMSG #lobby :")?.1.split_once(' '));
            let said: Vec<&str> = said.map(|(word, _)| word).filter(|word| *word != "the").collect();
            assert!(said.iter().enumerate().all(|(at, word)| at.to_string() == **word), "{run}: another order");
            assert_eq!(said.len(), WORDS, "{run}");
        }
        // Said, and answered for, and not read by anybody yet.
        speaker.say("PRIVMSG #lobby :once more\r\nPING more");
        speaker.hear_until(" PONG sotong.local :more");
        let told = Instant::now();
        server.signal(Signal::TERM);
        for reader in readers {
            let rest = reader.rest();
            assert!(rest.contains(" PRIVMSG #lobby :once more\r\n"), "{run}: {rest:?}");
            assert!(rest.ends_with("ERROR :Closing link: localhost (Server is leaving)\r\n"), "{run}: {rest:?}");
        }
        assert!(speaker.rest().ends_with("(Server is leaving)\r\n"), "{run}");
        let heard = String::from_utf8(person.join().expect("it hears")).expect("UTF-8");
        assert!(heard.contains("speaker: once more\n"), "{run}");
        assert!(heard.ends_with("* The server is leaving. Goodbye.\n"), "{run}");
        (server, deaf, told)
    })
}

/// How many connections were cut off as they were.
fn cut(done: &Done) -> Option<u64> {
    let stopped = done.stderr.lines().find(|line| line.contains(r#""event":"stopped""#))?;
    serde_json::from_str::<serde_json::Value>(stopped).ok()?["cut"].as_u64()
}

#[test]
fn where_every_client_reads_it_waits_for_nobody() {
    thread::scope(|scope| {
        for run in shared_runs() {
            scope.spawn(move || {
                let folder = Folder::new();
                let (server, _, told) = leave(&run, &folder, false);
                let done = server.end();
                assert_eq!((done.code(), cut(&done)), (Some(0), Some(0)), "{run}: {}", done.stderr);
                // Before somebody who does not read would have been given up.
                assert!(told.elapsed() < DRAIN, "{run}: it took {:?}", told.elapsed());
            });
        }
    });
}

#[test]
fn who_does_not_read_keeps_it_no_longer_than_the_drain() {
    thread::scope(|scope| {
        for run in shared_runs() {
            scope.spawn(move || {
                let folder = Folder::new();
                let (mut server, deaf, told) = leave(&run, &folder, true);
                // Everybody who reads has gone, and it waits for the one who does not.
                assert!(server.runs(), "{run}: it drains");
                let done = server.end();
                assert_eq!(done.code(), Some(0), "{run}: {}", done.stderr);
                assert!(told.elapsed() < DRAIN + SLACK, "{run}: it took {:?}", told.elapsed());
                drop(deaf);
            });
        }
    });
}
