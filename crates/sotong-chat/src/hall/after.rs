//! What is done, and told, once a change is on disk.
//!
//! A change of something that the books keep is in them once it has been taken; in the hall, and for all who are there, it is
//! as it was. When the change is on disk it is carried out in the hall and told, though whoever asked for it may have gone.
//! That happens in the order in which the changes were taken, whatever the order in which those who asked hear of their
//! answers. So nobody is told of what could be lost, and of what was not stored there is nothing in the hall to be taken back.
//!
//! A change is judged when it is taken, by what the books have then: what is under way counts. What somebody may do, he may
//! when he asks.
use super::{Hall, Teller, Who};
use crate::{
    books::{Answer, Ask, Change, STORE, Ticket},
    news::{Letter, Mail},
};
use sotong_session::{Address, Host, Wall};
use std::{collections::VecDeque, fmt};

/// What is to be done in the hall.
type Effect<R> = Box<dyn FnOnce(&mut Hall, &mut Teller<'_>) -> R + Send>;

/// A change that may be made: what of it the books keep, if they keep anything of it, and what is done once that is on disk.
pub(crate) struct Plan<R> {
    pub(crate) changes: Vec<Change>,
    pub(crate) effect: Effect<R>,
}

impl<R> Plan<R> {
    pub(crate) fn new(
        changes: Vec<Change>,
        effect: impl FnOnce(&mut Hall, &mut Teller<'_>) -> R + Send + 'static,
    ) -> Self {
        Self { changes, effect: Box::new(effect) }
    }
}

/// Changes that are under way, in their order: those that the desk may have.
#[derive(Default)]
pub(super) struct UnderWay(VecDeque<(Ticket, Who, Address, Effect<()>)>);

impl UnderWay {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(ticket, ..)| ticket)).finish()
    }
}

impl Hall {
    /// Does something as soon as the change with this ticket is on disk, on behalf of who asks for it now.
    pub(crate) fn once_stored(
        &mut self,
        ticket: Ticket,
        (who, from): (Who, Address),
        effect: impl FnOnce(&mut Self, &mut Teller<'_>) + Send + 'static,
    ) {
        self.under_way.0.push_back((ticket, who, from, Box::new(effect)));
    }
    /// A desk has answered, whomever: what is on disk is carried out, and what will never be is forgotten.
    pub(crate) fn answered(&mut self, answer: &Answer, at: Wall, host: &mut dyn Host<Mail>) {
        self.books.answered(answer);
        // The desk has room again for what had to wait.
        self.books.flush(host);
        while let Some((ticket, ..)) = self.under_way.0.front() {
            let is_stored = self.books.is_on_disk(*ticket);
            if !is_stored && !self.books.is_broken() {
                break;
            }
            let Some((_, me, from, effect)) = self.under_way.0.pop_front() else { break };
            if is_stored {
                effect(self, &mut Teller { me, from, at, host: &mut *host });
            }
        }
        if self.has_unsaved() {
            self.save(&mut Teller { me: Who::NOBODY, from: super::NOWHERE, at, host });
        }
    }
    /// Asks the desk that stores nothing, so as to hear of all that it was asked before. Where it has too much to do there are
    /// others who will hear of it.
    pub(crate) fn heed(&mut self, host: &mut dyn Host<Mail>) {
        let _ = host.ask(STORE, Mail::ask(Ask::Store(self.books.ticket(), Vec::new())));
    }
    /// The answer for a connection that has gone is heard by nobody. If a change of such a one is under way, another
    /// connection is to ask the desk something: its answer comes later, and tells of all before it.
    pub(super) fn hand_over(&self, tell: &mut Teller<'_>) {
        let is_orphan = |(_, _, from, _): &(Ticket, Who, Address, Effect<()>)| !self.clients.contains_key(from);
        if self.under_way.0.iter().any(is_orphan)
            && let Some(heir) = self.clients.keys().next()
        {
            tell.host.post(*heir, Mail(Letter::Heed));
        }
    }
}
