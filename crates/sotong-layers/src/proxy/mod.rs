//! Who is behind a proxy, told by its header before everything else (the PROXY protocol, versions 1 and 2).
mod header;

pub use header::{NotProxied, PROXY_BYTES_MAX, ProxyHeader, is_proxy_line, read_proxy_header};

use crate::{First, Successor};
use sotong_session::{Close, Cx, Event, Input, Moment, Session, Stream, Wants, Way};
use std::time::Duration;

/// Makes the session for whoever is behind a proxy, once that is known.
pub trait Onward {
    /// The mail of all its sessions.
    type Mail: Clone + Send + Sync + 'static;
    /// The session for a peer, whose [`Way::through`] says who it is if the proxy knows.
    ///
    /// # Errors
    /// `Err` ends the connection.
    fn onward(&mut self, way: &Way) -> Result<Box<dyn Stream<Mail = Self::Mail>>, Close>;
}

/// Reads a PROXY header and hands the connection on, in a [`Handover`](crate::Handover). Whether the peer may send one is for
/// who makes this to know.
///
/// What is no header ends as [`Close::Protocol`]; one that is not whole in time as [`Close::Limit`]`("proxy_time_max")`.
pub struct Proxied<O: Onward> {
    onward: O,
    time_max: Duration,
    until: Option<Moment>,
    way: Option<Way>,
    next: Option<Successor<O::Mail>>,
}

/// How long a proxy may take to say its header: 2 s. It says it first, and has it at hand.
pub const PROXY_TIME_MAX: Duration = Duration::from_secs(2);

impl<O: Onward> Proxied<O> {
    /// Hands on to what `onward` makes.
    pub fn new(onward: O, time_max: Duration) -> Self {
        Self { onward, time_max, until: None, way: None, next: None }
    }
    fn look(&mut self, input: &mut Input<'_>) -> Result<(), Close> {
        let header = match read_proxy_header(input.bytes()) {
            Ok(Some(header)) => header,
            // It stays where it is until it is whole: it is short.
            Ok(None) => return Ok(()),
            Err(why) => return Err(Close::Protocol(why.to_string().into())),
        };
        input.take(header.len);
        let Some(mut way) = self.way.take() else { return Ok(()) };
        way.through.clone_from(&header.source);
        let session = self.onward.onward(&way)?;
        self.next = Some(Successor { session, early: Vec::new(), through: header.source });
        self.until = None;
        Ok(())
    }
}

impl<O: Onward> Session for Proxied<O> {
    type Mail = O::Mail;
    fn handle(&mut self, event: Event<'_, O::Mail>, cx: &mut Cx<'_, O::Mail>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                self.way = Some(way.clone());
                self.until = Some(cx.now + self.time_max);
            }
            Event::Input(mut input) => return self.look(&mut input),
            Event::End => return Err(Close::Truncated),
            Event::Deadline if self.until.is_some_and(|until| until <= cx.now) => {
                return Err(Close::Limit("proxy_time_max"));
            }
            Event::Stop => return Err(Close::Stop),
            // Nobody knows this session yet, and it says nothing.
            Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT.by(self.until)
    }
}
impl<O: Onward> Stream for Proxied<O> {}
impl<O: Onward> First for Proxied<O> {
    fn successor(&mut self) -> Option<Successor<O::Mail>> {
        self.next.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Handover,
        testing::{Probe, Shared, cuts, feed_cut},
    };
    use proptest::prelude::*;
    use sotong_session::{End, Wire, rig::Rig};
    use std::sync::{Arc, Mutex};

    /// Remembers who came, and hands on to a probe.
    #[derive(Clone)]
    struct Seen(Arc<Mutex<Vec<Option<End>>>>, Shared);
    impl Onward for Seen {
        type Mail = u32;
        fn onward(&mut self, way: &Way) -> Result<Box<dyn Stream<Mail = u32>>, Close> {
            self.0.lock().expect("no panic").push(way.through.clone());
            Ok(Box::new(self.1.clone()))
        }
    }
    fn rig() -> (Seen, Rig<Handover<Proxied<Seen>>>) {
        let seen = Seen(Arc::default(), Shared::new(Probe::echo()));
        let mut rig = Rig::stream(Handover::new(Proxied::new(seen.clone(), PROXY_TIME_MAX)));
        rig.open_as(&Way::new(End::Simulated(1), End::Simulated(2), Wire::Stream));
        (seen, rig)
    }
    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 5 6\r\n";

    #[test]
    fn no_header_in_time_or_none_at_all() {
        let (_, mut silent) = rig();
        silent.input(b"PROXY ");
        silent.advance(Duration::from_millis(1999));
        assert_eq!(silent.close(), None);
        silent.advance(Duration::from_millis(1));
        assert_eq!(silent.close(), Some(&Close::Limit("proxy_time_max")));
        let (seen, mut client) = rig();
        client.input(b"NICK x\r\n");
        assert_eq!(client.close(), Some(&Close::Protocol("no PROXY header".into())));
        assert_eq!((client.sent(), seen.0.lock().expect("no panic").len()), (Vec::new(), 0));
        let (_, mut gone) = rig();
        gone.input(b"PRO");
        gone.end();
        assert_eq!(gone.close(), Some(&Close::Truncated));
    }

    proptest! {
        #[test]
        fn whatever_follows_is_the_clients(cut in cuts(60)) {
            let (seen, mut rig) = rig();
            feed_cut(&mut rig, &[LINE, b"NICK x\r\n"].concat(), &cut);
            rig.advance(Duration::from_secs(60));
            prop_assert_eq!(rig.sent(), b"NICK x\r\n");
            prop_assert_eq!(rig.close(), None);
            let end = End::Net("192.0.2.7:5".parse().expect("an address"));
            prop_assert_eq!(&*seen.0.lock().expect("no panic"), &[Some(end)]);
        }
    }
}
