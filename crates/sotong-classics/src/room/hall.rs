//! Who is here, and under which name: the one owner of both.
use super::Name;
use sotong_session::{Address, Map};

/// The room's names and members: a state machine that takes commands in one order and answers each with its effect.
///
/// No two members have equal names, and there are never more than `members_max`. Memory: a name of at most 128 bytes and two
/// map entries a member.
#[derive(Debug)]
pub struct Hall {
    members_max: usize,
    members: Map<Address, Name>,
    /// Whose each name is, by [`Name::key`].
    taken: Map<String, Address>,
}

/// What somebody wants of the hall.
#[derive(Clone, Debug)]
pub enum Command {
    /// To come in under a name.
    Join(Name),
    /// To have another name.
    Rename(Name),
    /// To go.
    Leave,
}

/// What a command changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has come in.
    Joined {
        /// Its name.
        name: Name,
        /// Those who were here before.
        others: Roll,
    },
    /// It has another name.
    Renamed {
        /// Its name before.
        from: Name,
        /// Its name from now on.
        to: Name,
    },
    /// It has gone.
    Left {
        /// The name that is free again.
        name: Name,
    },
}

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another member has an equal name.
    #[error("That name is taken")]
    Taken,
    /// It is its name already, to the letter.
    #[error("That is your name already")]
    Same,
    /// There are `members_max` members.
    #[error("The room is full")]
    Full,
    /// It is a member already.
    #[error("You are here already")]
    Here,
    /// It is no member.
    #[error("You are not here")]
    NotHere,
}

/// Names of members, in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    /// The first 100 of them: who asks in a full room is not sent all.
    pub names: Vec<Name>,
    /// How many there are in all.
    pub count: usize,
}

const ROLL_NAMES_MAX: usize = 100;

impl Hall {
    /// An empty hall.
    pub fn new(members_max: usize) -> Self {
        Self { members_max, members: Map::new(), taken: Map::new() }
    }

    /// Takes a command of `who`.
    ///
    /// # Errors
    /// The [`Refusal`] says why nothing has changed.
    pub fn apply(&mut self, who: Address, command: Command) -> Result<Effect, Refusal> {
        match command {
            Command::Join(name) => self.join(who, name),
            Command::Rename(name) => self.rename(who, name),
            Command::Leave => self.leave(who),
        }
    }
    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }
    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
    /// Whether nobody more may come.
    pub fn is_full(&self) -> bool {
        self.members.len() >= self.members_max
    }
    /// The name of `who`.
    pub fn name(&self, who: Address) -> Option<&Name> {
        self.members.get(&who)
    }
    /// Who is here, but for one.
    pub fn roll(&self, except: Option<Address>) -> Roll {
        let others = self.taken.values().filter(|who| Some(**who) != except);
        let names = others.filter_map(|who| self.members.get(who)).take(ROLL_NAMES_MAX).cloned().collect();
        let count = self.len() - usize::from(except.is_some_and(|who| self.members.contains_key(&who)));
        Roll { names, count }
    }

    fn join(&mut self, who: Address, name: Name) -> Result<Effect, Refusal> {
        if self.members.contains_key(&who) {
            return Err(Refusal::Here);
        }
        if self.is_full() {
            return Err(Refusal::Full);
        }
        let key = name.key();
        if self.taken.contains_key(&key) {
            return Err(Refusal::Taken);
        }
        self.taken.insert(key, who);
        self.members.insert(who, name.clone());
        Ok(Effect::Joined { name, others: self.roll(Some(who)) })
    }
    fn rename(&mut self, who: Address, to: Name) -> Result<Effect, Refusal> {
        let from = self.members.get(&who).ok_or(Refusal::NotHere)?.clone();
        if from.as_str() == to.as_str() {
            return Err(Refusal::Same);
        }
        let key = to.key();
        if self.taken.get(&key).is_some_and(|owner| *owner != who) {
            return Err(Refusal::Taken);
        }
        self.taken.remove(&from.key());
        self.taken.insert(key, who);
        self.members.insert(who, to.clone());
        Ok(Effect::Renamed { from, to })
    }
    fn leave(&mut self, who: Address) -> Result<Effect, Refusal> {
        let name = self.members.remove(&who).ok_or(Refusal::NotHere)?;
        self.taken.remove(&name.key());
        Ok(Effect::Left { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn who(slot: u32) -> Address {
        Address { shard: 0, slot, turn: 0 }
    }
    fn name(typed: &str) -> Name {
        Name::new(typed).expect("a name")
    }

    #[test]
    fn names_are_free_again_behind_their_owner() {
        let mut hall = Hall::new(2);
        let joined = hall.apply(who(1), Command::Join(name("Bob")));
        assert_eq!(joined, Ok(Effect::Joined { name: name("Bob"), others: Roll { names: vec![], count: 0 } }));
        assert_eq!(hall.apply(who(1), Command::Join(name("Rob"))), Err(Refusal::Here));
        assert_eq!(hall.apply(who(2), Command::Join(name("bob"))), Err(Refusal::Taken));
        assert_eq!(hall.apply(who(1), Command::Rename(name("Bob"))), Err(Refusal::Same));
        let cased = hall.apply(who(1), Command::Rename(name("BOB")));
        assert_eq!(cased, Ok(Effect::Renamed { from: name("Bob"), to: name("BOB") }));
        assert_eq!(hall.name(who(1)).map(Name::as_str), Some("BOB"));
        assert!(hall.apply(who(1), Command::Rename(name("민수"))).is_ok());
        assert!(hall.apply(who(2), Command::Join(name("bob"))).is_ok());
        assert_eq!(hall.apply(who(3), Command::Join(name("third"))), Err(Refusal::Full));
        assert_eq!(hall.apply(who(3), Command::Leave), Err(Refusal::NotHere));
        assert_eq!(hall.apply(who(3), Command::Rename(name("x"))), Err(Refusal::NotHere));
        assert_eq!(hall.apply(who(1), Command::Leave), Ok(Effect::Left { name: name("민수") }));
        assert!(hall.apply(who(3), Command::Join(name("민수"))).is_ok());
        assert_eq!(hall.roll(Some(who(3))), Roll { names: vec![name("bob")], count: 1 });
    }

    #[test]
    fn a_long_roll_is_cut_and_counted() {
        let mut hall = Hall::new(4096);
        for slot in 0..4096 {
            assert!(hall.apply(who(slot), Command::Join(name(&format!("n{slot:04}")))).is_ok());
        }
        let roll = hall.roll(Some(who(0)));
        assert_eq!((roll.names.len(), roll.count), (100, 4095));
        assert_eq!(roll.names[0], name("n0001"));
    }

    fn commands() -> impl Strategy<Value = Vec<(u32, Command)>> {
        let names = prop_oneof!["[abAB]{1,2}", Just("민수".to_owned()), Just("영희".to_owned())];
        let command = prop_oneof![
            3 => names.clone().prop_map(|typed| Command::Join(name(&typed))),
            2 => names.prop_map(|typed| Command::Rename(name(&typed))),
            2 => Just(Command::Leave),
        ];
        proptest::collection::vec((0u32..6, command), 0..100)
    }

    proptest! {
        /// Whoever follows the effects in order knows exactly what the hall knows.
        #[test]
        fn effects_tell_everything(commands in commands(), members_max in 1usize..6) {
            let mut hall = Hall::new(members_max);
            let mut followed: Map<u32, Name> = Map::new();
            let (mut joins, mut leaves) = (0, 0);
            for (slot, command) in commands {
                let before = hall.roll(None);
                match hall.apply(who(slot), command) {
                    Ok(Effect::Joined { name, others }) => {
                        prop_assert_eq!(others, before);
                        prop_assert!(followed.insert(slot, name).is_none());
                        joins += 1;
                    }
                    Ok(Effect::Renamed { from, to }) => {
                        let old = followed.insert(slot, to);
                        prop_assert_eq!(old.as_ref().map(Name::as_str), Some(from.as_str()));
                    }
                    Ok(Effect::Left { name }) => {
                        let old = followed.remove(&slot);
                        prop_assert_eq!(old.as_ref().map(Name::as_str), Some(name.as_str()));
                        leaves += 1;
                    }
                    Err(_) => prop_assert_eq!(hall.roll(None), before),
                }
                let keys: BTreeSet<String> = followed.values().map(Name::key).collect();
                prop_assert_eq!(keys.len(), followed.len(), "no two equal names");
                prop_assert!(followed.len() <= members_max);
                prop_assert_eq!(hall.len(), followed.len());
                prop_assert_eq!(joins - leaves, followed.len());
                for (slot, name) in &followed {
                    prop_assert_eq!(hall.name(who(*slot)).map(Name::as_str), Some(name.as_str()));
                }
            }
            for slot in followed.keys() {
                prop_assert!(hall.apply(who(*slot), Command::Leave).is_ok());
            }
            prop_assert!(hall.is_empty() && hall.taken.is_empty());
        }
    }
}
