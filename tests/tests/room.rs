//! The room of lines on real sockets: what people see of each other, under every model in which a room can be.
use rustix::process::Signal;
use std::collections::BTreeSet;
use tests::{
    conn::{Conn, Folder, datagram, udp},
    person::Person,
    runs::{Run, shared_runs},
    server::Server,
    tool::tool,
};

const QUESTION: &str = "What is your name?";

fn room(run: &Run, more: &[&str]) -> Server {
    Server::start(run.line("room", &[&["127.0.0.1:0"], more].concat()))
}

#[test]
fn a_conversation_with_nc() {
    let Some(nc) = tool("nc") else { return };
    for run in shared_runs() {
        let server = room(&run, &[]);
        let enter = |name: &str| {
            let mut person = nc.start(["127.0.0.1", server.port()]);
            person.wait_for(&format!("{QUESTION}\n"));
            person.say(format!("{name}\n").as_bytes());
            person.wait_for(&format!("* Welcome, {name}. /help lists the commands.\n"));
            person
        };
        let mut minsu = enter("민수");
        minsu.wait_for("* Nobody else is here yet.\n");
        let mut younghee = enter("영희");
        younghee.wait_for("* Here: 민수\n");
        minsu.wait_for("* 영희 has joined\n");
        let mut cheolsu = enter("철수");
        cheolsu.wait_for("* Here: 민수, 영희\n");
        younghee.wait_for("* 철수 has joined\n");

        minsu.say("안녕하세요!\n".as_bytes());
        for other in [&younghee, &cheolsu] {
            other.wait_for("민수: 안녕하세요!\n");
        }
        younghee.say("ㅋㅋ 반가워요 😀\n".as_bytes());
        for other in [&minsu, &cheolsu] {
            other.wait_for("영희: ㅋㅋ 반가워요 😀\n");
        }
        cheolsu.say(b"/nick Bob\n");
        cheolsu.wait_for("* You are called Bob from now on.\n");
        minsu.wait_for("* 철수 is called Bob from now on\n");
        drop(cheolsu);
        minsu.wait_for("* Bob has left\n");
        younghee.say(b"/quit\n");
        younghee.wait_for("* Goodbye.\n");
        minsu.wait_for("* 영희 has left\n");
        let heard = String::from_utf8(minsu.printed()).expect("UTF-8");
        assert!(!heard.contains("민수: "), "{run}: nobody gets back what they said: {heard}");
        server.stop();
    }
}

#[test]
fn a_name_belongs_to_one_person_at_a_time() {
    for run in shared_runs() {
        let server = room(&run, &["--name-tries-max", "3"]);
        let mut bob = Person::enter(server.address(), "Bob");
        let mut other = Person::knock(server.address());
        other.say("bOB");
        assert_eq!(other.hear(), "* That name is taken.", "{run}");
        assert_eq!(other.hear(), QUESTION);
        other.say("two words");
        assert_eq!(other.hear(), "* A name has no blanks in it.");
        assert_eq!(other.hear(), QUESTION);
        other.say("BOB");
        assert_eq!(other.rest(), ["* That name is taken. Too many tries. Goodbye."]);

        bob.say("/nick 밥");
        assert_eq!(bob.hear(), "* You are called 밥 from now on.");
        // The name is free from the moment that this has been told.
        let mut second = Person::enter(server.address(), "Bob");
        assert_eq!(bob.hear(), "* Bob has joined");
        second.say("/nick 밥");
        assert_eq!(second.hear(), "* That name is taken.");
        second.conn().end();
        assert_eq!(bob.hear(), "* Bob has left", "{run}: what was refused has changed nothing");
        server.stop();
    }
}

#[test]
fn a_hundred_newcomers_want_one_name_and_one_gets_it() {
    for run in shared_runs() {
        let server = room(&run, &[]);
        let mut people: Vec<_> = (0..100).map(|_| Person::knock(server.address())).collect();
        for person in &mut people {
            person.say("하나");
        }
        let answers: Vec<_> = people.iter_mut().map(Person::hear).collect();
        let welcomes = answers.iter().filter(|line| line.starts_with("* Welcome, 하나.")).count();
        let refusals = answers.iter().filter(|line| *line == "* That name is taken.").count();
        assert_eq!((welcomes, refusals), (1, 99), "{run}");
        server.stop();
    }
}

#[test]
fn hangul_is_whole_wherever_a_write_is_cut() {
    let (name, words) = ("민수", "한글은 온전히, 😀도");
    let script = format!("{name}\n{words}\n");
    for run in shared_runs() {
        let server = room(&run, &[]);
        let mut watcher = Person::enter(server.address(), "watcher");
        for cut in 1..script.len() {
            let mut person = Person::knock(server.address());
            let (one, two) = script.as_bytes().split_at(cut);
            person.conn().send(one);
            // A round trip of somebody else: by its end the first part has most likely been read.
            watcher.say("/who");
            while !watcher.hear().starts_with("* Here: ") {}
            person.conn().send(two);
            watcher.hear_until(&format!("{name}: {words}"));
            person.say("/quit");
            watcher.hear_until(&format!("* {name} has left"));
        }
        let mut slow = Person::knock(server.address());
        for byte in script.as_bytes() {
            slow.conn().send([*byte]);
        }
        watcher.hear_until(&format!("{name}: {words}"));
        server.stop();
    }
}

#[test]
fn what_would_harm_a_terminal_is_not_relayed() {
    for run in shared_runs() {
        let server = room(&run, &[]);
        let mut watcher = Person::enter(server.address(), "watcher");
        let mut person = Person::enter(server.address(), "someone");
        watcher.hear();
        person.conn().send(b"\xff\xfe not UTF-8\n");
        assert_eq!(person.hear(), "* That line was not sent: it is not UTF-8.", "{run}");
        person.say("\u{1b}[31mred\u{7}\u{0} and\ttab");
        assert_eq!(watcher.hear(), "someone: [31mred and\ttab");
        person.say("* watcher has left");
        assert_eq!(watcher.hear(), "someone: * watcher has left", "nobody speaks as the server");
        server.stop();
    }
}

#[test]
fn a_member_that_reads_nothing_is_cut_and_harms_nobody() {
    let folder = Folder::new();
    for (number, run) in shared_runs().iter().enumerate() {
        let path = folder.unix(&number.to_string());
        let mut server = room(run, &[&path, "--output-hard", "128KiB", "-v"]);
        let mut alice = Person::enter(server.address(), "Alice");
        let mut bob = Person::enter(server.address(), "Bob");
        let slow = Person::enter(&path, "slow");
        bob.hear_until("* slow has joined");
        let mut said = 0;
        loop {
            for line in said..said + 16 {
                alice.say(&format!("{line:6} {}", "가".repeat(1000)));
            }
            let mut is_cut = false;
            for line in said..said + 16 {
                let mut heard = bob.hear();
                if heard == "* slow has left" {
                    is_cut = true;
                    heard = bob.hear();
                }
                assert!(heard.starts_with(&format!("Alice: {line:6} 가")), "{run}: {heard:.40}");
            }
            said += 16;
            if is_cut {
                break;
            }
            assert!(said < 100_000, "{run}: never cut");
        }
        server.line(&["closed", "reason=slow"]);
        alice.say("still here");
        bob.hear_until("Alice: still here");
        // Truncation is the truth: no farewell follows what it did not read.
        drop(slow);
        server.stop();
    }
}

#[test]
fn a_hundred_members_hear_everything_in_one_order() {
    const PEOPLE: usize = 100;
    for run in shared_runs() {
        let server = room(&run, &[]);
        let mut watcher = Person::enter(server.address(), "watcher");
        let mut people: Vec<_> =
            (0..PEOPLE).map(|number| Person::enter(server.address(), &format!("사람{number}"))).collect();
        for number in 0..PEOPLE {
            assert_eq!(watcher.hear(), format!("* 사람{number} has joined"), "{run}");
        }
        for round in 0..2 {
            for person in &mut people {
                person.say(&format!("{round}번째 인사"));
            }
        }
        let order: Vec<_> = (0..2 * PEOPLE).map(|_| watcher.hear()).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 2 * PEOPLE, "{run}: no line twice");
        for (number, person) in people.iter_mut().enumerate() {
            let own = format!("사람{number}: ");
            for _ in number + 1..PEOPLE {
                assert!(person.hear().ends_with(" has joined"), "{run}");
            }
            let expect: Vec<_> = order.iter().filter(|line| !line.starts_with(&own)).cloned().collect();
            let heard: Vec<_> = expect.iter().map(|_| person.hear()).collect();
            assert_eq!(heard, expect, "{run}: {number}");
        }
        server.stop();
    }
}

#[test]
fn a_member_over_udp_is_one_like_the_others() {
    for run in shared_runs() {
        let server = room(&run, &["udp://127.0.0.1:0"]);
        let mut nc = Person::enter(server.address(), "nc");
        let member = udp(&server.addresses()[1]);
        let hear = || String::from_utf8(datagram(&member)).expect("UTF-8");
        member.send("유디피\n".as_bytes()).expect("sent");
        assert_eq!(hear(), "* Welcome, 유디피. /help lists the commands.\n", "{run}");
        assert_eq!(hear(), "* Here: nc\n");
        assert_eq!(nc.hear(), "* 유디피 has joined");
        member.send("안녕!\n둘째 줄".as_bytes()).expect("sent");
        assert_eq!([nc.hear(), nc.hear()], ["유디피: 안녕!", "유디피: 둘째 줄"], "{run}");
        nc.say("반가워요");
        assert_eq!(hear(), "nc: 반가워요\n");
        let second = udp(&server.addresses()[1]);
        second.send("NC".as_bytes()).expect("sent");
        assert_eq!(datagram(&second), b"* That name is taken.\n");
        assert_eq!(datagram(&second), format!("{QUESTION}\n").as_bytes());
        member.send(b"/quit").expect("sent");
        assert_eq!(hear(), "* Goodbye.\n");
        assert_eq!(nc.hear(), "* 유디피 has left");
        server.stop();
    }
}

#[test]
fn the_end_of_the_server_is_told_to_everybody() {
    let folder = Folder::new();
    for (number, run) in shared_runs().iter().enumerate() {
        let path = folder.unix(&number.to_string());
        let server = room(run, &[&path, "udp://127.0.0.1:0"]);
        let first = Person::enter(server.address(), "first");
        let second = Person::enter(&path, "second");
        let newcomer = Person::knock(server.address());
        let member = udp(&server.addresses()[2]);
        member.send("셋째".as_bytes()).expect("sent");
        assert!(datagram(&member).starts_with(b"* Welcome"), "{run}");
        server.signal(Signal::TERM);
        let farewell = "* The server is leaving. Goodbye.";
        for person in [first, second, newcomer] {
            let heard = person.rest();
            assert_eq!(heard.last().map(String::as_str), Some(farewell), "{run}: {heard:?}");
        }
        while datagram(&member) != format!("{farewell}\n").as_bytes() {}
        assert_eq!(server.end().code(), Some(0), "{run}");
    }
}

#[test]
fn a_member_that_vanishes_is_told_and_its_name_is_free() {
    for run in shared_runs() {
        let server = room(&run, &[]);
        let mut watcher = Person::enter(server.address(), "watcher");
        for _ in 0..20 {
            let mut conn = Conn::dial(server.address());
            conn.get(QUESTION.len() + 1);
            conn.send("잠깐\n");
            assert_eq!(watcher.hear(), "* 잠깐 has joined", "{run}");
            conn.reset();
            assert_eq!(watcher.hear(), "* 잠깐 has left", "{run}");
        }
        server.stop();
    }
}

#[test]
fn limits_of_the_room_are_told() {
    for run in shared_runs() {
        let server = room(&run, &["--members-max", "2", "--line-bytes-max", "20", "--name-time", "1.5"]);
        let late = Person::knock(server.address());
        let mut heard = late.rest();
        assert_eq!(heard.pop().as_deref(), Some("* No name within 1.5 s. Goodbye."), "{run}");
        let mut one = Person::enter(server.address(), "one");
        let _two = Person::enter(server.address(), "two");
        assert_eq!(one.hear(), "* two has joined");
        let full = "* The room is full: 2 people are here. Please come again later.\n";
        assert_eq!(String::from_utf8(server.dial().rest()).as_deref(), Ok(full), "{run}");
        one.say("twenty bytes of text");
        one.say("twenty-one bytes long");
        assert_eq!(one.rest(), ["* That line is too long. Goodbye."], "{run}");
        server.stop();
    }
}
