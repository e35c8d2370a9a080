//! Two-way traffic between sessions whose directions are independent.
use crate::{Setup, Sim};
use sotong_session::{Address, Close, Cx, Event, Host, Pace, Service, Session, Stream, Wants, Way};
use std::{convert::Infallible, time::Duration};

/// Makes sessions that say so many bytes and hear as many from the other end, each direction on its own.
///
/// They take input whatever their output holds ([`Pace::Always`]). A driver that stops reading while an output is full,
/// as is right for services, lets both ends wait for each other for ever.
#[derive(Clone, Copy, Debug)]
pub struct Pipe {
    /// Bytes in each direction.
    pub bytes: usize,
}

/// One end.
#[derive(Debug)]
pub struct PipeEnd {
    bytes: usize,
    said: usize,
    heard: usize,
}

impl Service for Pipe {
    type Session = PipeEnd;
    fn open(&self, _: &Way) -> Result<PipeEnd, Close> {
        Ok(PipeEnd { bytes: self.bytes, said: 0, heard: 0 })
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}

/// The byte at this place of either direction.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

impl Stream for PipeEnd {}
impl Session for PipeEnd {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(_) | Event::Drained => {
                let end = self.bytes.min(self.said + cx.out.room());
                cx.out.put(&(self.said..end).map(byte).collect::<Vec<u8>>());
                self.said = end;
                if self.said == self.bytes {
                    cx.out.finish();
                }
            }
            Event::Input(mut input) => {
                if !input.bytes().iter().copied().eq((self.heard..).map(byte).take(input.bytes().len())) {
                    return Err(Close::Protocol("other bytes than were said".into()));
                }
                self.heard += input.bytes().len();
                input.take_all();
            }
            Event::End if self.heard < self.bytes => return Err(Close::Truncated),
            Event::Stop => return Err(Close::Stop),
            Event::End | Event::Again | Event::Mail(_) | Event::Deadline | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { input: Pace::Always, deadline: None }
    }
}

/// One connection between two such sessions, over buffers that are small against what they say.
pub fn pipes(mut setup: Setup, bytes: usize) -> (Sim<Pipe>, crate::Link) {
    setup.wires.send_buffer = setup.wires.send_buffer.min(300);
    setup.wires.receive_buffer = setup.wires.receive_buffer.min(300);
    let mut sim = Sim::new(setup, Pipe { bytes });
    let link = sim.connect_session(Duration::ZERO);
    (sim, link)
}
