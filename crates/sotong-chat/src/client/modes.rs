//! MODE.
use super::Talk;
use crate::{
    hall::{By, Flag, List, Moded, PersonModes, Rank, Refusal, SLOW_SECONDS_MAX},
    opers::Privilege,
    options::cut,
};
use sotong_irc::{
    Message,
    modes::{self, Change, Kind, Step},
    numeric,
};
use std::{fmt::Display, sync::Arc};

/// Bytes of a parameter of a mode.
const PARAM_BYTES_MAX: usize = 200;

fn kind(letter: char, roleplay: bool) -> Option<Kind> {
    if List::of(letter).is_some() {
        return Some(Kind::List);
    }
    if Rank::of(letter).is_some() {
        return Some(Kind::Always);
    }
    if Flag::of(letter).is_some_and(|flag| flag != Flag::Roleplay || roleplay) {
        return Some(Kind::Never);
    }
    match letter {
        'k' => Some(Kind::Key),
        'W' | 'f' | 'l' => Some(Kind::WhenSet),
        _ => None,
    }
}

impl Talk<'_, '_> {
    pub(super) fn mode(&mut self, message: &Message<'_>) {
        let Some(target) = message.param(0) else { return self.needs_more("MODE") };
        if target.starts_with('#') {
            self.room_mode(target, &message.params()[1..], &By::Rank);
        } else {
            self.user_mode(target, message.param(1));
        }
    }
    /// Changes a room's modes, or tells them.
    pub(super) fn room_mode(&mut self, target: &str, words: &[&str], by: &By) {
        let me = self.me();
        let room = if matches!(by, By::Power(_)) { self.hall.room(target) } else { self.hall.room_for(me, target) };
        let Some(room) = room else { return self.no_such_room(target) };
        let (name, is_in) = (Arc::clone(&room.name), room.seats.contains_key(&me));
        if words.is_empty() {
            let (modes, made) = (room.modes(is_in), room.created.0.div_euclid(1000));
            let mut all: Vec<&dyn Display> = vec![&name];
            let words: Vec<&str> = modes.split(' ').collect();
            all.extend(words.iter().map(|word| word as &dyn Display));
            self.reply_words(numeric::RPL_CHANNELMODEIS, &all);
            return self.reply_words(numeric::RPL_CREATIONTIME, &[&name, &made]);
        }
        let mut changes: Vec<Change<'_>> = Vec::new();
        let mut asked: Vec<char> = Vec::new();
        let options = self.client.chat.options();
        let roleplay = options.roleplay;
        let most = options.limits.modes_max;
        let mut steps = modes::read(words, |letter| kind(letter, roleplay), most.saturating_add(1));
        drop(options);
        let has_more = steps.len() > most;
        steps.truncate(most);
        for step in steps {
            match step {
                Step::Change(change) => match self.wrong_param(&change) {
                    Some(why) => {
                        // A key is nobody else's business, even where it is none.
                        let param = change.param.filter(|param| !param.is_empty() && change.letter != 'k');
                        let param = cut(param.unwrap_or("*"), 64).to_owned();
                        self.reply(numeric::ERR_INVALIDMODEPARAM, &[&name, &change.letter, &param], why);
                    }
                    None => changes.push(change),
                },
                // Each list once, however often it is asked for.
                Step::Ask(letter) if !asked.contains(&letter) => asked.push(letter),
                Step::Ask(_) => {}
                Step::Missing(letter) => {
                    self.reply(numeric::ERR_INVALIDMODEPARAM, &[&name, &letter, &"*"], "You must give a parameter");
                }
                Step::Unknown(letter) => {
                    self.reply(numeric::ERR_UNKNOWNMODE, &[&letter], "is unknown mode char to me");
                }
            }
        }
        let tell_lists = move |talk: &mut Talk<'_, '_>, name: &str| {
            for letter in asked {
                talk.tell_list(name, letter);
            }
            if has_more {
                talk.too_many_modes(name, most);
            }
        };
        if changes.is_empty() {
            return tell_lists(self, &name);
        }
        let (hall, mut tell) = self.teller();
        match hall.change_modes(&name, &changes, by, &mut tell) {
            Ok(plan) => self.accomplish(plan, move |talk, done| {
                match done {
                    Ok(moded) => talk.moded(&name, moded),
                    Err(why) => talk.cannot_store("MODE", why),
                }
                tell_lists(talk, &name);
            }),
            Err(why) => {
                self.refuse(why, &name, "");
                tell_lists(self, &name);
            }
        }
    }
    /// There were more changes than one line may make: those beyond have not been made.
    fn too_many_modes(&mut self, target: &str, most: usize) {
        self.hit("modes_max");
        let text = format!("Only the first {most} changes were looked at");
        self.say(&[&"WARN", &"MODE", &"TOO_MANY_CHANGES", &target], Some(&text));
    }
    fn wrong_param(&self, change: &Change<'_>) -> Option<&'static str> {
        let param = change.param?;
        match change.letter {
            _ if param.len() > PARAM_BYTES_MAX || param.contains(' ') => Some("That is too long, or has a blank in it"),
            'k' if param.contains(',') || param.starts_with(':') => Some("A key has no comma in it"),
            // Who is given the key as it was written would not come in by a part of it.
            'k' if change.sets && param.len() > self.hall.limits.key_bytes_max => {
                self.hit("key_bytes_max");
                Some("That key is too long")
            }
            'l' if !param.parse::<u32>().is_ok_and(|limit| limit > 0) => Some("A limit is a number from 1 on"),
            'W' if !param.parse::<u64>().is_ok_and(|seconds| (1..=SLOW_SECONDS_MAX).contains(&seconds)) => {
                Some("That is no number of seconds between 1 and 21600")
            }
            _ => None,
        }
    }
    /// What became of a change of modes: lines to wait for, and what was refused.
    pub(super) fn moded(&mut self, room: &str, moded: Moded) {
        self.client.answers.wait(moded.lines);
        let mut needed = false;
        for (letter, param, why) in moded.refused {
            match why {
                // Said once for a line of many.
                Refusal::NeedsOp if std::mem::replace(&mut needed, true) => {}
                Refusal::ListFull => {
                    self.reply(numeric::ERR_BANLISTFULL, &[&room, &letter], "Channel list is full");
                }
                Refusal::BadParam(why) => {
                    self.reply(numeric::ERR_INVALIDMODEPARAM, &[&room, &letter, &cut(&param, 64)], why);
                }
                why => self.refuse(why, room, &param),
            }
        }
    }
    /// A list. Who is kept out is no secret; who may come in nevertheless is told to those in charge.
    fn tell_list(&mut self, name: &str, letter: char) {
        let (entry, end, word) = match letter {
            'b' => (numeric::RPL_BANLIST, numeric::RPL_ENDOFBANLIST, "End of channel ban list"),
            'g' => (numeric::RPL_SPAMFILTER, numeric::RPL_ENDOFSPAMFILTER, "End of channel filter list"),
            'e' => (numeric::RPL_EXCEPTLIST, numeric::RPL_ENDOFEXCEPTLIST, "End of channel exception list"),
            _ => (numeric::RPL_INVEXLIST, numeric::RPL_ENDOFINVEXLIST, "End of channel invite exception list"),
        };
        let (Some(list), Some(room)) = (List::of(letter), self.hall.room(name)) else { return };
        let rank = room.rank(self.client.who).unwrap_or_default();
        if list != List::Ban && !rank.is_at_least(Rank::HALF) {
            return self.refuse(Refusal::NeedsOp, name, "");
        }
        let entries: Vec<_> = room.list(list, self.cx.wall).cloned().collect();
        for masked in entries {
            self.reply_words(entry, &[&name, &masked.mask, &masked.by, &masked.at.0.div_euclid(1000)]);
        }
        self.reply(end, &[&name], word);
    }

    fn user_mode(&mut self, target: &str, letters: Option<&str>) {
        let me = self.me();
        match self.hall.find(target) {
            None => return self.no_such_nick(target),
            Some((who, _)) if who != me => {
                return self.reply(numeric::ERR_USERSDONTMATCH, &[], "Cant change mode for other users");
            }
            Some(_) => {}
        }
        let Some(letters) = letters else {
            let Some(user) = self.hall.user(me) else { return };
            let oper = if user.oper.is_some() { "o" } else { "" };
            let letters = format!("+{}{oper}", user.modes.letters());
            return self.reply_words(numeric::RPL_UMODEIS, &[&letters]);
        };
        let known = |letter: char| PersonModes::LETTERS.contains(letter).then_some(Kind::Never);
        let (mut changed, mut unknown) = (Vec::new(), false);
        let most = self.client.chat.options().limits.modes_max;
        let mut steps = modes::read(&[letters], known, most.saturating_add(1));
        let has_more = steps.len() > most;
        steps.truncate(most);
        for step in steps {
            match step {
                Step::Change(change) if self.change_own(&change) => changed.push(change),
                Step::Change(_) => {}
                _ => unknown = true,
            }
        }
        if !changed.is_empty() {
            let changes = modes::write(changed);
            let (hall, mut tell) = self.teller();
            hall.tell_own_modes(&changes, &mut tell);
            self.client.answers.wait(1);
        }
        if unknown {
            self.reply(numeric::ERR_UMODEUNKNOWNFLAG, &[], "Unknown MODE flag");
        }
        if has_more {
            self.too_many_modes(target, most);
        }
    }
    /// Changes one of his own modes; true if that is a change. Nobody makes himself an operator so, but he may give it up
    /// (RFC 1459, section 4.2.3.2).
    fn change_own(&mut self, change: &Change<'_>) -> bool {
        let me = self.me();
        if change.letter == 'o' {
            let gives_up = !change.sets && self.hall.user(me).is_some_and(|user| user.oper.is_some());
            if gives_up {
                let (hall, mut tell) = self.teller();
                hall.set_oper(None, &mut tell);
            }
            return gives_up;
        }
        let Some(mode) = PersonModes::of(change.letter) else { return false };
        if mode == PersonModes::NOTICES && change.sets && !self.hall.may(me, Privilege::Notices) {
            self.no_privileges();
            return false;
        }
        self.hall.alter(me, |user| user.modes.set(mode, change.sets)).unwrap_or(false)
    }
}
