//! A shard's mail: what sessions may ask of their host.
use crate::{Counters, Exchange, exchange::Entry};
use sotong_session::{Address, Desk, Host, Limits, Map, Topic};
use std::{collections::VecDeque, sync::Arc};

/// A shard's side of the exchange: who is a member of what here, and whom this shard has sent too much.
pub(crate) struct Office<M> {
    pub(crate) shard: u16,
    pub(crate) exchange: Arc<Exchange<M>>,
    pub(crate) counters: Counters,
    random: fastrand::Rng,
    topics: Map<Topic, Vec<Member>>,
    joined: Map<Address, Vec<Topic>>,
    /// The turn of the session that lives in each slot.
    living: Vec<Option<u32>>,
    /// The topic whose members are being walked through, and who left it meanwhile.
    walking: Option<(Topic, Vec<Address>)>,
    /// Shards whose inboxes are above the mark by our doing (rule D14).
    held_by: Vec<u16>,
    inbox_high: usize,
    mail_per_mail_max: usize,
    /// Who is being called, and what it may still send.
    caller: Option<Address>,
    allowance: usize,
    pub(crate) overspent: bool,
}

/// A member on this shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) who: Address,
    /// It gets what has a higher place than this.
    pub(crate) since: u64,
}

impl<M: Clone> Office<M> {
    pub(crate) fn new(shard: u16, exchange: Arc<Exchange<M>>, limits: &Limits, seed: u64) -> Self {
        Self {
            shard,
            exchange,
            counters: Counters::default(),
            random: fastrand::Rng::with_seed(seed),
            topics: Map::new(),
            joined: Map::new(),
            living: Vec::new(),
            walking: None,
            held_by: Vec::new(),
            inbox_high: limits.inbox_high,
            mail_per_mail_max: limits.mail_per_mail_max,
            caller: None,
            allowance: usize::MAX,
            overspent: false,
        }
    }
    /// A session of this shard begins.
    pub(crate) fn born(&mut self, who: Address) {
        let slot = who.slot as usize;
        if self.living.len() <= slot {
            self.living.resize(slot + 1, None);
        }
        self.living[slot] = Some(who.turn);
    }
    /// A session of this shard is over: it leaves its topics, and nobody can make it a member any more.
    pub(crate) fn died(&mut self, who: Address) {
        if self.lives(who) {
            self.living[who.slot as usize] = None;
        }
        for topic in self.joined.remove(&who).unwrap_or_default() {
            self.forget(topic, who);
        }
    }
    /// Whether `who`, of this shard, is a session that is not over.
    pub(crate) fn lives(&self, who: Address) -> bool {
        self.living.get(who.slot as usize).is_some_and(|turn| *turn == Some(who.turn))
    }
    /// Before a call of `who`: mail that causes mail is bounded, input is bounded by the bytes of a turn.
    pub(crate) fn calling(&mut self, who: Address, by_mail: bool) {
        self.caller = Some(who);
        self.allowance = if by_mail { self.mail_per_mail_max } else { usize::MAX };
        self.overspent = false;
    }
    /// Whether this shard shows no input for now.
    pub(crate) fn is_held(&mut self) -> bool {
        let (exchange, shard, low) = (&self.exchange, self.shard, self.inbox_high / 2);
        self.held_by.retain(|other| exchange.waiting(*other) > low && exchange.wait_for(*other, shard));
        !self.held_by.is_empty()
    }
    /// Whether [`Self::is_held`] may be true: one look.
    pub(crate) fn was_held(&self) -> bool {
        !self.held_by.is_empty()
    }
    fn pushed(&mut self, shard: u16, waiting: usize) {
        self.counters.entries_pushed += 1;
        if waiting > self.inbox_high && !self.held_by.contains(&shard) {
            self.counters.held += 1;
            self.held_by.push(shard);
        }
    }
    fn spend(&mut self) -> bool {
        let has = self.allowance > 0;
        self.allowance = self.allowance.saturating_sub(1);
        self.overspent |= !has;
        has
    }

    /// Takes everything out of the inbox.
    pub(crate) fn take_mail(&mut self, into: &mut VecDeque<Entry<M>>) {
        self.exchange.take(self.shard, into);
    }
    /// Begins a walk through a topic's members: they are lent to the caller, and come back by [`Self::end_walk`].
    pub(crate) fn begin_walk(&mut self, topic: Topic) -> Vec<Member> {
        self.walking = Some((topic, Vec::new()));
        self.topics.get_mut(&topic).map(std::mem::take).unwrap_or_default()
    }
    /// Whether `who` left during the walk.
    pub(crate) fn has_left(&self, who: Address) -> bool {
        self.walking.as_ref().is_some_and(|(_, left)| !left.is_empty() && left.contains(&who))
    }
    /// Takes the members back, without those who left and with those who came.
    pub(crate) fn end_walk(&mut self, mut members: Vec<Member>) {
        let Some((topic, left)) = self.walking.take() else { return };
        if !left.is_empty() {
            // Whoever left and came back stands among the new ones.
            members.retain(|member| !left.contains(&member.who));
        }
        let list = self.topics.entry(topic).or_default();
        members.append(list);
        *list = members;
        if list.is_empty() {
            self.topics.remove(&topic);
        }
    }
    /// A member that another shard counted in. False if it was one already: then the count is one too high.
    pub(crate) fn enter_counted(&mut self, topic: Topic, who: Address, since: u64) -> bool {
        let is_new = !self.is_member(topic, who);
        if is_new {
            self.enter(topic, who, since);
        }
        is_new
    }
    /// A member counted in at the exchange is entered here.
    fn enter(&mut self, topic: Topic, who: Address, since: u64) {
        self.topics.entry(topic).or_default().push(Member { who, since });
        self.joined.entry(who).or_default().push(topic);
    }
    fn is_member(&self, topic: Topic, who: Address) -> bool {
        self.joined.get(&who).is_some_and(|topics| topics.contains(&topic))
    }
    /// Ends a membership of a session of this shard.
    pub(crate) fn leave_here(&mut self, topic: Topic, who: Address) {
        let Some(topics) = self.joined.get_mut(&who) else { return };
        let Some(at) = topics.iter().position(|t| *t == topic) else { return };
        topics.swap_remove(at);
        if topics.is_empty() {
            self.joined.remove(&who);
        }
        self.forget(topic, who);
    }
    fn forget(&mut self, topic: Topic, who: Address) {
        if let Some(list) = self.topics.get_mut(&topic) {
            if let Some(at) = list.iter().position(|member| member.who == who) {
                list.swap_remove(at);
            } else if let Some((_, left)) = self.walking.as_mut().filter(|(walked, _)| *walked == topic) {
                left.push(who);
            }
            if list.is_empty() && self.walking.as_ref().is_none_or(|(walked, _)| *walked != topic) {
                self.topics.remove(&topic);
            }
        }
        self.exchange.leave(topic, self.shard);
    }
}

impl<M: Clone> Host<M> for Office<M> {
    fn post(&mut self, to: Address, mail: M) {
        if !self.spend() {
            return;
        }
        match self.exchange.push(to.shard, Entry::Post { to, mail, from_outside: false }) {
            Some(waiting) => self.pushed(to.shard, waiting),
            None => self.counters.mail_dropped += 1,
        }
    }
    fn publish(&mut self, topic: Topic, except: Option<Address>, mail: M) {
        if !self.spend() {
            return;
        }
        let exchange = Arc::clone(&self.exchange);
        exchange.publish(topic, except, mail, |shard, waiting| self.pushed(shard, waiting));
    }
    fn join(&mut self, topic: Topic, who: Address) {
        if who.shard != self.shard {
            self.exchange.join(self.shard, topic, who);
        } else if self.lives(who) && !self.is_member(topic, who) {
            let since = self.exchange.join(self.shard, topic, who);
            self.enter(topic, who, since);
        }
    }
    fn leave(&mut self, topic: Topic, who: Address) {
        if who.shard == self.shard {
            self.leave_here(topic, who);
        } else {
            // Its own shard counts it out: only it knows whether there is such a member.
            self.exchange.push(who.shard, Entry::Leave { topic, who });
        }
    }
    fn ask(&mut self, desk: Desk, mail: M) -> Result<(), M> {
        match self.caller {
            Some(caller) => self.exchange.ask(desk, caller, mail),
            None => Err(mail),
        }
    }
    fn is_held(&self) -> bool {
        self.was_held()
    }
    fn random(&mut self, bytes: &mut [u8]) {
        self.random.fill(bytes);
    }
}
