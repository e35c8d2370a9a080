//! The chat on real sockets: clients, people with nc, browsers and TLS at one port, under every model in which a chat can be.
use rustix::process::Signal;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tests::{
    conn::{Conn, Folder},
    http,
    irc::Client,
    process,
    runs::{Run, shared_runs},
    server::Server,
    tls,
    tool::tool,
};

fn chat(run: &Run, more: &[&str]) -> Server {
    Server::start(run.line("chat", &[&["127.0.0.1:0"], more].concat()))
}

#[test]
fn a_client_and_nc_in_one_room() {
    let Some(nc) = tool("nc") else { return };
    for run in shared_runs() {
        let server = chat(&run, &[]);
        let mut client = Client::enter(server.address(), "민수", "server-time");
        // Somebody who waits to be spoken to.
        let mut person = nc.start(["127.0.0.1", server.port()]);
        person.wait_for("What is your name?\n");
        person.say("영희\n".as_bytes());
        person.wait_for("* Welcome, 영희. /help lists the commands.\n* In #lobby: 민수\n");
        client.hear_until(":영희!text@localhost JOIN #lobby");
        client.say("PRIVMSG #lobby :점심 먹었어요?");
        person.wait_for("민수: 점심 먹었어요?\n");
        person.say("아직이요 😀\n".as_bytes());
        let heard = client.hear_until("PRIVMSG");
        assert!(heard[0].ends_with(":영희!text@localhost PRIVMSG #lobby :아직이요 😀"), "{run}: {heard:?}");
        // Somebody who speaks first, and is no client.
        let mut other = nc.start(["127.0.0.1", server.port()]);
        other.say("철수\n".as_bytes());
        other.wait_for("* Welcome, 철수.");
        person.wait_for("* 철수 has joined\n");
        person.say(b"/quit\n");
        person.wait_for("* Goodbye.\n");
        client.hear_until(":영희!text@localhost QUIT :Quit");
        client.say("QUIT :bye");
        other.wait_for("* 민수 has left (Quit: bye)\n");
        assert!(client.rest().ends_with("ERROR :Closing link: localhost (Quit: bye)\r\n"), "{run}");
        server.stop();
    }
}

#[test]
fn a_browser_is_told_how_to_join_and_posts_nothing() {
    for run in shared_runs() {
        let server = chat(&run, &[]);
        let port = server.port();
        let mut conn = server.dial();
        conn.send(format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
        let answer = http::read(&mut conn, true);
        assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"), "{run}");
        let text = String::from_utf8(answer.body).expect("UTF-8");
        assert!(text.contains(&format!("irssi -c 127.0.0.1 -p {port}")), "{run}: {text}");
        assert!(text.contains(&format!("nc 127.0.0.1 {port}")) && text.contains("들어오기"), "{run}: {text}");
        let mut client = Client::enter(server.address(), "a", "server-time");
        let mut post = server.dial();
        post.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nNICK x\r\nUSER x 0 * :x\r\nJOIN #lobby\r\nQUIT\r\n");
        assert!(post.rest().starts_with(b"HTTP/1.1 405 "), "{run}");
        client.say("PING x");
        assert!(client.hear().ends_with("PONG sotong.local :x"), "{run}: nobody came in by a form");
        server.stop();
    }
}

#[test]
fn tls_and_plain_at_one_port() {
    for run in shared_runs() {
        let server = chat(&run, &["--cert", tls::CERT]);
        let secure = server.address().replace("tcp://", "tls://");
        let mut plain = Client::enter(server.address(), "plain", "server-time");
        let mut client = Client::enter(&secure, "secure", "server-time");
        plain.hear_until("secure!~u@localhost JOIN");
        client.say("PRIVMSG #lobby :암호로");
        plain.hear_until("PRIVMSG #lobby :암호로");
        plain.say("WHOIS secure");
        plain.hear_until(" 671 ");
        // Who waits to be spoken to is greeted here, too.
        let mut person = server.dial();
        assert_eq!(person.get(19), b"What is your name?\n", "{run}");
        server.stop();
    }
}

#[test]
fn what_is_done_is_with_others_before_the_answer_to_what_they_say_later() {
    for run in shared_runs() {
        let server = chat(&run, &["--no-flood-control"]);
        let mut one = Client::enter(server.address(), "one", "echo-message");
        let mut two = Client::enter(server.address(), "two", "server-time");
        one.hear_until("two!~u@localhost JOIN");
        for round in 0..300 {
            one.say(&format!("PRIVMSG #lobby :{round}\r\nPING {round}"));
            let heard = [one.hear(), one.hear()];
            assert!(heard[0].ends_with(&format!("PRIVMSG #lobby :{round}")), "{run}: {heard:?}");
            assert!(heard[1].ends_with(&format!("PONG sotong.local :{round}")), "{run}: {heard:?}");
            two.say(&format!("PING {round}"));
            let heard = [two.hear(), two.hear()];
            assert!(heard[0].ends_with(&format!("PRIVMSG #lobby :{round}")), "{run}: {heard:?}");
            assert!(heard[1].ends_with(&format!("PONG sotong.local :{round}")), "{run}: {heard:?}");
        }
        server.stop();
    }
}

#[test]
fn a_hundred_hear_everything_in_one_order() {
    const PEOPLE: usize = 100;
    for run in shared_runs() {
        let server = chat(&run, &["--no-flood-control"]);
        let mut people: Vec<_> = (0..PEOPLE)
            .map(|number| Client::enter(server.address(), &format!("사람{number}"), "echo-message"))
            .collect();
        for round in 0..2 {
            for (number, person) in people.iter_mut().enumerate() {
                person.say(&format!("PRIVMSG #lobby :{number} {round}번째 인사"));
            }
        }
        let talk = |person: &mut Client| -> Vec<String> {
            let mut talk = Vec::new();
            while talk.len() < 2 * PEOPLE {
                let line = person.hear();
                talk.extend(line.split_once(" PRIVMSG #lobby :").map(|(_, words)| words.to_owned()));
            }
            talk
        };
        let order = talk(&mut people[0]);
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 2 * PEOPLE, "{run}: no line twice");
        for person in &mut people[1..] {
            assert_eq!(talk(person), order, "{run}");
        }
        server.stop();
    }
}

#[test]
fn commands_are_slowed_down_and_none_is_lost() {
    for run in shared_runs() {
        let server = chat(&run, &[]);
        let mut client = Client::enter(server.address(), "eager", "server-time");
        let began = Instant::now();
        let count = 12;
        for number in 0..count {
            client.say(&format!("PING {number}"));
        }
        for number in 0..count {
            assert!(client.hear().ends_with(&format!("PONG sotong.local :{number}")), "{run}");
        }
        // Five at once, of which JOIN was one and may have been paid for; then two a second.
        assert!(began.elapsed() >= Duration::from_millis(500 * (count - 5) - 100), "{run}");
        server.stop();
    }
}

#[test]
fn a_member_that_reads_nothing_is_cut_and_harms_nobody() {
    // By what waits for him, and by what waits for all together.
    for flags in [["--output-hard", "128KiB"], ["--memory-max", "128KiB"]] {
        for run in shared_runs() {
            let server = chat(&run, &[&["--no-flood-control"], &flags[..]].concat());
            one_is_cut(&server, &format!("{run} {flags:?}"));
            server.stop();
        }
    }
}

fn one_is_cut(server: &Server, run: &str) {
    let mut alice = Client::enter(server.address(), "alice", "server-time");
    let mut bob = Client::enter(server.address(), "bob", "server-time");
    let slow = Client::enter(server.address(), "slow", "server-time");
    bob.hear_until("slow!~u@localhost JOIN");
    let words = "가".repeat(130);
    let (mut said, mut is_cut) = (0, false);
    while !is_cut {
        for line in said..said + 16 {
            alice.say(&format!("PRIVMSG #lobby :{line:6} {words}"));
        }
        for line in said..said + 16 {
            let heard = bob.hear_until(&format!("PRIVMSG #lobby :{line:6} 가"));
            is_cut |= heard.iter().any(|line| line.contains(":slow!~u@localhost QUIT :Send queue exceeded"));
        }
        said += 16;
        assert!(said < 200_000, "{run}: never cut");
    }
    drop(slow);
}

#[test]
fn the_end_of_the_server_is_told_to_everybody() {
    let folder = Folder::new();
    for (number, run) in shared_runs().iter().enumerate() {
        let path = folder.unix(&number.to_string());
        let server = chat(run, &[&path]);
        let client = Client::enter(server.address(), "client", "server-time");
        let mut person = Conn::dial(&path);
        person.send("사람\n");
        let newcomer = Client::dial(server.address());
        let mut probe = Client::enter(server.address(), "probe", "server-time");
        probe.say("NAMES #lobby");
        probe.hear_until("사람");
        server.signal(Signal::TERM);
        assert!(client.rest().ends_with("ERROR :Closing link: localhost (Server is leaving)\r\n"), "{run}");
        let heard = String::from_utf8(person.rest()).expect("UTF-8");
        assert!(heard.ends_with("* The server is leaving. Goodbye.\n"), "{run}: {heard}");
        drop(newcomer);
        drop(probe);
        assert_eq!(server.end().code(), Some(0), "{run}");
    }
}

#[test]
fn models_that_cannot_run_a_chat_refuse_before_they_listen() {
    for model in ["sequential", "processes"] {
        let done = process::run(["chat", "127.0.0.1:0", "--model", model], b"");
        assert_eq!(done.code(), Some(78), "{model}");
        assert!(done.stderr.contains("chat cannot run under") && !done.stderr.contains("listening"), "{}", done.stderr);
    }
}
