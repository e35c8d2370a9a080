//! A room: who is in it and what it allows.
use super::{User, Who};
use sotong_irc::mask;
use sotong_session::{Map, Topic, Wall};
use std::sync::Arc;

/// A room. It is there for as long as somebody is in it.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: Topic,
    pub(crate) name: Arc<str>,
    pub(crate) seats: Map<Who, Seat>,
    pub(crate) topic: Option<Said>,
    pub(crate) flags: u8,
    pub(crate) key: Option<Box<str>>,
    pub(crate) limit: Option<usize>,
    lists: [Vec<Masked>; 3],
    pub(crate) created: Wall,
}

/// Somebody's place in a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) rank: Rank,
    pub(crate) stay: u64,
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
}

/// What a room can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    InviteOnly,
    Moderated,
    NoOutside,
    Secret,
    TopicByOps,
}

impl Flag {
    pub(crate) const ALL: [Self; 5] =
        [Self::InviteOnly, Self::Moderated, Self::NoOutside, Self::Secret, Self::TopicByOps];

    pub(crate) fn letter(self) -> char {
        match self {
            Self::InviteOnly => 'i',
            Self::Moderated => 'm',
            Self::NoOutside => 'n',
            Self::Secret => 's',
            Self::TopicByOps => 't',
        }
    }
    pub(crate) fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.letter() == letter)
    }
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A room's lists of masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Ban,
    Except,
    Invite,
}

impl List {
    pub(crate) fn of(letter: char) -> Option<Self> {
        match letter {
            'b' => Some(Self::Ban),
            'e' => Some(Self::Except),
            'I' => Some(Self::Invite),
            _ => None,
        }
    }
}

/// What somebody is in a room: several at once, the highest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u8);

impl Rank {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const VOICE: Self = Self(1);
    pub(crate) const HALF: Self = Self(2);
    pub(crate) const OP: Self = Self(4);
    /// The highest first, with the letter of the mode and the sign in front of a name.
    pub(crate) const ALL: [(Self, char, char); 3] =
        [(Self::OP, 'o', '@'), (Self::HALF, 'h', '%'), (Self::VOICE, 'v', '+')];

    pub(crate) fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == letter).map(|(rank, ..)| rank)
    }
    pub(crate) fn of_sign(sign: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(.., known)| *known == sign).map(|(rank, ..)| rank)
    }
    pub(crate) fn has(self, rank: Self) -> bool {
        self.0 & rank.0 != 0
    }
    /// Whether it is `rank` or higher.
    pub(crate) fn is_at_least(self, rank: Self) -> bool {
        self.0 >= rank.0
    }
    pub(crate) fn set(&mut self, rank: Self, on: bool) {
        self.0 = if on { self.0 | rank.0 } else { self.0 & !rank.0 };
    }
    /// The signs in front of a name: all of them, or the highest.
    pub(crate) fn signs(self, all: bool) -> String {
        let signs = Self::ALL.into_iter().filter(|(rank, ..)| self.has(*rank)).map(|(.., sign)| sign);
        signs.take(if all { 3 } else { 1 }).collect()
    }
}

impl Room {
    pub(super) fn new(id: Topic, name: Arc<str>, created: Wall) -> Self {
        let flags = Flag::NoOutside.bit() | Flag::TopicByOps.bit();
        let (seats, lists) = (Map::new(), Default::default());
        Self { id, name, seats, topic: None, flags, key: None, limit: None, lists, created }
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
    pub(crate) fn list(&self, list: List) -> &[Masked] {
        &self.lists[list as usize]
    }
    pub(super) fn list_mut(&mut self, list: List) -> &mut Vec<Masked> {
        &mut self.lists[list as usize]
    }
    pub(crate) fn covers(&self, list: List, user: &User) -> bool {
        self.list(list).iter().any(|entry| mask::covers(&entry.mask, &user.folded))
    }
    /// Whether he is kept out, or kept from speaking.
    pub(crate) fn bans(&self, user: &User) -> bool {
        self.covers(List::Ban, user) && !self.covers(List::Except, user)
    }
    /// Whether he may speak here, in the room or from outside.
    pub(crate) fn hears(&self, who: Who, user: &User) -> bool {
        match self.rank(who) {
            None => !self.has(Flag::NoOutside) && !self.has(Flag::Moderated) && !self.bans(user),
            Some(rank) if rank.is_at_least(Rank::VOICE) => true,
            Some(_) => !self.has(Flag::Moderated) && !self.bans(user),
        }
    }
    /// The modes, as 324 tells them; the key only to those who are in it.
    pub(crate) fn modes(&self, is_in: bool) -> String {
        let mut letters = String::from("+");
        letters.extend(Flag::ALL.into_iter().filter(|flag| self.has(*flag)).map(Flag::letter));
        let mut params = String::new();
        if let Some(key) = &self.key {
            letters.push('k');
            params.push_str(if is_in { " " } else { " *" });
            params.push_str(if is_in { key } else { "" });
        }
        if let Some(limit) = self.limit {
            letters.push('l');
            params.push_str(&format!(" {limit}"));
        }
        letters + &params
    }
}
