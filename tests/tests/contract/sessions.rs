//! Sessions that break a rule under a driver that keeps them all.
use crate::hand::{Does, caught};
use sotong_session::{Close, Cx, Event, Marks, Records, Rule, Session, Stream, Wants, rig::Rig};

/// An echo that may be greedy, or late with its last words.
struct Echo {
    does: Does,
    half: Half,
}
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    LeavesPartOfARecord,
    TakesAll,
    SpeaksInGone,
}

impl Session for Echo {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        let breaks = |half| self.half == half && self.does.it_break();
        match event {
            Event::Input(mut input) => {
                let whole = input.bytes().len();
                let count = match self.half {
                    Half::LeavesPartOfARecord => whole - usize::from(breaks(Half::LeavesPartOfARecord)),
                    Half::TakesAll if breaks(Half::TakesAll) => whole,
                    Half::TakesAll | Half::SpeaksInGone => whole.min(cx.out.room()),
                };
                cx.out.put(&input.bytes()[..count]);
                cx.out.cut();
                input.take(count);
            }
            Event::Stop => {
                if !breaks(Half::SpeaksInGone) {
                    cx.out.put(b"farewell");
                }
                return Err(Close::Stop);
            }
            Event::Gone(_) if breaks(Half::SpeaksInGone) => cx.out.put(b"farewell"),
            Event::Open(_)
            | Event::Again
            | Event::End
            | Event::Mail(_)
            | Event::Deadline
            | Event::Drained
            | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Echo {}
impl Records for Echo {}

pub(crate) fn part_of_a_record(does: Does) -> Option<Rule> {
    caught(|| {
        let mut rig = Rig::records(Echo { does, half: Half::LeavesPartOfARecord });
        rig.open();
        rig.input(b"record");
    })
}
pub(crate) fn takes_though_full(does: Does) -> Option<Rule> {
    caught(|| {
        let mut rig = Rig::stream(Echo { does, half: Half::TakesAll }).with_marks(Marks { low: 2, high: 8, hard: 64 });
        rig.open();
        rig.input(&[b'x'; 100]);
        let mut came_back = rig.sent().len();
        while came_back < 100 {
            let more = rig.sent().len();
            assert!(more > 0, "what was not taken is shown again");
            came_back += more;
        }
    })
}
pub(crate) fn farewell_in_gone(does: Does) -> Option<Rule> {
    caught(|| {
        let mut rig = Rig::stream(Echo { does, half: Half::SpeaksInGone });
        rig.open();
        rig.stop();
        rig.gone(Close::Stop);
        assert_eq!(rig.sent(), b"farewell");
    })
}
