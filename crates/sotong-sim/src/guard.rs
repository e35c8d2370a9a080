//! What stands between a shard and a session: the watcher's eyes, planned panics, and the hands that break rules on purpose.
use crate::{
    Sabotage,
    watch::{PLANNED, Shared, lock},
};
use sotong_session::{
    Address, Checked, Close, Cx, Desk, End, Event, Host, Input, Moment, Output, Pace, Service, Session, Topic, Wants,
    Way, Wire,
};
use sotong_shard::{Exchange, Mail};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

/// Mail with a number, so that the watcher knows one piece from another.
#[derive(Clone, Debug)]
pub(crate) struct Tagged<M> {
    pub(crate) number: u64,
    pub(crate) mail: M,
}

/// A service under observation.
pub(crate) struct Guarded<S: Service> {
    pub(crate) service: S,
    pub(crate) watch: Shared,
    pub(crate) exchange: Arc<Exchange<Tagged<Mail<S>>>>,
    pub(crate) shards: u16,
    pub(crate) sabotage: Option<Sabotage>,
}

impl<S: Service> Clone for Guarded<S> {
    fn clone(&self) -> Self {
        let Self { service, watch, exchange, shards, sabotage } = self;
        Self {
            service: service.clone(),
            watch: Arc::clone(watch),
            exchange: Arc::clone(exchange),
            shards: *shards,
            sabotage: *sabotage,
        }
    }
}

/// Which end of which wire this is: `2 * wire + side`. A datagram's peer has none.
pub(crate) fn end_of(way: &Way) -> Option<usize> {
    match (&way.local, &way.remote, way.wire) {
        (End::Simulated(0), End::Simulated(number), Wire::Stream) => Some(2 * (*number as usize - 1)),
        (End::Simulated(number), End::Simulated(0), Wire::Stream) => Some(2 * (*number as usize - 1) + 1),
        _ => None,
    }
}

impl<S: Service> Service for Guarded<S> {
    type Session = Guard<S>;
    const TALKS: bool = S::TALKS;
    fn open(&self, way: &Way) -> Result<Guard<S>, Close> {
        let inner = self.service.open(way)?;
        Ok(Guard {
            inner: Some(Checked::new(Faulty { inner, watch: Arc::clone(&self.watch) })),
            around: self.clone(),
            late: Vec::new(),
            kept: VecDeque::new(),
            due: None,
            touched: 0,
            is_full: false,
        })
    }
    fn lost(&self, who: Address, host: &mut dyn Host<Tagged<Mail<S>>>) {
        if self.sabotage == Some(Sabotage::ForgetLost) {
            return;
        }
        lock(&self.watch).lost(who);
        let mut late = Vec::new();
        self.service.lost(who, &mut self.tap(who, host, &mut late));
        self.push_late(who, host, late);
    }
}

/// What a broken driver does later than it should.
enum Late<M> {
    Post(u64, Address, M),
    Publish(u64, Topic, Option<Address>, M),
}

impl<S: Service> Guarded<S> {
    fn tap<'a>(
        &'a self,
        me: Address,
        real: &'a mut dyn Host<Tagged<Mail<S>>>,
        late: &'a mut Vec<Late<Mail<S>>>,
    ) -> Tap<'a, S> {
        Tap { around: self, me, real, late }
    }
    fn push_late(&self, me: Address, real: &mut dyn Host<Tagged<Mail<S>>>, late: Vec<Late<Mail<S>>>) {
        for what in late {
            match what {
                Late::Post(number, to, mail) => {
                    self.push(me, number, |number| real.post(to, Tagged { number, mail }));
                }
                Late::Publish(number, topic, except, mail) => {
                    self.push(me, number, |number| real.publish(topic, except, Tagged { number, mail }));
                }
            }
        }
    }
    /// Pushes mail for good, and tells the watcher which inboxes have grown by it.
    fn push(&self, me: Address, number: u64, push: impl FnOnce(u64)) {
        let waiting = || (0..self.shards).map(|shard| (shard, self.exchange.waiting(shard)));
        let before: Vec<(u16, usize)> = waiting().collect();
        push(number);
        let grown: Vec<(u16, usize)> =
            waiting().zip(before).filter(|(now, was)| now > was).map(|(now, _)| now).collect();
        lock(&self.watch).pushed(number, me, &grown);
    }
}

/// One session under observation.
pub(crate) struct Guard<S: Service> {
    /// `None` for a session that panicked and is kept by a broken driver.
    inner: Option<Checked<Faulty<S::Session>>>,
    around: Guarded<S>,
    /// Mail a broken driver has not sent yet.
    late: Vec<Late<Mail<S>>>,
    /// Mail a broken driver has not delivered yet.
    kept: VecDeque<Tagged<Mail<S>>>,
    /// When what is late or kept is let go.
    due: Option<Moment>,
    /// Mail that came, counted.
    touched: u64,
    /// Whether the output was full after the last event.
    is_full: bool,
}

impl<S: Service> Guard<S> {
    fn is(&self, sabotage: Sabotage) -> bool {
        self.around.sabotage == Some(sabotage)
    }
    /// Hands an event to the session.
    fn pass(&mut self, event: Event<'_, Mail<S>>, cx: &mut Cx<'_, Tagged<Mail<S>>>) -> Result<(), Close> {
        let Some(inner) = &mut self.inner else { return Ok(()) };
        let before = cx.out.len();
        let mut late = Vec::new();
        let keeps_zombie = self.around.sabotage == Some(Sabotage::KeepTopicsAfterPanic);
        let result = {
            let mut tap = self.around.tap(cx.me, cx.host, &mut late);
            let mut cx = Cx { now: cx.now, wall: cx.wall, me: cx.me, out: cx.out, host: &mut tap };
            if keeps_zombie {
                match catch_unwind(AssertUnwindSafe(|| inner.handle(event, &mut cx))) {
                    Ok(result) => Some(result),
                    Err(panic) if panic.downcast_ref::<String>().is_some_and(|what| what == PLANNED) => None,
                    Err(panic) => resume_unwind(panic),
                }
            } else {
                Some(inner.handle(event, &mut cx))
            }
        };
        if !late.is_empty() {
            self.late.append(&mut late);
            self.due = Some(cx.now);
        }
        let mut watch = lock(&self.around.watch);
        if let (Some(Ok(())), Some(inner)) = (&result, &self.inner) {
            watch.wants(cx.me, inner.wants());
        }
        self.is_full = cx.out.is_full();
        watch.queued(cx.me, cx.out.len());
        watch.said(cx.me, &tail(cx.out, cx.out.len() - before.min(cx.out.len())));
        drop(watch);
        result.unwrap_or_else(|| {
            self.inner = None;
            self.around.lost(cx.me, cx.host);
            Ok(())
        })
    }
    fn pass_input(&mut self, mut input: Input<'_>, cx: &mut Cx<'_, Tagged<Mail<S>>>) -> Result<(), Close> {
        let exchange = Arc::clone(&self.around.exchange);
        let shown = input.bytes().len();
        {
            let mut watch = lock(&self.around.watch);
            watch.note(cx.me, "Input", input.bytes(), "");
            watch.input(cx.me, input.bytes(), |shard| exchange.waiting(shard));
        }
        let result = self.pass(Event::Input(input.reborrow()), cx);
        lock(&self.around.watch).took(cx.me, shown - input.bytes().len());
        result
    }
    fn pass_mail(&mut self, tagged: &Tagged<Mail<S>>, cx: &mut Cx<'_, Tagged<Mail<S>>>) -> Result<(), Close> {
        {
            let mut watch = lock(&self.around.watch);
            watch.release(|shard| self.around.exchange.waiting(shard));
            watch.mail(cx.me, tagged.number);
        }
        self.pass(Event::Mail(&tagged.mail), cx)
    }
    /// Mail comes, to a driver that may be broken.
    fn take_mail(&mut self, tagged: &Tagged<Mail<S>>, cx: &mut Cx<'_, Tagged<Mail<S>>>) -> Result<(), Close> {
        self.touched += 1;
        match self.around.sabotage {
            Some(Sabotage::DropMail) if self.touched.is_multiple_of(5) => return Ok(()),
            Some(Sabotage::DoubleMail) if self.touched.is_multiple_of(5) => self.pass_mail(tagged, cx)?,
            Some(Sabotage::PauseMail) if cx.out.is_full() || !self.kept.is_empty() => {
                self.kept.push_back(tagged.clone());
                return Ok(());
            }
            Some(Sabotage::ShowBeforeInbox) => {
                self.kept.push_back(tagged.clone());
                self.due = Some(cx.now);
                return Ok(());
            }
            Some(Sabotage::SwapMail) if self.touched.is_multiple_of(3) => {
                self.kept.push_back(tagged.clone());
                self.due = Some(cx.now);
                return Ok(());
            }
            _ => {}
        }
        self.pass_mail(tagged, cx)?;
        if self.is(Sabotage::SwapMail) {
            return self.let_go(cx);
        }
        Ok(())
    }
    /// What a broken driver kept is let go.
    fn let_go(&mut self, cx: &mut Cx<'_, Tagged<Mail<S>>>) -> Result<(), Close> {
        self.due = None;
        self.around.push_late(cx.me, cx.host, std::mem::take(&mut self.late));
        while let Some(tagged) = self.kept.pop_front() {
            self.pass_mail(&tagged, cx)?;
        }
        Ok(())
    }
    fn pass_gone(&mut self, close: &Close, cx: &mut Cx<'_, Tagged<Mail<S>>>) {
        if !self.late.is_empty() {
            self.around.push_late(cx.me, cx.host, std::mem::take(&mut self.late));
        }
        if self.inner.is_none() || self.is(Sabotage::ForgetGone) {
            return;
        }
        lock(&self.around.watch).gone(cx.me, close);
        let _ = self.pass(Event::Gone(close), cx);
        self.around.push_late(cx.me, cx.host, std::mem::take(&mut self.late));
    }
}

impl<S: Service> Session for Guard<S> {
    type Mail = Tagged<Mail<S>>;
    fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
        let plain = match event {
            Event::Input(input) => return self.pass_input(input, cx),
            Event::Mail(tagged) => return self.take_mail(tagged, cx),
            Event::Gone(close) => {
                self.pass_gone(close, cx);
                return Ok(());
            }
            Event::Deadline => {
                if self.due.is_some() {
                    self.let_go(cx)?;
                }
                if !self.inner.as_ref().is_some_and(|inner| inner.wants().is_due(cx.now)) {
                    return Ok(());
                }
                Event::Deadline
            }
            Event::Open(way) => {
                let mut watch = lock(&self.around.watch);
                watch.opened(cx.me, end_of(way));
                Event::Open(way)
            }
            Event::End => {
                let exchange = Arc::clone(&self.around.exchange);
                lock(&self.around.watch).hold(cx.me.shard, |shard| exchange.waiting(shard));
                Event::End
            }
            Event::Drained if self.is(Sabotage::PauseMail) => {
                self.pass(Event::Drained, cx)?;
                return self.let_go(cx);
            }
            Event::Drained => Event::Drained,
            Event::Again => Event::Again,
            Event::Stop => {
                lock(&self.around.watch).stops(cx.me);
                Event::Stop
            }
        };
        lock(&self.around.watch).note(cx.me, plain.name(), b"", "");
        self.pass(plain, cx)
    }
    fn wants(&self) -> Wants {
        let none = Wants { input: Pace::Hold, deadline: None };
        let mut wants = self.inner.as_ref().map_or(none, Session::wants);
        if self.is(Sabotage::StopReadingWhenFull) && self.is_full && wants.input == Pace::Always {
            wants.input = Pace::Hold;
        }
        if self.is(Sabotage::ForgetDeadline) {
            wants.deadline = None;
        }
        wants.by(self.due)
    }
}

/// The last `count` bytes of an output that leads to a stream.
fn tail(out: &Output, count: usize) -> Vec<u8> {
    if count == 0 || out.kind() == sotong_session::Kind::Records {
        return Vec::new();
    }
    let mut slices = Vec::new();
    out.gather(&mut slices, usize::MAX);
    let (mut pieces, mut left) = (Vec::new(), count);
    for slice in slices.iter().rev() {
        if left == 0 {
            break;
        }
        let from = slice.len().saturating_sub(left);
        pieces.push(&slice[from..]);
        left -= slice.len() - from;
    }
    pieces.reverse();
    pieces.concat()
}

/// A host that numbers the mail and tells the watcher.
struct Tap<'a, S: Service> {
    around: &'a Guarded<S>,
    me: Address,
    real: &'a mut dyn Host<Tagged<Mail<S>>>,
    late: &'a mut Vec<Late<Mail<S>>>,
}

impl<S: Service> Tap<'_, S> {
    fn delays(&self) -> bool {
        self.around.sabotage == Some(Sabotage::FlushBeforeMail)
    }
}

impl<S: Service> Host<Mail<S>> for Tap<'_, S> {
    fn post(&mut self, to: Address, mail: Mail<S>) {
        let number = lock(&self.around.watch).posted(self.me, to);
        if self.delays() {
            return self.late.push(Late::Post(number, to, mail));
        }
        self.around.push(self.me, number, |number| self.real.post(to, Tagged { number, mail }));
    }
    fn publish(&mut self, topic: Topic, except: Option<Address>, mail: Mail<S>) {
        let number = lock(&self.around.watch).published(self.me, topic, except);
        if self.delays() {
            return self.late.push(Late::Publish(number, topic, except, mail));
        }
        self.around.push(self.me, number, |number| self.real.publish(topic, except, Tagged { number, mail }));
    }
    fn join(&mut self, topic: Topic, who: Address) {
        lock(&self.around.watch).joined(self.me.shard, topic, who);
        self.real.join(topic, who);
    }
    fn leave(&mut self, topic: Topic, who: Address) {
        lock(&self.around.watch).left(self.me.shard, topic, who);
        self.real.leave(topic, who);
    }
    fn ask(&mut self, desk: Desk, mail: Mail<S>) -> Result<(), Mail<S>> {
        self.real.ask(desk, Tagged { number: 0, mail }).map_err(|tagged| tagged.mail)
    }
    fn is_held(&self) -> bool {
        self.real.is_held()
    }
    fn random(&mut self, bytes: &mut [u8]) {
        self.real.random(bytes);
    }
}

/// A session that panics where the seed says so.
pub(crate) struct Faulty<S> {
    inner: S,
    watch: Shared,
}

impl<S: Session> Session for Faulty<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let is_last = matches!(event, Event::Gone(_));
        let result = self.inner.handle(event, cx);
        if !is_last && lock(&self.watch).plans_panic(cx.me) {
            // Without the hook, which would write a message for each.
            resume_unwind(Box::new(PLANNED.to_owned()));
        }
        result
    }
    fn wants(&self) -> Wants {
        self.inner.wants()
    }
}
