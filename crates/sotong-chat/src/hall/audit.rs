//! Looks whether the hall's tables fit each other, and their bounds.
use super::{Hall, Who};
use crate::Table;
use sotong_irc::names;
use sotong_session::Topic;
use std::{collections::BTreeSet, fmt::Debug};

/// Entries of a person's list of those who may speak to him, of a room's keys and the like have bounds of their own, which are
/// looked at where they are set. These are the tables that grow with people.
impl Hall {
    /// How long each table is, and how long it may be.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let limits = &self.limits;
        let (people, links) = (self.users.len(), self.clients.len());
        let seats = people.saturating_mul(limits.rooms_max);
        let watches = people.saturating_mul(limits.monitor_max);
        let [names, kept, bytes, order] = self.log.sizes();
        let mut tables = vec![
            // A person has a connection, or keeps the seat, of which there is one for each account.
            Table { name: "users", len: people, max: links + self.kept.len() },
            Table { name: "clients", len: links, max: links },
            Table { name: "newcomers", len: self.newcomers.len(), max: usize::MAX },
            Table { name: "kept", len: self.kept.len(), max: limits.accounts_max },
            Table { name: "unsaved", len: self.unsaved.len(), max: limits.accounts_max },
            Table { name: "unsaved_rooms", len: self.unsaved_rooms.len(), max: 2 * seats + 10_000 },
            Table { name: "names", len: names, max: people },
            Table { name: "looks", len: self.looks.len(), max: people },
            Table { name: "rooms", len: self.rooms.len(), max: seats },
            Table { name: "room_names", len: self.room_names.len(), max: 2 * seats },
            Table { name: "ends", len: self.ends.len(), max: self.rooms.len() },
            Table { name: "watchers", len: self.watchers.len(), max: watches },
            // Each connection waits for one, and the answers for those that have gone come in time.
            Table { name: "under_way", len: self.under_way.len(), max: crate::books::PENDING_MAX },
            Table { name: "origins", len: self.origins.len(), max: links },
            Table { name: "whowas", len: self.past.len(), max: limits.whowas_max },
            Table {
                name: "log_messages",
                len: kept,
                max: self.rooms_and_people().saturating_mul(limits.log_messages_max),
            },
            Table { name: "log_bytes", len: bytes, max: limits.log_bytes_max },
            Table { name: "log_order", len: order, max: 2 * kept + crate::log::SPARE },
        ];
        tables.extend(self.books.tables(limits));
        tables
    }
    fn rooms_and_people(&self) -> usize {
        self.rooms.len() + self.users.len()
    }
    /// What does not fit.
    ///
    /// # Errors
    /// It, in words.
    pub(crate) fn audit(&self) -> Result<(), String> {
        if let Some(table) = self.tables().into_iter().find(|table| table.len > table.max) {
            return Err(format!("{table:?} is too long"));
        }
        for (who, user) in &self.users {
            self.audit_user(*who, user).map_err(|what| format!("{} ({who:?}): {what}", user.nick))?;
        }
        for (id, room) in &self.rooms {
            self.audit_room(*id, room).map_err(|what| format!("{} ({id:?}): {what}", room.name))?;
        }
        let links: usize = self.users.values().map(|user| user.clients.len()).sum();
        same("connections", &links, &self.clients.len())?;
        same("names", &self.users.len(), &self.log.sizes()[0])?;
        let looks: usize = self.looks.values().map(BTreeSet::len).sum();
        same("looks", &self.users.len(), &looks)?;
        // One that is about to be called otherwise has both names.
        let moves =
            |room: &&super::Room| room.moves_to.as_ref().is_some_and(|to| names::fold(to) != names::fold(&room.name));
        let moving = self.rooms.values().filter(moves).count();
        same("names of rooms", &(self.rooms.len() + moving), &self.room_names.len())?;
        let watches: usize = self.users.values().map(|user| user.watches.len()).sum();
        same("watches", &watches, &self.watchers.values().map(BTreeSet::len).sum())?;
        same("kept", &self.users.values().filter(|user| user.is_kept).count(), &self.kept.len())?;
        if let Some(origin) = self.origins.keys().find(|at| !self.clients.contains_key(at)) {
            return Err(format!("it is known where {origin:?} is from, who has gone"));
        }
        self.log.audit()
    }
    fn audit_user(&self, who: Who, user: &super::User) -> Result<(), String> {
        same("the owner of his nick", &Some(who), &self.log.owner(&names::fold(&user.nick)))?;
        if user.clients.is_empty() && !user.is_kept {
            return Err("he has no connection, and does not keep his seat".into());
        }
        for link in &user.clients {
            same("whose the connection is", &Some(&who), &self.clients.get(&link.at))?;
        }
        let rooms: BTreeSet<Topic> = user.rooms.iter().copied().collect();
        same("rooms, each once", &rooms.len(), &user.rooms.len())?;
        if let Some(id) = rooms.iter().find(|id| self.rooms.get(id).is_none_or(|room| !room.seats.contains_key(&who))) {
            return Err(format!("he has no seat in {id:?}"));
        }
        let limits = &self.limits;
        let is_bounded = user.rooms.len() <= limits.rooms_max
            && user.invites.len() <= limits.rooms_max
            && user.watches.len() <= limits.monitor_max
            && user.accepts.len() <= super::accepting::ACCEPTS_MAX
            && user.clients.len() <= super::accounts::LINKS_MAX;
        if is_bounded { Ok(()) } else { Err("a list of his is too long".into()) }
    }
    fn audit_room(&self, id: Topic, room: &super::Room) -> Result<(), String> {
        if room.seats.is_empty() {
            return Err("nobody is in it".into());
        }
        same("whose the name is", &Some(&id), &self.room_names.get(&names::fold(&room.name)))?;
        let seated = |who: &Who| self.users.get(who).filter(|user| user.rooms.contains(&id));
        if let Some(who) = room.seats.keys().find(|who| seated(who).is_none()) {
            return Err(format!("{who:?} has a seat, and is not in it"));
        }
        let kept = room.seats.keys().filter_map(seated).filter(|user| user.is_kept).count();
        same("who keep their seats", &kept, &room.kept)?;
        if room.slowed.len() > super::room::SLOWED_MAX || room.seats.keys().any(|who| room.slowed.has(*who)) {
            return Err("it remembers too many who have to wait, or one who is here".into());
        }
        let is_bounded =
            super::List::ALL.iter().all(|(list, _)| room.all_of(*list).len() <= self.limits.list_modes_max);
        if is_bounded { Ok(()) } else { Err("a list of it is too long".into()) }
    }
}

fn same<T: PartialEq + Debug>(what: &str, one: &T, other: &T) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}: {one:?} and {other:?}")) }
}
