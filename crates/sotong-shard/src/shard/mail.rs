//! What a shard delivers: the entries of its inbox, to the sessions they are for.
use super::{Mail, Shard};
use crate::{
    exchange::{Entry, without_excess},
    office::Member,
};
use sotong_session::{Address, Event, Service, Topic};

impl<S: Service, W> Shard<S, W> {
    /// Delivers what is in the inbox now. True if there was something.
    pub fn deliver(&mut self) -> bool {
        self.deliver_each(|_, _| ())
    }
    /// The same; of what was published last, each member's slot is given to `told` right after it has been told, and so after
    /// all of its mail. A driver that has no input to show in this turn may act there on [`Shard::touched`]: what it sends by
    /// then is all that the turn has for that member, whose memory is in the caches.
    pub fn deliver_each(&mut self, mut told: impl FnMut(&mut Self, u32)) -> bool {
        if self.office.exchange.waiting(self.office.shard) == 0 {
            return false;
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        self.office.take_mail(&mut arrived);
        let mut rest = &*arrived.make_contiguous();
        while let Some(entry) = rest.first() {
            let mut count = 1;
            match entry {
                Entry::Post { to, mail, from_outside } => {
                    if self.hand_over(*to, mail, !from_outside) {
                        self.offer(to.slot);
                    }
                }
                Entry::Publish { topic, .. } => {
                    let is_more = |entry: &&Entry<_>| matches!(entry, Entry::Publish { topic: t, .. } if t == topic);
                    count = rest.iter().take_while(is_more).count();
                    match count == rest.len() {
                        true => self.walk(*topic, rest, &mut told),
                        false => self.walk(*topic, &rest[..count], &mut |_, _| ()),
                    }
                }
                Entry::Join { topic, who, since } => {
                    if !self.office.lives(*who) || !self.office.enter_counted(*topic, *who, *since) {
                        self.office.exchange.leave(*topic, self.office.shard);
                    }
                }
                Entry::Leave { topic, who } => self.office.leave_here(*topic, *who),
            }
            rest = &rest[count..];
        }
        self.arrived = without_excess(arrived);
        true
    }
    /// Delivers what was published one behind the other through one topic: to each member all of it, so that a member's memory
    /// comes into the caches once, and not once for each.
    fn walk(&mut self, topic: Topic, published: &[Entry<Mail<S>>], told: &mut impl FnMut(&mut Self, u32)) {
        let members = self.office.begin_walk(topic);
        for Member { who, since } in &members {
            let mut is_told = false;
            for entry in published {
                if let Entry::Publish { place, except, mail, .. } = entry
                    && since < place
                    && Some(*who) != *except
                    && !self.office.has_left(*who)
                {
                    is_told |= self.hand_over(*who, mail, true);
                }
            }
            if is_told {
                self.offer(who.slot);
                told(self, who.slot);
            }
        }
        self.office.end_walk(members);
    }
    /// Delivers one piece of mail, which another session may have sent. Whether there was somebody; who has to be offered what it
    /// waits for.
    fn hand_over(&mut self, to: Address, mail: &Mail<S>, by_mail: bool) -> bool {
        let lives = self.slot(to.slot).is_some_and(|entry| entry.turn == to.turn && entry.session.is_some());
        if lives {
            self.office.counters.mail_delivered += 1;
            self.call(to.slot, Event::Mail(mail), by_mail);
        } else {
            self.office.counters.mail_dropped += 1;
        }
        lives
    }
}
