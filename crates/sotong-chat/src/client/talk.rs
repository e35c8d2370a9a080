//! PRIVMSG, NOTICE and TAGMSG.
use super::{Talk, services::Servant};
use crate::{
    caps::Caps,
    hall::{Refusal, Words, ranked},
    news::Verb,
};
use sotong_irc::{Message, is_tag_key, names, numeric};
use std::collections::BTreeSet;

impl Talk<'_, '_> {
    pub(super) fn speak(&mut self, command: &str, message: &Message<'_>) {
        let verb = match command {
            "PRIVMSG" => Verb::Privmsg,
            "NOTICE" => Verb::Notice,
            _ => Verb::Tagmsg,
        };
        // A notice is never answered.
        let is_silent = verb == Verb::Notice;
        let Some(targets) = message.param(0) else {
            if !is_silent {
                self.reply(numeric::ERR_NORECIPIENT, &[], format_args!("No recipient given ({command})"));
            }
            return;
        };
        let text = if verb == Verb::Tagmsg { "" } else { message.param(1).unwrap_or("") };
        if text.is_empty() && verb != Verb::Tagmsg {
            if !is_silent {
                self.reply(numeric::ERR_NOTEXTTOSEND, &[], "No text to send");
            }
            return;
        }
        let tags: Vec<(Box<str>, Box<str>)> = if self.client.caps.has(Caps::MESSAGE_TAGS) {
            let own = message.tags.iter().filter(|tag| tag.key.starts_with('+') && is_tag_key(tag.key));
            own.map(|tag| (tag.key.into(), tag.value().into())).collect()
        } else {
            Vec::new()
        };
        if tags.is_empty() && verb == Verb::Tagmsg {
            return;
        }
        let echo = self.client.caps.has(Caps::ECHO_MESSAGE);
        let words = Words { verb, text, lines: &[], tags: &tags, echo };
        // Each once, however often and however it is written.
        let mut known = BTreeSet::new();
        let targets = targets.split(',').filter(|target| !target.is_empty() && known.insert(names::fold(target)));
        let targets: Vec<&str> = targets.collect();
        if targets.len() > self.client.chat.options().limits.targets_max {
            // Nobody has got it, so nobody answers it but us: whoever sends it has to know.
            return self.reply(numeric::ERR_TOOMANYTARGETS, &[&targets[0]], "Too many targets");
        }
        let now = self.cx.now;
        if let Some(user) = self.hall.user_mut(self.client.who) {
            user.spoke = now;
        }
        for target in targets {
            self.speak_to(target, words, is_silent);
        }
    }
    pub(super) fn speak_to(&mut self, target: &str, words: Words<'_>, is_silent: bool) {
        self.hall.now = self.cx.now;
        if let Some(servant) = Servant::called(target) {
            // It answers nothing that needs no answer.
            if words.verb == Verb::Privmsg {
                self.serve(servant, words.text);
            }
            return;
        }
        let is_room = ranked(target).1.starts_with('#');
        let (hall, mut tell) = self.teller();
        if is_room {
            match hall.say_in_room(target, words, &mut tell) {
                Ok(comes_back) => self.client.answers.wait(usize::from(comes_back)),
                Err(_) if is_silent => {}
                Err(why) => self.refuse(why, ranked(target).1, target),
            }
            return;
        }
        match hall.say_to(target, words, &mut tell) {
            Ok((away, own)) => {
                // Of the two the echo is the answer.
                self.client.answers.wait(usize::from(own.echo));
                self.client.answers.wait_bare(usize::from(own.heard));
                if let Some(away) = away.filter(|_| words.verb == Verb::Privmsg) {
                    self.reply(numeric::RPL_AWAY, &[&target], away);
                }
            }
            Err(_) if is_silent => {}
            Err(Refusal::NoSuchNick) => self.no_such_nick(target),
            Err(why) => self.refuse(why, target, target),
        }
    }
}
