//! Two ends joined by a session: half-closes, ends that come early, limits, a near end that is made late.
use rustix::pipe::pipe;
use sotong_drivers::bridge::{Bridge, Parcel, Passing};
use sotong_net::{
    pump::{End, FlowEnd, Limits, Rules, Sink, Source, Then},
    socket::Socket,
    wake::Waker,
};
use sotong_session::{Checked, Close, Cx, Event, Session, Stream, Wants};
use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

/// A bridge's far peer, and our hands on its near end: what it is given to say, and what it has heard.
fn ends() -> (End, Socket, UnixStream, File, File) {
    let (far, peer) = UnixStream::pair().unwrap();
    let (from_us, to_bridge) = pipe().unwrap();
    let (from_bridge, to_us) = pipe().unwrap();
    let near = End::new(Source::owned(from_us).unwrap(), Sink::owned(to_us).unwrap());
    (near, Socket::from_fd(far.into()).unwrap(), peer, to_bridge.into(), from_bridge.into())
}

fn bridge(near: End, far: Socket) -> Bridge<'static> {
    let way = far.way().unwrap();
    Bridge::new(near, far, way)
}

fn checked(passing: Passing) -> Result<Checked<Passing>, Close> {
    Ok(Checked::new(passing))
}

#[test]
fn each_direction_ends_on_its_own() {
    let (near, far, mut peer, mut to, mut from) = ends();
    let crossing = thread::spawn(move || bridge(near, far).run(checked, None).unwrap());
    to.write_all(b"question").unwrap();
    drop(to);
    let mut question = String::new();
    peer.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    peer.write_all(b"answer").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    from.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    let crossed = crossing.join().unwrap();
    assert_eq!((crossed.forth.bytes, crossed.forth.end), (8, FlowEnd::EndOfInput));
    assert_eq!((crossed.back.bytes, crossed.back.end), (6, FlowEnd::EndOfInput));
    assert_eq!(crossed.close, None);
}

#[test]
fn much_both_ways_at_once_waits_for_nobody() {
    let (near, far, mut peer, mut to, mut from) = ends();
    let crossing = thread::spawn(move || bridge(near, far).run(checked, None).unwrap());
    let bytes: Vec<u8> = (0..32 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    thread::scope(|scope| {
        let mut out = peer.try_clone().unwrap();
        let bytes = &bytes;
        scope.spawn(move || to.write_all(bytes).unwrap());
        scope.spawn(move || {
            out.write_all(bytes).unwrap();
            out.shutdown(Shutdown::Write).unwrap();
        });
        for end in [&mut from as &mut (dyn Read + Send), &mut peer] {
            scope.spawn(move || {
                let mut got = Vec::new();
                end.read_to_end(&mut got).unwrap();
                assert!(got == *bytes);
            });
        }
    });
    let crossed = crossing.join().unwrap();
    assert_eq!((crossed.forth.bytes, crossed.back.bytes), (32 << 20, 32 << 20));
}

/// A layer that takes any bare end for a truncation, as TLS does.
struct Strict(Passing);
impl Session for Strict {
    type Mail = Parcel;
    fn handle(&mut self, event: Event<'_, Parcel>, cx: &mut Cx<'_, Parcel>) -> Result<(), Close> {
        match event {
            Event::End => Err(Close::Truncated),
            other => self.0.handle(other, cx),
        }
    }
    fn wants(&self) -> Wants {
        self.0.wants()
    }
}
impl Stream for Strict {}

#[test]
fn what_was_heard_before_a_layer_gave_up_is_written() {
    let (near, far, mut peer, _to, mut from) = ends();
    let crossing = thread::spawn(move || bridge(near, far).run(|passing| Ok(Strict(passing)), None).unwrap());
    peer.write_all(b"half a sent").unwrap();
    drop(peer);
    let mut heard = String::new();
    from.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "half a sent");
    let crossed = crossing.join().unwrap();
    assert_eq!((crossed.close, crossed.back.end), (Some(Close::Truncated), FlowEnd::Layer("truncated")));
}

#[test]
fn a_near_end_is_not_made_for_a_way_that_never_opens() {
    let (_near, far, _peer, _to, _from) = ends();
    let way = far.way().unwrap();
    let near = |_: Option<&_>| unreachable!("the layer has refused");
    let refusing = |_: Passing| Err::<Passing, _>(Close::Protocol("no".into()));
    let crossed = Bridge::when_open(near, far, way).run(refusing, None).unwrap();
    assert_eq!(crossed.close, Some(Close::Protocol("no".into())));
}

#[test]
fn a_near_end_that_cannot_be_made_ends_it() {
    let (_near, far, mut peer, _to, _from) = ends();
    let way = far.way().unwrap();
    let near = |_: Option<&_>| Err(ErrorKind::NotFound.into());
    let crossed = Bridge::when_open(near, far, way).run(checked, None).unwrap();
    assert!(matches!(crossed.back.end, FlowEnd::Failed(fault) if fault.kind == ErrorKind::NotFound));
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn limits_rules_and_stops() {
    let (near, far, _peer, _to, _from) = ends();
    let limits = Limits { idle: Some(Duration::from_millis(50)), ..Limits::default() };
    let idle = bridge(near, far).limits(limits).run(checked, None).unwrap();
    assert_eq!((idle.forth.end, idle.back.end, idle.close), (FlowEnd::Idle, FlowEnd::Idle, None));

    let (near, far, peer, _to, _from) = ends();
    let rules = Rules { after_b_ended: Then::Finish, after_back_broke: Then::Finish };
    peer.shutdown(Shutdown::Write).unwrap();
    let ended = bridge(near, far).rules(rules).run(checked, None).unwrap();
    assert_eq!((ended.forth.end, ended.back.end), (FlowEnd::Released, FlowEnd::EndOfInput));

    let (near, far, peer, _to, from) = ends();
    drop(from);
    let broken = bridge(near, far).rules(rules).run(checked, None).unwrap();
    assert_eq!((broken.forth.end, broken.back.end), (FlowEnd::Released, FlowEnd::BrokenPipe));
    drop(peer);

    let (near, far, mut peer, mut to, _from) = ends();
    to.write_all(b"said").unwrap();
    let stop = Waker::new().unwrap();
    thread::scope(|scope| {
        let crossing = scope.spawn(|| {
            let way = far.way().unwrap();
            Bridge::new(near, far, way).run(checked, Some(stop.as_fd())).unwrap()
        });
        let mut said = [0; 4];
        peer.read_exact(&mut said).unwrap();
        stop.wake();
        assert_eq!(peer.read(&mut said).unwrap(), 0);
        drop(peer);
        let stopped = crossing.join().unwrap();
        assert_eq!((stopped.forth.end, stopped.back.end), (FlowEnd::Stopped, FlowEnd::Stopped));
    });
}
