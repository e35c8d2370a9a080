//! A room: who is in it and what it allows.
use super::{
    Keys, Rank, Refusal, User, Who,
    entry::{self, Act},
    filter,
};
use crate::news::Verb;
use sotong_session::{Map, Moment, Topic, Wall};
use std::{sync::Arc, time::Duration};

/// A room. It is there for as long as somebody is in it.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: Topic,
    pub(crate) name: Arc<str>,
    /// How it will be called, while that is under way.
    pub(super) moves_to: Option<Arc<str>>,
    pub(crate) seats: Map<Who, Seat>,
    pub(crate) topic: Option<Said>,
    flags: u16,
    pub(crate) key: Option<Box<str>>,
    pub(crate) limit: Option<usize>,
    /// Where those are sent on to who may not come in.
    pub(crate) forward: Option<Box<str>>,
    /// How long each waits between two messages.
    pub(crate) slow: Option<Duration>,
    lists: [Vec<Masked>; List::ALL.len()],
    /// When those last spoke who have left a slow room before their time to wait was over.
    pub(super) slowed: Slowed,
    /// How many keep their seats here while they have no client: what is said is kept for them.
    pub(super) kept: usize,
    pub(crate) created: Wall,
    /// What is said of it by keys.
    pub(crate) keys: Keys,
}

/// Who has left a slow room and has to wait when he comes back: whoever waits shortest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Slowed(Map<Who, Moment>);

/// People that a slow room remembers though they have left it.
pub(super) const SLOWED_MAX: usize = 1000;

impl Slowed {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
    pub(super) fn has(&self, who: Who) -> bool {
        self.0.contains_key(&who)
    }
    /// Somebody leaves who has spoken.
    fn note(&mut self, who: Who, spoke: Moment, gap: Duration, now: Moment) {
        self.0.retain(|_, spoke| filter::wait(Some(gap), Some(*spoke), now).is_some());
        if self.0.len() >= SLOWED_MAX {
            let earliest = self.0.iter().min_by_key(|(_, spoke)| **spoke).map(|(who, _)| *who);
            earliest.and_then(|who| self.0.remove(&who));
        }
        self.0.insert(who, spoke);
    }
    /// Somebody comes back: when he spoke last, where that is known.
    fn take(&mut self, who: Who) -> Option<Moment> {
        self.0.remove(&who)
    }
}

/// Somebody's place in a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) rank: Rank,
    pub(crate) stay: u64,
    /// When he last said something here, where that matters.
    pub(crate) spoke: Option<Moment>,
}

/// A topic.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: Box<str>,
    pub(crate) by: Arc<str>,
    pub(crate) at: Wall,
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub(crate) struct Masked {
    pub(crate) mask: Box<str>,
    pub(crate) by: Arc<str>,
    pub(crate) at: Wall,
    /// When it ends.
    pub(crate) until: Option<Wall>,
}

impl Masked {
    pub(crate) fn holds(&self, now: Wall) -> bool {
        self.until.is_none_or(|until| now.0 < until.0)
    }
}

/// What a room can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// No CTCP but ACTION.
    NoCtcp,
    /// People may speak for others (NPC, SCENE).
    Roleplay,
    /// Only those speak who are logged in.
    AccountsSpeak,
    /// Only those come in who are logged in.
    AccountsJoin,
    /// What those without rank say is heard by those in charge alone.
    OpModerated,
    InviteOnly,
    Moderated,
    NoOutside,
    Secret,
    TopicByOps,
    /// Those without rank do not see each other.
    Auditorium,
}

impl Flag {
    pub(crate) const ALL: [Self; 11] = [
        Self::NoCtcp,
        Self::Roleplay,
        Self::AccountsSpeak,
        Self::AccountsJoin,
        Self::OpModerated,
        Self::InviteOnly,
        Self::Moderated,
        Self::NoOutside,
        Self::Secret,
        Self::TopicByOps,
        Self::Auditorium,
    ];

    pub(crate) fn letter(self) -> char {
        match self {
            Self::NoCtcp => 'C',
            Self::Roleplay => 'E',
            Self::AccountsSpeak => 'M',
            Self::AccountsJoin => 'R',
            Self::OpModerated => 'U',
            Self::InviteOnly => 'i',
            Self::Moderated => 'm',
            Self::NoOutside => 'n',
            Self::Secret => 's',
            Self::TopicByOps => 't',
            Self::Auditorium => 'u',
        }
    }
    pub(crate) fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.letter() == letter)
    }
    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A room's lists of masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Ban,
    Except,
    Invite,
    /// What may not be said.
    Filter,
}

impl List {
    pub(crate) const ALL: [(Self, char); 4] =
        [(Self::Ban, 'b'), (Self::Except, 'e'), (Self::Invite, 'I'), (Self::Filter, 'g')];

    pub(crate) fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == letter).map(|(list, _)| list)
    }
}

/// Somebody who wants to say something, and what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speech<'s> {
    pub(crate) verb: Verb,
    pub(crate) text: &'s str,
    /// Tags that come with it.
    pub(crate) tags: &'s [(Box<str>, Box<str>)],
    pub(crate) now: Moment,
    pub(crate) at: Wall,
}

impl<'s> Speech<'s> {
    /// What he reacts with (IRCv3 draft/react): words that are shown beside a message.
    fn reactions(self) -> impl Iterator<Item = &'s str> {
        self.tags.iter().filter(|(key, _)| REACTIONS.contains(&&**key)).map(|(_, value)| &**value)
    }
    /// Whether anybody reads it: whoever only types, say, has not spoken.
    pub(super) fn is_words(self) -> bool {
        self.verb != Verb::Tagmsg || self.reactions().next().is_some()
    }
}

/// Tags whose values are shown to people.
const REACTIONS: [&str; 4] = ["+draft/react", "+draft/unreact", "+react", "+unreact"];

impl Room {
    pub(super) fn new(id: Topic, name: Arc<str>, created: Wall) -> Self {
        let flags = Flag::NoOutside.bit() | Flag::TopicByOps.bit();
        let (seats, lists) = (Map::new(), Default::default());
        let (topic, key, limit, forward, slow) = (None, None, None, None, None);
        let (keys, slowed) = (Keys::default(), Slowed::default());
        let moves_to = None;
        Self {
            id,
            name,
            moves_to,
            seats,
            topic,
            flags,
            key,
            limit,
            forward,
            slow,
            lists,
            slowed,
            kept: 0,
            created,
            keys,
        }
    }
    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.flags & flag.bit() != 0
    }
    /// True if that was a change.
    pub(super) fn set(&mut self, flag: Flag, on: bool) -> bool {
        let before = self.flags;
        self.flags = if on { before | flag.bit() } else { before & !flag.bit() };
        before != self.flags
    }
    pub(crate) fn rank(&self, who: Who) -> Option<Rank> {
        self.seats.get(&who).map(|seat| seat.rank)
    }
    /// The entries of a list that hold.
    pub(crate) fn list(&self, list: List, at: Wall) -> impl Iterator<Item = &Masked> {
        self.lists[list as usize].iter().filter(move |entry| entry.holds(at))
    }
    /// The entries of a list, those that have ended among them until their room has been told.
    pub(super) fn all_of(&self, list: List) -> &[Masked] {
        &self.lists[list as usize]
    }
    pub(super) fn list_mut(&mut self, list: List) -> &mut Vec<Masked> {
        &mut self.lists[list as usize]
    }
    pub(crate) fn covers(&self, list: List, user: &User, act: Act, at: Wall) -> bool {
        let subject = user.subject();
        self.list(list, at).any(|entry| entry::covers(&entry.mask, subject, act))
    }
    /// Whether he is kept out, or kept from speaking.
    pub(crate) fn bans(&self, user: &User, act: Act, at: Wall) -> bool {
        self.covers(List::Ban, user, act, at) && !self.covers(List::Except, user, act, at)
    }
    /// Whether he sits here and a ban keeps him silent; not who has a rank.
    pub(super) fn silences(&self, who: Who, user: &User, at: Wall) -> bool {
        self.rank(who).is_some_and(|rank| !rank.is_at_least(Rank::VOICE)) && self.bans(user, Act::Speak, at)
    }
    /// Whether he may come in.
    pub(super) fn lets_in(&self, user: &User, key: &str, at: Wall) -> Result<(), Refusal> {
        // Whoever was asked in by somebody of rank comes in.
        if user.invites.contains(&self.id) {
            return Ok(());
        }
        if self.key.as_deref().is_some_and(|needed| needed != key) {
            return Err(Refusal::BadKey);
        }
        if self.has(Flag::InviteOnly) && !self.covers(List::Invite, user, Act::Join, at) {
            return Err(Refusal::InviteOnly);
        }
        if self.bans(user, Act::Join, at) {
            return Err(Refusal::Banned);
        }
        if self.has(Flag::AccountsJoin) && user.account.is_none() {
            return Err(Refusal::NeedsAccount);
        }
        if self.limit.is_some_and(|limit| self.seats.len() >= limit) {
            return Err(Refusal::Full);
        }
        Ok(())
    }
    /// Whether he may say this here, in the room or from outside.
    pub(super) fn hears(&self, who: Who, user: &User, speech: Speech<'_>) -> Result<(), Refusal> {
        let seat = self.seats.get(&who);
        let rank = seat.map(|seat| seat.rank);
        if seat.is_none() && self.has(Flag::NoOutside) {
            return Err(Refusal::CannotSpeak);
        }
        if self.has(Flag::NoCtcp) && is_ctcp(speech.text) {
            return Err(Refusal::NoCtcp);
        }
        if rank.is_none_or(|rank| !rank.is_at_least(Rank::VOICE)) {
            if self.has(Flag::Moderated) || self.bans(user, Act::Speak, speech.at) {
                return Err(Refusal::CannotSpeak);
            }
            if self.has(Flag::AccountsSpeak) && user.account.is_none() {
                return Err(Refusal::AccountToSpeak);
            }
            // What nobody reads is no reason to wait.
            if speech.is_words()
                && let Some(wait) = filter::wait(self.slow, seat.and_then(|seat| seat.spoke), speech.now)
            {
                return Err(Refusal::TooSoon(wait));
            }
        }
        let masks = || self.list(List::Filter, speech.at).map(|entry| &*entry.mask);
        let mut said = std::iter::once(speech.text).chain(speech.reactions());
        if rank.is_none_or(|rank| !rank.is_at_least(Rank::HALF))
            && said.any(|text| filter::stops(masks(), text).is_some())
        {
            return Err(Refusal::Filtered);
        }
        Ok(())
    }
    /// Gives somebody a place. Who has to wait here does so whether or not he has left meanwhile.
    pub(super) fn seat(&mut self, who: Who, rank: Rank, stay: u64) {
        let spoke = self.slowed.take(who);
        self.seats.insert(who, Seat { rank, stay, spoke });
    }
    /// Takes a place away.
    pub(super) fn unseat(&mut self, who: Who, now: Moment) {
        let spoke = self.seats.remove(&who).and_then(|seat| seat.spoke);
        if let (Some(spoke), Some(gap)) = (spoke, self.slow) {
            self.slowed.note(who, spoke, gap, now);
        }
    }
    /// Whether what this member does is shown to those with a rank alone.
    pub(super) fn hides(&self, who: Who) -> bool {
        self.has(Flag::Auditorium) && self.rank(who).unwrap_or_default() == Rank::NONE
    }
    /// Whether `who` is shown this member.
    pub(crate) fn shows(&self, who: Who, member: Who) -> bool {
        !self.hides(member) || self.rank(who).is_some_and(|rank| rank != Rank::NONE)
    }
    /// The modes, as 324 tells them; the key only to those who are in it.
    pub(crate) fn modes(&self, is_in: bool) -> String {
        let mut letters = String::from("+");
        letters.extend(Flag::ALL.into_iter().filter(|flag| self.has(*flag)).map(Flag::letter));
        let mut params = String::new();
        let mut value = |letter, param: &str| {
            letters.push(letter);
            params.extend([" ", param]);
        };
        if let Some(slow) = self.slow {
            value('W', &slow.as_secs().to_string());
        }
        if let Some(forward) = &self.forward {
            value('f', forward);
        }
        if let Some(key) = &self.key {
            value('k', if is_in { key } else { "*" });
        }
        if let Some(limit) = self.limit {
            value('l', &limit.to_string());
        }
        letters + &params
    }
}

/// A request or an answer of a client's to a client, but for `/me`.
pub(super) fn is_ctcp(text: &str) -> bool {
    // Each line of a message of several is one to those who take no such messages.
    text.split('\n').any(|line| {
        let rest = line.strip_prefix('\u{1}');
        rest.is_some_and(|rest| !rest.starts_with("ACTION ") && !rest.starts_with("ACTION\u{1}"))
    })
}
