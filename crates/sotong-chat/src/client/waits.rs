//! Commands that wait for a desk. Until it has answered no more is read of the connection, so its effects and its answers
//! come in their order.
use super::{Client, Talk};
use crate::{
    books::{Answer, Ask, Change, Hashed, PASSWORDS, Refused, Secret, Ticket},
    counters::Opened,
    hall::Plan,
    news::Mail,
};
use sotong_session::{Close, Cx, Desk};
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// What is done when the answer is there.
type Then = Box<dyn FnOnce(&mut Talk<'_, '_>, &Answer) + Send>;

/// A question that is under way.
pub(super) struct Waiting {
    ticket: Ticket,
    then: Then,
    _open: Opened,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiting").field(&self.ticket).finish()
    }
}

/// The desk has too much to do, or could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotNow;

impl Client {
    /// A desk has answered. What was asked by somebody who has left it to itself is noted in the books all the same.
    pub(super) fn answered(&mut self, answer: &Answer, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if let Answer::Found(..) = answer {
            return self.found(answer, cx);
        }
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        hall.answered(answer, cx.wall, cx.host);
        let Some(Waiting { then, .. }) = self.waiting.take_if(|waiting| waiting.ticket == answer.ticket()) else {
            return Ok(());
        };
        self.answers.resume();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        then(&mut talk, answer);
        let done = talk.register();
        talk.save();
        drop(hall);
        self.answers.end_resumed(cx.out);
        self.turn_pages(cx);
        done?;
        self.leave_if_done(cx)
    }
}

impl Talk<'_, '_> {
    /// Changes records, and goes on once they are on disk. Until then the books have them already; if they could not be
    /// stored, the books are as before.
    pub(crate) fn store(
        &mut self,
        changes: &[Change],
        then: impl FnOnce(&mut Talk<'_, '_>, Result<(), Refused>) + Send + 'static,
    ) {
        let limits = self.hall.limits;
        match self.hall.books.change(changes, &limits, self.cx.host) {
            Err(why) => {
                self.hit_full(why);
                then(self, Err(why));
            }
            Ok(ticket) => self.wait_for(ticket, move |talk, answer| {
                let is_done = matches!(answer, Answer::Stored(_, Ok(())));
                then(talk, if is_done { Ok(()) } else { Err(Refused::Broken) });
            }),
        }
    }
    /// Carries a plan out, and goes on with what has come of it: at once where the books keep nothing of it, else once it is
    /// on disk. What it does in the hall is done then, though the client may have gone.
    pub(crate) fn accomplish<R: Send + Sync + 'static>(
        &mut self,
        plan: Plan<R>,
        then: impl FnOnce(&mut Talk<'_, '_>, Result<R, Refused>) + Send + 'static,
    ) {
        let Plan { changes, effect } = plan;
        if changes.is_empty() {
            let (hall, mut tell) = self.teller();
            let done = effect(hall, &mut tell);
            return then(self, Ok(done));
        }
        let limits = self.hall.limits;
        let ticket = match self.hall.books.change(&changes, &limits, self.cx.host) {
            Err(why) => {
                self.hit_full(why);
                return then(self, Err(why));
            }
            Ok(ticket) => ticket,
        };
        let result = Arc::new(OnceLock::new());
        let done = Arc::clone(&result);
        self.hall.once_stored(ticket, (self.client.who, self.cx.me), move |hall, tell| {
            let _ = done.set(effect(hall, tell));
        });
        self.wait_for(ticket, move |talk, _| {
            let done = Arc::into_inner(result).and_then(OnceLock::into_inner);
            then(talk, done.ok_or(Refused::Broken));
        });
    }
    /// Counts what stands in the way of a change, if that is a limit.
    fn hit_full(&self, why: Refused) {
        if let Refused::Full(limit) = why {
            self.hit(limit);
        }
    }
    /// Hashes a password, and goes on with that.
    pub(crate) fn hash(
        &mut self,
        password: &str,
        then: impl FnOnce(&mut Talk<'_, '_>, Result<Hashed, NotNow>) + Send + 'static,
    ) {
        let ticket = self.hall.books.ticket();
        match self.ask(PASSWORDS, Ask::Hash(ticket, Secret::new(password))) {
            Err(why) => then(self, Err(why)),
            Ok(()) => self.wait_for(ticket, |talk, answer| match answer {
                Answer::Hashed(_, Some(hashed)) => then(talk, Ok(hashed.clone())),
                Answer::Hashed(_, None) | Answer::Stored(..) | Answer::Verified(..) | Answer::Found(..) => {
                    then(talk, Err(NotNow));
                }
            }),
        }
    }
    /// Checks a password against a hash, if there is one, and goes on with whether it is right.
    pub(crate) fn verify(
        &mut self,
        password: &str,
        hash: Option<Box<str>>,
        then: impl FnOnce(&mut Talk<'_, '_>, Result<bool, NotNow>) + Send + 'static,
    ) {
        let ticket = self.hall.books.ticket();
        match self.ask(PASSWORDS, Ask::Verify(ticket, Secret::new(password), hash)) {
            Err(why) => then(self, Err(why)),
            Ok(()) => self.wait_for(ticket, |talk, answer| {
                then(talk, Ok(matches!(answer, Answer::Verified(_, true))));
            }),
        }
    }

    fn ask(&mut self, desk: Desk, ask: Ask) -> Result<(), NotNow> {
        self.cx.host.ask(desk, Mail::ask(ask)).map_err(|_| NotNow)
    }
    fn wait_for(&mut self, ticket: Ticket, then: impl FnOnce(&mut Talk<'_, '_>, &Answer) + Send + 'static) {
        debug_assert!(self.client.waiting.is_none(), "a command waits for one answer at a time");
        self.client.waiting =
            Some(Waiting { ticket, then: Box::new(then), _open: self.client.chat.gauges.waits.open() });
        self.client.answers.hold();
    }
}
