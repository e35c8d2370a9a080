//! What a client is told when the options have been read anew: capabilities that have come and gone (IRCv3
//! cap-notify), and what is not as 005 has told.
use super::{Client, Stage, Talk, server::tokens};
use crate::{
    caps::Caps,
    news::{Mail, Reloaded},
    opers::Oper,
};
use sotong_irc::{Encoder, LINE_BYTES_MAX};
use sotong_session::Cx;
use std::sync::Arc;

impl Client {
    /// The options have changed. What is offered no more is turned off, whether or not the client wants to hear of it.
    pub(super) fn reloaded(&mut self, reloaded: &Reloaded, cx: &mut Cx<'_, Mail>) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        let Reloaded { before, now, demoted } = reloaded;
        let hears = self.caps.has(Caps::CAP_NOTIFY);
        let with_values = self.cap_version >= 302;
        let offers = |options| Caps::offers(options, with_values, self.is_secure);
        let (had, has) = (offers(before), offers(now));
        // A value that has changed is told as what is new; without values there is none to change.
        let new: Vec<String> = has.iter().filter(|offer| !had.contains(offer)).cloned().collect();
        let is_there = |offer: &str| has.iter().any(|other| name(other) == name(offer));
        let gone: Vec<String> =
            had.iter().filter(|offer| !is_there(offer)).map(|offer| name(offer).to_owned()).collect();
        for cap in gone.iter().filter_map(|gone| Caps::named(gone, before)) {
            self.caps.set(cap, false);
        }
        self.answers.begin(None);
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        if hears {
            // A policy of TLS is never taken back so: clients are to keep it (IRCv3 sts).
            let gone: Vec<String> = gone.into_iter().filter(|cap| cap != "sts").collect();
            talk.tell_caps("DEL", &gone);
            talk.tell_caps("NEW", &new);
        }
        if let Some(oper) = demoted.get(&talk.me()) {
            talk.demoted(oper);
        }
        if matches!(talk.client.stage, Stage::Here) {
            talk.tell_tokens(&changed(&tokens(before), &tokens(now)));
        }
        drop(hall);
        self.answers.end(cx.out);
    }
}

impl Talk<'_, '_> {
    /// He is no operator of the server any more, as he is told at each of his connections, and others once.
    fn demoted(&mut self, oper: &Oper) {
        let Some(user) = self.hall.user(self.me()).filter(|user| user.oper.is_none()) else { return };
        let (source, nick) = (Arc::clone(&user.source), Arc::clone(&user.nick));
        let is_first = user.clients.first().is_some_and(|link| link.at == self.cx.me);
        self.client.answers.write(self.cx.out, |line| {
            Encoder::new(line).source(source).word("MODE").word(nick).word("-o").end();
        });
        self.notice("You are no operator of this server any more: your entry in its configuration has changed");
        if is_first {
            let (hall, mut tell) = self.teller();
            hall.tell_demoted(oper, &mut tell);
        }
    }
    /// Capabilities that have come or gone, in as many lines as it takes: each says it all by itself.
    fn tell_caps(&mut self, what: &str, caps: &[String]) {
        let nick = self.nick();
        let beside = ": CAP   :\r\n".len() + self.client.chat.name.len() + nick.len() + what.len();
        let most = LINE_BYTES_MAX.saturating_sub(beside);
        let mut line = String::new();
        for cap in caps {
            if !line.is_empty() && line.len() + 1 + cap.len() > most {
                self.say(&[&"CAP", &nick, &what], Some(&line));
                line.clear();
            }
            line.extend([if line.is_empty() { "" } else { " " }, cap]);
        }
        if !line.is_empty() {
            self.say(&[&"CAP", &nick, &what], Some(&line));
        }
    }
}

/// What stands before the value.
fn name(offer: &str) -> &str {
    offer.split_once('=').map_or(offer, |(name, _)| name)
}

/// The tokens of 005 that are others than before; `-NAME` for those that are there no more.
fn changed(before: &[String], now: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|token| !now.iter().any(|other| name(other) == name(token)));
    let gone = gone.map(|token| format!("-{}", name(token)));
    gone.chain(now.iter().filter(|token| !before.contains(token)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn tokens_that_are_others() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(changed(&list("A=1 B C=x"), &list("A=2 B D")), ["-C", "A=2", "D"]);
        assert!(changed(&list("A=1 B"), &list("A=1 B")).is_empty());
    }
}
