//! MONITOR (IRCv3): who of those that are watched is here.
use super::Talk;
use sotong_irc::{Message, Numeric, mask, names, numeric};
use std::sync::Arc;

/// Bytes of names in one line.
const NAMES_BYTES_MAX: usize = 350;

impl Talk<'_, '_> {
    pub(super) fn monitor(&mut self, message: &Message<'_>) {
        let Some(what) = message.param(0) else { return self.needs_more("MONITOR") };
        match (what.to_ascii_uppercase().as_str(), message.param(1)) {
            ("+", Some(nicks)) => self.watch(nicks),
            ("-", Some(nicks)) => {
                for nick in nicks.split(',') {
                    self.hall.unwatch(self.client.who, nick);
                }
            }
            ("+" | "-", None) => self.needs_more("MONITOR"),
            ("C", _) => self.hall.unwatch_all(self.client.who),
            ("L", _) => {
                let watched = self.watched();
                self.tell_names(numeric::RPL_MONLIST, &watched);
                self.reply(numeric::RPL_ENDOFMONLIST, &[], "End of MONITOR list");
            }
            ("S", _) => {
                let watched = self.watched();
                self.tell_who_is_here(&watched);
            }
            _ => self.fail("MONITOR", "INVALID_PARAMS", "MONITOR takes +, -, C, L or S"),
        }
    }
    fn watch(&mut self, nicks: &str) {
        let most = self.client.chat.options().limits.monitor_max;
        let chars_max = self.client.chat.options().limits.nick_chars_max;
        let mut begun = Vec::new();
        let mut nicks = nicks.split(',').filter(|nick| !nick.is_empty());
        while let Some(nick) = nicks.next() {
            // What can be nobody's is not watched.
            if mask::is_mask(nick) || names::nick(nick, chars_max).is_err() {
                continue;
            }
            if !self.hall.watch(self.client.who, nick) {
                let rest: Vec<&str> = std::iter::once(nick).chain(nicks).collect();
                self.tell_who_is_here(&begun);
                return self.reply(numeric::ERR_MONLISTFULL, &[&most, &rest.join(",")], "Monitor list is full");
            }
            begun.push(nick.to_owned());
        }
        self.tell_who_is_here(&begun);
    }
    fn watched(&self) -> Vec<String> {
        let user = self.hall.user(self.client.who);
        user.map(|user| user.watches.values().map(ToString::to_string).collect()).unwrap_or_default()
    }
    fn tell_who_is_here(&mut self, nicks: &[String]) {
        let (mut here, mut gone) = (Vec::new(), Vec::new());
        for nick in nicks {
            match self.hall.find(nick) {
                Some((_, user)) => here.push(Arc::clone(&user.source).to_string()),
                None => gone.push(nick.clone()),
            }
        }
        self.tell_names(numeric::RPL_MONONLINE, &here);
        self.tell_names(numeric::RPL_MONOFFLINE, &gone);
    }
    fn tell_names(&mut self, number: Numeric, names: &[String]) {
        let mut line = String::new();
        for name in names {
            if !line.is_empty() && line.len() + name.len() > NAMES_BYTES_MAX {
                self.reply(number, &[], std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(',');
            }
            line.push_str(name);
        }
        if !line.is_empty() {
            self.reply(number, &[], line);
        }
    }
}
