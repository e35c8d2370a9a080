//! RELAYMSG, NPC, NPCA, SCENE and RENAME.
use super::{Client, Talk, joining::LOOKS_TAKEN};
use crate::{
    hall::{Refusal, Words},
    news::{Mail, News, Told, Verb, What},
    opers::Privilege,
    options::cut,
};
use sotong_irc::{Message, names, numeric};
use sotong_session::{Close, Cx};
use std::sync::Arc;

/// What parts the name of another network from a nick there.
const SEPARATOR: char = '/';
/// Where those are from who are made up.
const STAGE: &str = "npc.fakeuser.invalid";
/// Bytes of a name that is made up.
const NAME_BYTES_MAX: usize = 64;

impl Talk<'_, '_> {
    /// `RELAYMSG room nick/network text`.
    pub(super) fn relay(&mut self, message: &Message<'_>) {
        let (Some(room), Some(nick), Some(text)) = (message.param(0), message.param(1), message.param(2)) else {
            return self.needs_more("RELAYMSG");
        };
        if !self.client.chat.options().relaymsg {
            return self.fail("RELAYMSG", "NOT_ENABLED", "Nobody speaks for others on this server");
        }
        let me = self.me();
        let Some(seen) = self.hall.room_for(me, room) else { return self.no_such_room(room) };
        let is_op = seen.rank(me).is_some_and(|rank| rank.is_at_least(crate::hall::Rank::OP));
        if !is_op && !self.hall.may(me, Privilege::Relay) {
            let text = "You must be an operator of the channel to speak for others";
            return self.fail_with("RELAYMSG", "PRIVS_NEEDED", &[&cut(room, 64)], text);
        }
        if !is_relayed(nick, self.client.chat.options().limits.nick_chars_max) {
            let text = "The nick of another network has a / in it, and no other sign";
            return self.fail_with("RELAYMSG", "INVALID_NICK", &[&cut(nick, NAME_BYTES_MAX)], text);
        }
        let own = self.nick();
        let source = format!("{nick}!relaymsg@{}", self.client.chat.name);
        let echo = self.client.caps.has(crate::caps::Caps::ECHO_MESSAGE);
        self.speak_for(room, source, text, (echo, Some(own)));
    }
    /// `NPC room name text`, `NPCA room name action`, `SCENE room text`.
    pub(super) fn roleplay(&mut self, command: &str, message: &Message<'_>) {
        let first = if command == "SCENE" { 1 } else { 2 };
        let words = message.params();
        if words.len() <= first {
            return self.needs_more(command);
        }
        let (room, text, own) = (words[0], words[first..].join(" "), self.nick());
        if !self.client.chat.options().roleplay {
            return self.reply(numeric::ERR_CANNOTSENDRP, &[&room], "Roleplay is off on this server");
        }
        match self.hall.is_stage(self.me(), room) {
            None => return self.no_such_room(room),
            Some(false) => {
                return self.reply(numeric::ERR_CANNOTSENDRP, &[&room], "Roleplay is off in this channel (+E)");
            }
            Some(true) => {}
        }
        let name = match command {
            "SCENE" => "=Scene=".to_owned(),
            _ => match names::nick(words[1], self.client.chat.options().limits.nick_chars_max) {
                Ok(name) => format!("*{name}*"),
                Err(why) => return self.reply(numeric::ERR_CANNOTSENDRP, &[&room], why),
            },
        };
        let text =
            if command == "NPCA" { format!("\u{1}ACTION {text} ({own})\u{1}") } else { format!("{text} ({own})") };
        // Who does it sees what others see, with echo-message or without.
        self.speak_for(room, format!("{name}!{own}@{STAGE}"), &text, (true, None));
    }
    fn speak_for(&mut self, room: &str, source: String, text: &str, (echo, relayed): (bool, Option<Arc<str>>)) {
        self.hall.now = self.cx.now;
        let words = Words { verb: Verb::Privmsg, text, lines: &[], tags: &[], echo };
        let (hall, mut tell) = self.teller();
        match hall.say_for(room, source.into(), words, relayed, &mut tell) {
            Ok(own) => self.client.answers.wait(usize::from(own)),
            Err(why) => self.refuse(why, room, room),
        }
    }

    /// `RENAME room name [reason]` (IRCv3 channel-rename).
    pub(super) fn rename_room(&mut self, message: &Message<'_>) {
        let (Some(room), Some(written)) = (message.param(0), message.param(1)) else {
            return self.needs_more("RENAME");
        };
        let Ok(name) = names::room(written, self.client.chat.options().limits.room_chars_max) else {
            let about: [&dyn std::fmt::Display; 2] = [&cut(room, 64), &cut(written, 64)];
            return self.fail_with("RENAME", "CANNOT_RENAME", &about, "That is no name of a channel");
        };
        let (hall, tell) = self.teller();
        match hall.retitle(room, &name, message.param(2).unwrap_or(""), &tell) {
            Ok(plan) => {
                let room = (*room).to_owned();
                self.accomplish(plan, move |talk, done| match done {
                    Ok(lines) => talk.client.answers.wait(lines),
                    Err(why) => {
                        talk.hall.stay(&room);
                        talk.cannot_store("RENAME", why);
                    }
                });
            }
            Err(Refusal::Moves) => {
                let about: [&dyn std::fmt::Display; 2] = [&room, &name];
                self.fail_with("RENAME", "CANNOT_RENAME", &about, "It is being renamed; try again");
            }
            Err(Refusal::NameInUse) => {
                let about: [&dyn std::fmt::Display; 2] = [&room, &name];
                self.fail_with("RENAME", "CHANNEL_NAME_IN_USE", &about, "There is a channel of that name");
            }
            Err(Refusal::LooksTaken) => {
                let about: [&dyn std::fmt::Display; 2] = [&room, &name];
                self.fail_with("RENAME", "CHANNEL_NAME_IN_USE", &about, LOOKS_TAKEN);
            }
            Err(why) => self.refuse(why, room, ""),
        }
    }
}

impl Client {
    /// A room is called otherwise, and this client does not know of such: it is told that it has gone from the one into the
    /// other (IRCv3 channel-rename).
    pub(super) fn moved(&mut self, mail: &Told, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let (What::Retitled { from, to, reason }, Some(room)) = (&mail.news.what, mail.room) else { return Ok(()) };
        let chat = Arc::clone(&self.chat);
        let hall = chat.hall();
        let Some(user) = hall.user(self.who) else { return Ok(()) };
        let (source, real, account) = (Arc::clone(&user.source), Arc::clone(&user.real), user.account.clone());
        drop(hall);
        let reason = Some(reason.as_ref()).filter(|reason| !reason.is_empty()).map(Into::into);
        let parted = What::Parted { room: Arc::clone(from), reason, stay: 0 };
        let joined = What::Joined { room: Arc::clone(to), real, stay: 0 };
        let made = |what| {
            let mut news = News::new(mail.news.place, None, Arc::clone(&source), mail.news.at, what);
            news.account.clone_from(&account);
            news
        };
        let (parted, joined) = (made(parted), made(joined));
        if mail.news.from == Some(cx.me) {
            let lines = [parted.line(self.caps).line(), joined.line(self.caps).line()].concat();
            self.answers.came(&lines, false, cx.out);
        } else {
            parted.line(self.caps).put(self.is_framed, cx.out);
            joined.line(self.caps).put(self.is_framed, cx.out);
        }
        self.enter(&[room], cx);
        self.leave_if_done(cx)
    }
}

/// A nick of another network: one that nobody here can have, for it has the separator in it.
fn is_relayed(nick: &str, chars_max: usize) -> bool {
    let is_sign = |c: char| matches!(c, '!' | '@' | ',' | '*' | '?' | ':' | '#' | '.' | '\\') || names::is_invisible(c);
    let (before, after) = nick.split_once(SEPARATOR).unwrap_or((nick, ""));
    let is_whole = !before.is_empty() && !after.is_empty() && !nick.starts_with(['~', '&', '%', '+', '$', '=', '-']);
    is_whole && nick.chars().count() <= 2 * chars_max && !nick.contains(is_sign) && !nick.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicks_of_other_networks() {
        for (nick, is) in [
            ("smt/discord", true),
            ("민수/matrix", true),
            ("regular", false),
            ("/discord", false),
            ("smt/", false),
            ("in!valid/discord", false),
            ("@smt/discord", false),
            ("a b/c", false),
        ] {
            assert_eq!(is_relayed(nick, 32), is, "{nick}");
        }
        assert!(!is_relayed(&format!("{}/x", "a".repeat(80)), 32));
    }
}
