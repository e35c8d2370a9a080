//! WHO, WHOIS and WHOWAS.
use super::{Talk, metadata::WHOIS_KEYS, pages::Page};
use crate::{
    caps::Caps,
    hall::{Hall, PersonModes, Rank, Room, User, Who},
    news::time_tag,
    opers::Privilege,
};
use sotong_irc::{Encoder, Message, numeric};
use std::sync::Arc;

/// What WHOX asks for: letters of fields, and a token that comes back.
#[derive(Debug)]
pub(super) struct Fields {
    letters: String,
    token: Box<str>,
}

/// The fields there are, in the order in which they are told.
const FIELDS: &str = "tcuihsnfdlaor";

impl Fields {
    fn read(written: &str) -> Option<Self> {
        let (letters, token) = written.strip_prefix('%')?.split_once(',').unwrap_or((&written[1..], ""));
        let asked = |letter: &char| letters.contains(*letter);
        // A token is a number of up to three digits.
        let is_token = (1..=3).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_digit());
        let token = if is_token { token } else { "0" };
        Some(Self { letters: FIELDS.chars().filter(asked).collect(), token: token.into() })
    }
}

/// One person, as 352 tells, or as WHOX asks for.
pub(super) fn who_line(
    hall: &Hall,
    (me, caps): (Who, Caps),
    nick: &str,
    (place, user): (Option<(&Room, Rank)>, &User),
    fields: Option<&Fields>,
    lines: &mut Vec<u8>,
) {
    let name = place.map_or("*", |(room, _)| &room.name);
    let away = if user.away.is_some() { "G" } else { "H" };
    let signs = place.map(|(_, rank)| rank.signs(caps.has(Caps::MULTI_PREFIX))).unwrap_or_default();
    let oper = if user.oper.is_some() { "*" } else { "" };
    let bot = if user.modes.has(PersonModes::BOT) { "B" } else { "" };
    let flags = format!("{away}{oper}{signs}{bot}");
    let Some(fields) = fields else {
        let encoder = Encoder::new(lines).source(&hall.server).word(numeric::RPL_WHOREPLY).word(nick);
        let encoder = encoder.word(name).word(&user.user).word(&user.host).word(&hall.server);
        return encoder.word(&user.nick).word(flags).text(format_args!("0 {}", user.real)).end();
    };
    let own = hall.user(me).is_some_and(|own| own.nick == user.nick);
    let mut encoder = Encoder::new(lines).source(&hall.server).word(numeric::RPL_WHOSPCRPL).word(nick);
    for letter in fields.letters.chars() {
        encoder = match letter {
            't' => encoder.word(&fields.token),
            'c' => encoder.word(name),
            'u' => encoder.word(&user.user),
            // Where he is really from is nobody's business.
            'i' => encoder.word("255.255.255.255"),
            'h' => encoder.word(&user.host),
            's' => encoder.word(&hall.server),
            'n' => encoder.word(&user.nick),
            'f' => encoder.word(&flags),
            'd' => encoder.word("0"),
            'a' => encoder.word(user.account.as_deref().unwrap_or("0")),
            'l' => encoder.word(if own { 0 } else { user.idle_seconds(hall.now) }),
            'o' => encoder.word("n/a"),
            _ => encoder.text(&user.real),
        };
    }
    encoder.end();
}

impl Talk<'_, '_> {
    pub(super) fn who(&mut self, message: &Message<'_>) {
        let Some(mask) = message.param(0) else { return self.needs_more("WHO") };
        let fields = message.param(1).and_then(Fields::read);
        self.hall.now = self.cx.now;
        let opers = message.param(1).is_some_and(|word| word.eq_ignore_ascii_case("o"));
        let nick = self.nick();
        if mask.starts_with('#') {
            let seen = self.hall.room_for(self.client.who, mask).map(|room| room.id);
            return match seen {
                Some(room) => self.client.answers.page(Page::who_room(room, mask, (fields, opers), nick)),
                None => self.reply(numeric::RPL_ENDOFWHO, &[&mask], "End of WHO list"),
            };
        }
        if let Some((_, user)) = self.hall.find(mask) {
            // Whoever knows the nick may ask for it.
            let mut line = Vec::new();
            if !opers || user.oper.is_some() {
                who_line(
                    self.hall,
                    (self.client.who, self.client.caps),
                    &nick,
                    (None, user),
                    fields.as_ref(),
                    &mut line,
                );
                self.client.answers.write(self.cx.out, |out| out.extend_from_slice(&line));
            }
            return self.reply(numeric::RPL_ENDOFWHO, &[&mask], "End of WHO list");
        }
        self.client.answers.page(Page::who(mask, (fields, opers), nick));
    }

    pub(super) fn whois(&mut self, message: &Message<'_>) {
        let asked = message.param(1).or(message.param(0)).and_then(|nicks| nicks.split(',').next());
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
            return self.reply(numeric::ERR_NONICKNAMEGIVEN, &[], "No nickname given");
        };
        let Some((who, user)) = self.hall.find(asked) else {
            self.no_such_nick(asked);
            return self.reply(numeric::RPL_ENDOFWHOIS, &[&asked], "End of WHOIS list");
        };
        let me = self.client.who;
        let (nick, name, host, real) = (user.nick.clone(), user.user.clone(), user.host.clone(), user.real.clone());
        let (oper, is_bot) = (user.oper.clone(), user.modes.has(PersonModes::BOT));
        let sees = who == me || self.hall.may(me, Privilege::See);
        let origins: Vec<_> = self.hall.origins_of(who).filter(|_| sees).cloned().collect();
        let letters = format!("+{}{}", user.modes.letters(), if oper.is_some() { "o" } else { "" });
        let (away, is_secure, account) = (user.away.clone(), user.is_secure, user.account.clone());
        let idle = self.cx.now.since(user.spoke).as_secs();
        let since = user.signed_on.0.div_euclid(1000);
        let is_hidden = user.is_invisible() && who != me;
        let multi = self.client.caps.has(Caps::MULTI_PREFIX);
        let rooms = user.rooms.iter().filter_map(|id| self.hall.room_by(*id));
        // A secret room is told of to those in it; an invisible person's rooms to those who share them.
        let is_hidden = is_hidden && !sees;
        let rooms = rooms.filter(|room| who == me || room.shows(me, who));
        let seen = rooms.filter(|room| room.seats.contains_key(&me) || !is_hidden && self.hall.sees_room(me, room));
        let rooms: Vec<String> =
            seen.map(|room| room.rank(who).unwrap_or_default().signs(multi) + &room.name).collect();
        let server = Arc::clone(&self.hall.server);
        let description = self.client.chat.options().described().to_owned();

        self.reply(numeric::RPL_WHOISUSER, &[&nick, &name, &host, &"*"], real);
        for rooms in wrapped(&rooms) {
            self.reply(numeric::RPL_WHOISCHANNELS, &[&nick], rooms);
        }
        self.reply(numeric::RPL_WHOISSERVER, &[&nick, &server], description);
        if let Some(account) = account {
            self.reply(numeric::RPL_WHOISACCOUNT, &[&nick, &account], "is logged in as");
        }
        if oper.is_some() {
            self.reply(numeric::RPL_WHOISOPERATOR, &[&nick], "is an IRC operator");
        }
        if is_bot {
            self.reply(numeric::RPL_WHOISBOT, &[&nick], "is a bot");
        }
        for origin in origins {
            let place = format!("{name}@{}", origin.name.as_deref().unwrap_or(&host));
            self.reply(numeric::RPL_WHOISACTUALLY, &[&nick, &place, &origin.ip], "Actual user@host, Actual IP");
        }
        if sees && who != me {
            self.reply(numeric::RPL_WHOISMODES, &[&nick], format_args!("is using modes {letters}"));
        }
        if is_secure {
            self.reply(numeric::RPL_WHOISSECURE, &[&nick], "is using a secure connection");
        }
        if self.client.caps.has_metadata() {
            let keys = self.hall.user(who).map(|user| user.keys.clone()).unwrap_or_default();
            for (key, value) in WHOIS_KEYS.iter().filter_map(|key| Some((key, keys.get(key)?))) {
                self.reply(numeric::RPL_WHOISKEYVALUE, &[&nick, key, &"*"], value);
            }
        }
        if let Some(away) = away {
            self.reply(numeric::RPL_AWAY, &[&nick], away);
        }
        self.reply(numeric::RPL_WHOISIDLE, &[&nick, &idle, &since], "seconds idle, signon time");
        self.reply(numeric::RPL_ENDOFWHOIS, &[&nick], "End of WHOIS list");
    }

    pub(super) fn whowas(&mut self, message: &Message<'_>) {
        let Some(asked) = message.param(0) else {
            return self.reply(numeric::ERR_NONICKNAMEGIVEN, &[], "No nickname given");
        };
        let most = message.param(1).and_then(|count| count.parse::<usize>().ok()).filter(|count| *count > 0);
        let past = self.hall.past(asked).take(most.unwrap_or(usize::MAX));
        let past: Vec<_> = past
            .map(|past| (past.nick.clone(), past.user.clone(), past.host.clone(), past.real.clone(), past.until))
            .collect();
        if past.is_empty() {
            self.reply(numeric::ERR_WASNOSUCHNICK, &[&asked], "There was no such nickname");
        }
        let server = Arc::clone(&self.hall.server);
        for (nick, user, host, real, until) in past {
            self.reply(numeric::RPL_WHOWASUSER, &[&nick, &user, &host, &"*"], real);
            self.reply(numeric::RPL_WHOISSERVER, &[&nick, &server], time_tag(until));
        }
        self.reply(numeric::RPL_ENDOFWHOWAS, &[&asked], "End of WHOWAS");
    }
}

/// Words in lines of about 300 bytes.
fn wrapped(words: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut().filter(|line| line.len() + word.len() < 300) {
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.clone()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_their_order() {
        let fields = Fields::read("%nuht,42").expect("fields");
        assert_eq!((fields.letters.as_str(), &*fields.token), ("tuhn", "42"));
        let fields = Fields::read("%zn,abcd").expect("fields");
        assert_eq!((fields.letters.as_str(), &*fields.token), ("n", "0"));
        assert!(Fields::read("o").is_none());
    }
}
