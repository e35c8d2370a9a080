//! OPER, KILL, REHASH, WALLOPS, and what makes others do something: SAJOIN, SAPART, SAMODE, SANICK.
use super::Talk;
use crate::{
    hall::{By, Left, PersonModes, Refusal, User},
    opers::{HASHED, Oper, Privilege, is_same_secret},
    options::cut,
};
use sotong_irc::{Encoder, Message, modes, names, numeric};
use std::sync::Arc;

impl Talk<'_, '_> {
    /// A command that operators alone give.
    pub(super) fn oper_command(&mut self, command: &str, message: &Message<'_>) {
        let needed = match command {
            "KILL" => Privilege::Kill,
            "REHASH" => Privilege::Rehash,
            "WALLOPS" => Privilege::Wallops,
            "KLINE" | "DLINE" | "UNKLINE" | "UNDLINE" => Privilege::Ban,
            "CHGHOST" => Privilege::Vhost,
            _ => Privilege::Force,
        };
        if !self.hall.may(self.me(), needed) {
            return self.no_privileges();
        }
        let words_needed = match command {
            "REHASH" => 0,
            "CHGHOST" | "KILL" | "WALLOPS" | "KLINE" | "DLINE" | "UNKLINE" | "UNDLINE" | "SAJOIN" | "SAMODE" => 1,
            _ => 2,
        };
        if message.params().len() < words_needed {
            return self.needs_more(command);
        }
        match command {
            "KILL" => self.kill(message),
            // It reads files, which nobody does while the hall is locked.
            "REHASH" => self.client.rehashes = true,
            "WALLOPS" => self.wallops(message),
            "KLINE" | "DLINE" => self.ban(command, message),
            "UNKLINE" | "UNDLINE" => self.unban(command, message),
            "CHGHOST" => self.change_host(message),
            "SAJOIN" => self.force_join(message),
            "SAPART" => self.force_part(message),
            "SAMODE" => self.force_mode(message),
            _ => self.force_nick(message),
        }
    }
    pub(super) fn no_privileges(&mut self) {
        self.reply(numeric::ERR_NOPRIVILEGES, &[], "Permission denied: you are no operator, or may not do that");
    }
    /// What an operator has done, as he is told it and others who want to hear of it.
    pub(super) fn done(&mut self, text: &str) {
        let nick = self.nick();
        self.notice(text);
        let (hall, mut tell) = self.teller();
        hall.notify(&format!("{nick}: {text}"), &mut tell);
    }
    /// Tells the client something.
    pub(super) fn notice(&mut self, text: &str) {
        let nick = self.nick();
        self.say(&[&"NOTICE", &nick], Some(&text));
    }

    // Becoming an operator.

    pub(super) fn oper(&mut self, message: &Message<'_>) {
        let Some(name) = message.param(0) else { return self.needs_more("OPER") };
        let options = self.client.chat.options();
        let known = options.opers.iter().find(|oper| oper.name == name).cloned();
        let password = message.param(1);
        if password.is_none() && known.as_ref().is_none_or(|oper| !oper.password.is_empty()) {
            return self.needs_more("OPER");
        }
        let (ip, now) = (self.client.ip, self.cx.now);
        let most = options.accounts.login_attempts;
        drop(options);
        // Operators and accounts are counted apart: a name of the one may be a name of the other.
        let counted = format!("\0oper {}", cut(name, 64));
        if !self.hall.books.throttle.tries(&counted, ip, now, most) {
            self.client.chat.counters.hit("login_attempts");
            self.tell_of_try("has tried too often", name);
            return self.reply(numeric::ERR_PASSWDMISMATCH, &[], "Too many tries; wait a minute");
        }
        let Some(oper) = known.filter(|oper| self.has_certificate(oper)) else { return self.refuse_oper(name) };
        let oper = Arc::new(oper);
        let password = password.unwrap_or("");
        if oper.password.starts_with(HASHED) {
            let hash = Some(oper.password.as_str().into());
            return self.verify(password, hash, move |talk, is_right| match is_right {
                Ok(true) => talk.oper_up(oper, &counted),
                Ok(false) => talk.refuse_oper(&oper.name),
                Err(_) => {
                    talk.reply(numeric::ERR_PASSWDMISMATCH, &[], "The server has too much to do; try again later");
                }
            });
        }
        if oper.password.is_empty() || is_same_secret(&oper.password, password) {
            self.oper_up(oper, &counted);
        } else {
            self.refuse_oper(name);
        }
    }
    /// Whether the client has shown the certificate that the operator must have, if he must.
    fn has_certificate(&self, oper: &Oper) -> bool {
        self.shows(&oper.certificate, &oper.password)
    }
    /// The same for everybody who proves himself by a certificate, a password, or both: one of them there is.
    pub(super) fn shows(&self, certificate: &str, password: &str) -> bool {
        if certificate.is_empty() {
            return !password.is_empty();
        }
        let wanted = certificate.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect::<String>();
        let shown = self.client.cert.as_ref();
        let shown = shown.map(|print| print.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        shown.is_some_and(|shown| is_same_secret(&shown, &wanted))
    }
    fn refuse_oper(&mut self, name: &str) {
        self.client.chat.counters.hit("oper");
        self.tell_of_try("has tried", name);
        self.reply(numeric::ERR_PASSWDMISMATCH, &[], "Password incorrect");
    }
    /// Operators hear of those who try to become one.
    fn tell_of_try(&mut self, what: &str, name: &str) {
        let (nick, name) = (self.nick(), cut(name, 64));
        let (hall, mut tell) = self.teller();
        hall.notify(&format!("{nick} {what} to become an operator as {name}"), &mut tell);
    }
    fn oper_up(&mut self, oper: Arc<Oper>, counted: &str) {
        let ip = self.client.ip;
        self.hall.books.throttle.forgive(counted, ip);
        let me = self.me();
        let before = self.hall.user(me).map(|user| Arc::clone(&user.host));
        let (hall, mut tell) = self.teller();
        hall.set_oper(Some(oper), &mut tell);
        self.reply(numeric::RPL_YOUREOPER, &[], "You are now an IRC operator");
        let (nick, source) = (self.nick(), self.hall.user(me).map(|user| Arc::clone(&user.source)).unwrap_or_default());
        self.client.answers.write(self.cx.out, |line| {
            Encoder::new(line).source(source).word("MODE").word(nick).word("+o").end();
        });
        if self.hall.user(me).map(|user| &user.host) != before.as_ref() {
            self.client.answers.wait(1);
        }
    }

    // What they do.

    fn kill(&mut self, message: &Message<'_>) {
        let nick = message.param(0).unwrap_or("");
        let Some((whom, user)) = self.hall.find(nick) else { return self.no_such_nick(nick) };
        let source = Arc::clone(&user.source);
        let reason = message.param(1).filter(|reason| !reason.is_empty()).unwrap_or("No reason given");
        let own = self.nick();
        let why = format!("Killed ({own} ({reason}))");
        let is_self = whom == self.me();
        if !is_self {
            self.done(&format!("{source} is killed: {reason}"));
        }
        let (hall, mut tell) = self.teller();
        hall.kill(whom, &why, &mut tell);
    }
    fn wallops(&mut self, message: &Message<'_>) {
        let text = message.param(0).unwrap_or("");
        if text.is_empty() {
            return self.needs_more("WALLOPS");
        }
        let (hall, mut tell) = self.teller();
        let own = hall.wallops(text, &mut tell);
        self.client.answers.wait(own);
    }
    /// `SAJOIN room` for oneself, `SAJOIN nick room`.
    fn force_join(&mut self, message: &Message<'_>) {
        let own = self.nick();
        let (nick, room) = match message.params() {
            [room] => (&*own, *room),
            [nick, room, ..] => (*nick, *room),
            [] => return,
        };
        let Some((whom, _)) = self.hall.find(nick) else { return self.no_such_nick(nick) };
        let Ok(name) = names::room(room, self.client.chat.options().limits.room_chars_max) else {
            return self.no_such_room(room);
        };
        let nick = nick.to_owned();
        let (hall, mut tell) = self.teller();
        match hall.force_in(whom, &name, &mut tell) {
            Ok(()) => self.done(&format!("{nick} is made to join {name}")),
            Err(why) => self.refuse(why, &name, &nick),
        }
    }
    fn force_part(&mut self, message: &Message<'_>) {
        let (nick, room) = (message.param(0).unwrap_or(""), message.param(1).unwrap_or(""));
        let Some((whom, _)) = self.hall.find(nick) else { return self.no_such_nick(nick) };
        let how = Left::Parts(message.param(2));
        let (hall, mut tell) = self.teller();
        match hall.leave(room, &how, &mut tell.on_behalf_of(whom)) {
            Ok(()) => self.done(&format!("{nick} is made to leave {room}")),
            Err(Refusal::NotIn) => self.refuse(Refusal::TheyNotIn, room, nick),
            Err(why) => self.refuse(why, room, nick),
        }
    }
    fn force_nick(&mut self, message: &Message<'_>) {
        let (nick, wanted) = (message.param(0).unwrap_or(""), message.param(1).unwrap_or(""));
        let Some((whom, _)) = self.hall.find(nick) else { return self.no_such_nick(nick) };
        let wanted = match names::nick(wanted, self.client.chat.options().limits.nick_chars_max) {
            Ok(wanted) => wanted,
            Err(why) => return self.reply(numeric::ERR_ERRONEUSNICKNAME, &[&cut(wanted, 64)], why),
        };
        let (hall, mut tell) = self.teller();
        match hall.rename(&wanted, &mut tell.on_behalf_of(whom)) {
            Ok(()) => self.done(&format!("{nick} is made to be called {wanted}")),
            Err(_) => self.reply(numeric::ERR_NICKNAMEINUSE, &[&wanted], "Nickname is already in use"),
        }
    }
    /// Changes modes of a room, whatever the operator is there; or of a person.
    fn force_mode(&mut self, message: &Message<'_>) {
        let target = message.param(0).unwrap_or("");
        if target.starts_with('#') {
            let Some(source) = self.hall.user(self.me()).map(|user| Arc::clone(&user.source)) else { return };
            return self.room_mode(target, &message.params()[1..], &By::Power(source));
        }
        let Some((whom, _)) = self.hall.find(target) else { return self.no_such_nick(target) };
        let known =
            |letter| PersonModes::of(letter).filter(|mode| *mode != PersonModes::NOTICES).map(|_| modes::Kind::Never);
        let mut changed = Vec::new();
        for step in modes::read(message.params().get(1).map_or(&[][..], std::slice::from_ref), known, 20) {
            match step {
                modes::Step::Change(change) => {
                    let set = |user: &mut User| {
                        PersonModes::of(change.letter).is_some_and(|mode| user.modes.set(mode, change.sets))
                    };
                    if self.hall.alter(whom, set).unwrap_or(false) {
                        changed.push(change);
                    }
                }
                _ => return self.reply(numeric::ERR_UMODEUNKNOWNFLAG, &[], "Unknown MODE flag"),
            }
        }
        if !changed.is_empty() {
            let changes = modes::write(changed);
            let (hall, mut tell) = self.teller();
            hall.tell_own_modes(&changes, &mut tell.on_behalf_of(whom));
            self.done(&format!("modes of {target} are changed: {changes}"));
        }
    }
}
