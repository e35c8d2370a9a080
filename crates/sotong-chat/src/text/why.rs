//! Why somebody with a terminal could not do a thing: in words, where a client is told a number.
use crate::hall::{Flag, Refusal, Room};

/// Why he could not go into a room.
pub(super) fn not_let_in(why: Refusal) -> &'static str {
    match why {
        Refusal::BadKey => "it has a key",
        Refusal::InviteOnly => "only those who are asked may come in",
        Refusal::Banned => "you are kept out",
        Refusal::Full => "it is full",
        Refusal::NeedsAccount => "only those who are logged in may come in, which takes an IRC client",
        Refusal::TooManyRooms => "you are in as many rooms as one may be",
        Refusal::LooksTaken => "its name looks like that of another room",
        _ => "there is no such room",
    }
}

/// Why what he has said to `target` was not sent, or `has_begun` to be.
pub(super) fn not_sent(why: Refusal, target: &str, room: Option<&Room>, has_begun: bool) -> String {
    let what = if has_begun { "the rest was not sent" } else { "that was not sent" };
    let why = match why {
        Refusal::NoSuchNick => return format!("* Nobody is called {target}."),
        Refusal::TheyNeedAccount => {
            return format!(
                "* {target} hears privately only those who are logged in, which takes an IRC client: {what}."
            );
        }
        Refusal::NoSuchRoom | Refusal::NotIn => "There is no such room",
        Refusal::AccountToSpeak => "Only those who are logged in may speak here, which takes an IRC client",
        Refusal::Filtered => "There is a word or a link in it that is not let through here",
        Refusal::TooSoon(wait) => {
            let seconds = wait.as_millis().div_ceil(1000);
            return format!("* People speak slowly here, and you may again in {seconds} s: {what}.");
        }
        Refusal::CannotSpeak if room.is_some_and(|room| room.has(Flag::Moderated)) => {
            "Only those who have been given a voice may speak here"
        }
        Refusal::CannotSpeak => "You are silenced here",
        _ => "You cannot speak here now",
    };
    format!("* {why}: {what}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_of_a_long_line_is_told() {
        let why = Refusal::TooSoon(std::time::Duration::from_millis(4001));
        assert_eq!(
            not_sent(why, "#a", None, true),
            "* People speak slowly here, and you may again in 5 s: the rest was not sent."
        );
        assert_eq!(not_sent(Refusal::CannotSpeak, "#a", None, false), "* You are silenced here: that was not sent.");
    }
}
