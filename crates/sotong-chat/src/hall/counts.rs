//! What STATS and LUSERS count.
use super::{Hall, User, Who};
use std::collections::BTreeMap;

/// What was done since the server began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Commands that there are, by name: how often each was given.
    commands: BTreeMap<Box<str>, u64>,
    /// Commands that there are not.
    pub(crate) unknown: u64,
    /// Rooms that were not kept for those who are always on in them, for there was no place for them.
    pub(crate) not_kept: u64,
    /// Connections that registered.
    pub(crate) registered: u64,
}

impl Counts {
    /// One command more. The names are those of a table, so there are as many as that has.
    pub(crate) fn command(&mut self, name: &str) {
        match self.commands.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.commands.insert(name.into(), 1)),
        }
    }
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&str, u64)> {
        self.commands.iter().map(|(name, count)| (&**name, *count))
    }
}

/// How many of those who are here are so. LUSERS is told to all who come: nobody is looked at for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) invisible: usize,
    pub(crate) opers: usize,
}

impl Tally {
    fn add(&mut self, user: &User) {
        self.invisible += usize::from(user.is_invisible());
        self.opers += usize::from(user.oper.is_some());
    }
    fn take_away(&mut self, user: &User) {
        self.invisible -= usize::from(user.is_invisible());
        self.opers -= usize::from(user.oper.is_some());
    }
}

impl Hall {
    /// Takes somebody in.
    pub(super) fn admit(&mut self, who: Who, user: User) {
        self.tally.add(&user);
        self.users.insert(who, user);
        self.users_most = self.users_most.max(self.users.len());
    }
    /// Lets somebody out.
    pub(super) fn let_out(&mut self, who: Who) -> Option<User> {
        let user = self.users.remove(&who)?;
        self.tally.take_away(&user);
        Some(user)
    }
    /// Changes what is counted of somebody: his modes, and whether he is an operator. Nothing else changes these.
    pub(crate) fn alter<R>(&mut self, who: Who, change: impl FnOnce(&mut User) -> R) -> Option<R> {
        let user = self.users.get_mut(&who)?;
        self.tally.take_away(user);
        let done = change(user);
        self.tally.add(user);
        Some(done)
    }
    pub(crate) fn tally(&self) -> Tally {
        if cfg!(debug_assertions) {
            let mut counted = Tally::default();
            self.users.values().for_each(|user| counted.add(user));
            debug_assert_eq!(self.tally, counted, "all changes are counted");
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let mut counts = Counts::default();
        counts.command("JOIN");
        counts.command("JOIN");
        counts.command("AWAY");
        assert_eq!(counts.commands().collect::<Vec<_>>(), [("AWAY", 1), ("JOIN", 2)]);
    }
}
