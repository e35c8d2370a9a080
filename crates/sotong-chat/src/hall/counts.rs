//! What STATS counts.
use std::collections::BTreeMap;

/// What was done since the server began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Commands that there are, by name: how often each was given.
    commands: BTreeMap<Box<str>, u64>,
    /// Commands that there are not.
    pub(crate) unknown: u64,
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
