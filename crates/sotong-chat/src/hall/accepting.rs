//! Whom somebody hears privately who does not hear everybody (user mode R).
use super::{Hall, PersonModes, Who};
use crate::opers::Privilege;
use sotong_irc::names;

/// Why a nick is not taken onto a list, or off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAccepted {
    Full,
    Known,
    Unknown,
}

/// Nicks on one list.
pub(super) const ACCEPTS_MAX: usize = 100;

impl Hall {
    /// Whether `whom` hears what `who` says to him alone.
    pub(super) fn hears_privately(&self, whom: Who, who: Who) -> bool {
        let (Some(other), Some(own)) = (self.user(whom), self.user(who)) else { return false };
        !other.modes.has(PersonModes::ACCOUNTS_ONLY)
            || own.account.is_some()
            || other.accepts.contains(&names::fold(&own.nick))
            || self.may(who, Privilege::Kill)
    }
    /// Whoever is spoken to may answer.
    pub(super) fn accept_answers(&mut self, me: Who, nick: &str) {
        if let Some(user) = self.user_mut(me).filter(|user| user.modes.has(PersonModes::ACCOUNTS_ONLY)) {
            if user.accepts.len() >= ACCEPTS_MAX {
                user.accepts.pop_first();
            }
            user.accepts.insert(names::fold(nick));
        }
    }
    /// Puts a nick onto somebody's list, or takes it off.
    pub(crate) fn accept(&mut self, me: Who, nick: &str, on: bool) -> Result<(), NotAccepted> {
        let Some(user) = self.user_mut(me) else { return Err(NotAccepted::Unknown) };
        let key = names::fold(nick);
        match (on, user.accepts.contains(&key)) {
            (true, true) => Err(NotAccepted::Known),
            (true, false) if user.accepts.len() >= ACCEPTS_MAX => Err(NotAccepted::Full),
            (true, false) => {
                user.accepts.insert(key);
                Ok(())
            }
            (false, true) => {
                user.accepts.remove(&key);
                Ok(())
            }
            (false, false) => Err(NotAccepted::Unknown),
        }
    }
}
