//! A line to a room of a thousand: what it costs, counted under every model that can hold one.
use sotong_drivers::{Model, Options, serve};
use sotong_net::{
    descriptors,
    listen::{ListenOptions, listen},
    signals::Stop,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Event, Host, Records, Service, Session, Stream, Topic, Wants, Way,
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

const MEMBERS: usize = 1_000;
const HANG: Duration = Duration::from_secs(60);
const EVERYBODY: Topic = Topic(1);

/// Everybody is in one room, and hears each line of the others.
#[derive(Clone)]
struct Room;
struct Member;

impl Service for Room {
    type Session = Member;
    fn open(&self, _: &Way) -> Result<Member, Close> {
        Ok(Member)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Arc<[u8]>>) {}
}

impl Session for Member {
    type Mail = Arc<[u8]>;
    fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                cx.host.join(EVERYBODY, cx.me);
                cx.out.put(b"in\n");
            }
            Event::Input(mut input) => {
                while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
                    cx.host.publish(EVERYBODY, Some(cx.me), input.bytes()[..=end].into());
                    input.take(end + 1);
                }
            }
            Event::Mail(line) => cx.out.put(line),
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Member {}
impl Records for Member {}

/// `lines` are said in one packet to everybody else. What the server counted: entries, sends, and mail.
fn told(model: Model, workers: usize, lines: &[&str]) -> (u64, u64, u64) {
    descriptors::raise_limit();
    let bound = listen(&["127.0.0.1:0".parse().unwrap()], &ListenOptions::default()).unwrap();
    let at = bound[0].endpoint().to_string();
    let stop = Stop::new().unwrap();
    let server = {
        let stop = stop.clone();
        let options = Options { workers, ..Options::default() };
        std::thread::spawn(move || serve(model, CheckedService(Room), bound, &options, &stop).unwrap())
    };
    let mut members: Vec<_> = (0..MEMBERS)
        .map(|_| {
            let mut member = TcpStream::connect(at.trim_start_matches("tcp://")).unwrap();
            member.set_read_timeout(Some(HANG)).unwrap();
            let mut greeting = [0; 3];
            member.read_exact(&mut greeting).unwrap();
            member
        })
        .collect();
    let text = lines.concat();
    members[0].write_all(text.as_bytes()).unwrap();
    for member in &mut members[1..] {
        let mut heard = vec![0; text.len()];
        member.read_exact(&mut heard).unwrap();
        assert_eq!(heard, text.as_bytes(), "{model}");
    }
    drop(members);
    stop.drain();
    let counters = server.join().unwrap().counters;
    (counters.entries_pushed, counters.sends, counters.mail_delivered)
}

#[test]
fn a_line_to_a_thousand_is_one_entry_a_shard_and_one_send_a_member() {
    for model in Model::ALL.into_iter().filter(|model| model.has_mail()) {
        for workers in [1, 2] {
            // Under threads each connection is a shard.
            let shards = if model == Model::Threads { MEMBERS } else { workers };
            let others = MEMBERS as u64 - 1;
            // Beside the greeting of each.
            let expected = (shards as u64, MEMBERS as u64 + others, others);
            assert_eq!(told(model, workers, &["점심 먹었어요?\n"]), expected, "{model} with {workers}");
        }
    }
}

#[test]
fn lines_of_one_turn_leave_in_one_send() {
    for model in Model::ALL.into_iter().filter(|model| model.has_mail() && *model != Model::Threads) {
        let lines = ["one\n", "둘\n", "three\n", "넷\n", "five\n"];
        let (entries, sends, mail) = told(model, 1, &lines);
        let others = MEMBERS as u64 - 1;
        assert_eq!((entries, mail), (5, 5 * others), "{model}");
        assert_eq!(sends, MEMBERS as u64 + others, "{model}: however many lines it got");
    }
}
