//! What ends by itself: bans of rooms, and exceptions from them, that were set for a time. They are taken out when their time
//! is over, and the room is told.
//!
//! The hall has no clock. One of the connections is asked to look at its own when something ends next: the keeper of the
//! time, who is another as soon as he has gone. Where nobody is, there is nobody to be told.
use super::{Hall, List, Teller, Who, room::Masked};
use crate::news::{Letter, Mail};
use sotong_session::{Address, Host, Map, Topic, Wall};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// When something ends next. There is one entry for each room that has something that ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    next: BTreeSet<(Wall, Topic)>,
    of_rooms: Map<Topic, Wall>,
    keeper: Option<Address>,
    /// The end of which the keeper knows.
    told: Option<Wall>,
}

impl Ends {
    /// Rooms in which something ends.
    pub(super) fn len(&self) -> usize {
        self.next.len().max(self.of_rooms.len())
    }
}

/// The keeper looks so often, for civil time may have jumped.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Rooms that are looked at in one go: others want to use the hall, too.
const ROOMS_MAX: usize = 64;

impl Hall {
    /// The lists of a room have changed, or it is no more.
    pub(super) fn note_ends(&mut self, id: Topic) {
        let room = self.rooms.get(&id);
        let end = room.and_then(|room| room.entries().filter_map(|(_, entry)| entry.until).min());
        let before = match end {
            Some(end) => self.ends.of_rooms.insert(id, end),
            None => self.ends.of_rooms.remove(&id),
        };
        if before != end {
            before.inspect(|before| _ = self.ends.next.remove(&(*before, id)));
            end.inspect(|end| _ = self.ends.next.insert((*end, id)));
        }
    }
    /// Somebody looks at his clock when something ends next, or does so already.
    pub(super) fn call_keeper(&mut self, host: &mut dyn Host<Mail>) {
        let Some((at, _)) = self.ends.next.first().copied() else { return };
        if self.ends.keeper.is_none() {
            self.ends.keeper = self.clients.keys().next().copied();
            self.ends.told = None;
        }
        let Some(keeper) = self.ends.keeper else { return };
        if self.ends.told.is_none_or(|told| at < told) {
            self.ends.told = Some(at);
            host.post(keeper, Mail(Letter::Time));
        }
    }
    /// A connection has gone: somebody else keeps the time, if it did.
    pub(super) fn keeper_gone(&mut self, at: Address, host: &mut dyn Host<Mail>) {
        if self.ends.keeper.take_if(|keeper| *keeper == at).is_some() {
            self.call_keeper(host);
        }
    }
    /// Takes out what has ended by now, and tells the rooms. In how much time the keeper is to do so again.
    pub(crate) fn keep_time(&mut self, tell: &mut Teller<'_>) -> Option<Duration> {
        for _ in 0..ROOMS_MAX {
            match self.ends.next.first().copied() {
                Some((at, id)) if at <= tell.at => self.end_entries(id, tell),
                _ => break,
            }
        }
        let next = self.ends.next.first().map(|(at, _)| *at);
        self.ends.told = next;
        if next.is_none() {
            self.ends.keeper = None;
        }
        let left = next?.0.saturating_sub(tell.at.0);
        // Those that were left over come in the next turn.
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0).max(1)).min(LOOK_EVERY))
    }
    /// Takes out of a room's lists what has ended, and tells the room.
    pub(super) fn end_entries(&mut self, id: Topic, tell: &mut Teller<'_>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let ended: Vec<_> = room
            .entries()
            .filter(|(_, entry)| !entry.holds(tell.at))
            .map(|(letter, entry)| (false, letter, Some(String::from(&*entry.mask))))
            .collect();
        if !ended.is_empty() {
            for (list, _) in List::ALL {
                room.list_mut(list).retain(|entry| entry.holds(tell.at));
            }
            let server = Arc::clone(&self.server);
            let mut tell = tell.on_behalf_of(Who::NOBODY);
            self.tell_modes(id, &ended, &server, &mut tell);
            self.note_ended(id, &mut tell);
            self.touch_room(id);
        }
        self.note_ends(id);
    }
}

impl super::Room {
    /// The entries of all its lists, with the letters of these.
    fn entries(&self) -> impl Iterator<Item = (char, &Masked)> {
        List::ALL.into_iter().flat_map(|(list, letter)| self.all_of(list).iter().map(move |entry| (letter, entry)))
    }
}
