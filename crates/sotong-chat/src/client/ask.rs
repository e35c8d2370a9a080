//! AWAY, SETNAME, USERHOST and ISON.
use super::{Stage, Talk};
use crate::{
    hall::{Attention, NotAccepted},
    options::cut,
};
use sotong_irc::{Message, numeric};

/// Nicks of one USERHOST.
const USERHOST_MAX: usize = 5;

impl Talk<'_, '_> {
    pub(super) fn away(&mut self, message: &Message<'_>) {
        let text = message.param(0).map(|text| cut(text, self.client.chat.options().limits.away_bytes_max));
        let attention = match text {
            None => Attention::Here,
            Some("*") => Attention::Unattended,
            Some(text) => Attention::Away(text.into()),
        };
        // Who says so before he has registered (IRCv3 draft/pre-away) comes like that.
        if let Stage::New(newcomer) = &mut self.client.stage {
            newcomer.attention = attention;
        } else {
            let (hall, mut tell) = self.teller();
            hall.set_attention(attention, &mut tell);
        }
        match text {
            Some(_) => self.reply(numeric::RPL_NOWAWAY, &[], "You have been marked as being away"),
            None => self.reply(numeric::RPL_UNAWAY, &[], "You are no longer marked as being away"),
        }
    }
    pub(super) fn setname(&mut self, message: &Message<'_>) {
        let Some(text) = message.param(0) else { return self.needs_more("SETNAME") };
        if text.len() > self.client.chat.options().limits.real_bytes_max {
            return self.fail("SETNAME", "INVALID_REALNAME", "That name is too long");
        }
        let (hall, mut tell) = self.teller();
        hall.set_real(text, &mut tell);
        self.client.answers.wait(1);
    }
    /// ACCEPT: who may speak to him alone, though he hears only those who are logged in. `*` lists them, `-nick` takes one off.
    pub(super) fn accept(&mut self, message: &Message<'_>) {
        let Some(nicks) = message.param(0) else { return self.needs_more("ACCEPT") };
        let me = self.me();
        if nicks == "*" {
            let accepts: Vec<String> =
                self.hall.user(me).map(|user| user.accepts.iter().cloned().collect()).unwrap_or_default();
            for nick in accepts {
                self.reply_words(numeric::RPL_ACCEPTLIST, &[&nick]);
            }
            return self.reply(numeric::RPL_ENDOFACCEPT, &[], "End of ACCEPT list");
        }
        for word in nicks.split(',').filter(|word| !word.is_empty()) {
            let (nick, on) = word.strip_prefix('-').map_or((word, true), |nick| (nick, false));
            if on && self.hall.find(nick).is_none() {
                self.no_such_nick(nick);
                continue;
            }
            let (number, text) = match self.hall.accept(me, nick, on) {
                Ok(()) => continue,
                Err(NotAccepted::Full) => (numeric::ERR_ACCEPTFULL, "The list is full"),
                Err(NotAccepted::Known) => (numeric::ERR_ACCEPTEXIST, "is on the list already"),
                Err(NotAccepted::Unknown) => (numeric::ERR_ACCEPTNOT, "is not on the list"),
            };
            self.reply(number, &[&nick], text);
        }
    }
    pub(super) fn userhost(&mut self, message: &Message<'_>) {
        if message.param(0).is_none() {
            return self.needs_more("USERHOST");
        }
        let asked = message.params().iter().take(USERHOST_MAX).filter_map(|nick| self.hall.find(nick));
        let told: Vec<String> = asked
            .map(|(_, user)| {
                let away = if user.away.is_some() { '-' } else { '+' };
                format!("{}={away}{}@{}", user.nick, user.user, user.host)
            })
            .collect();
        self.reply(numeric::RPL_USERHOST, &[], told.join(" "));
    }
    pub(super) fn ison(&mut self, message: &Message<'_>) {
        if message.param(0).is_none() {
            return self.needs_more("ISON");
        }
        let asked = message.params().iter().flat_map(|nicks| nicks.split(' ')).filter(|nick| !nick.is_empty());
        let here: Vec<String> = asked.filter_map(|nick| Some(self.hall.find(nick)?.1.nick.to_string())).collect();
        self.reply(numeric::RPL_ISON, &[], here.join(" "));
    }
}
