//! Many people talk at once: no line is lost, doubled or out of the one order.
use std::{collections::BTreeSet, thread};
use tests::{person::Person, runs::shared_runs, server::Server};

const PEOPLE: usize = 200;
const LINES_EACH: usize = 10;
/// Threads that speak at the same time, each for its part of the people.
const SPEAKERS: usize = 4;

#[test]
fn two_hundred_people_say_two_thousand_lines_in_one_order() {
    for run in shared_runs() {
        let server = Server::start(run.line("room", &["127.0.0.1:0"]));
        let mut watcher = Person::enter(server.address(), "watcher");
        let mut people: Vec<_> =
            (0..PEOPLE).map(|number| Person::enter(server.address(), &format!("사람{number}"))).collect();
        watcher.hear_until(&format!("* 사람{} has joined", PEOPLE - 1));
        thread::scope(|scope| {
            for part in people.chunks_mut(PEOPLE / SPEAKERS) {
                scope.spawn(|| {
                    for line in 0..LINES_EACH {
                        for person in &mut *part {
                            person.say(&format!("{line}번째 줄입니다"));
                        }
                    }
                });
            }
        });
        let order: Vec<_> = (0..PEOPLE * LINES_EACH).map(|_| watcher.hear()).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len(), "{run}: no line twice");
        for (number, person) in people.iter_mut().enumerate() {
            let own = format!("사람{number}: ");
            let theirs = order.iter().filter(|line| line.starts_with(&own));
            let expect = (0..LINES_EACH).map(|line| format!("{own}{line}번째 줄입니다"));
            assert!(theirs.cloned().eq(expect), "{run}: what one says stays in its order");
            let heard = std::iter::repeat_with(|| person.hear()).filter(|line| !line.starts_with("* "));
            for (line, heard) in order.iter().filter(|line| !line.starts_with(&own)).zip(heard) {
                assert_eq!(&heard, line, "{run}: {number}");
            }
        }
        server.stop();
    }
}
