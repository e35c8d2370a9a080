//! METADATA (IRCv3 draft/metadata): keys of people and rooms, and which of them a client is told of.
use super::{Stage, Talk, pages::Page};
use crate::{
    MetadataOptions,
    caps::Caps,
    hall::{Denied, Keys, Owner, PAIR_BYTES_MAX, Plan, key},
    news::render_key,
    options::cut,
};
use sotong_irc::{Encoder, Message, numeric};
use std::{collections::BTreeSet, sync::Arc};

/// Keys that WHOIS tells: what people read of each other, and nothing that programs keep for themselves.
pub(super) const WHOIS_KEYS: [&str; 6] = ["display-name", "pronouns", "status", "homepage", "url", "avatar"];
/// Bytes of names of keys in one line.
const NAMES_BYTES_MAX: usize = 350;

impl Talk<'_, '_> {
    pub(super) fn metadata(&mut self, message: &Message<'_>) {
        let options = self.client.chat.options().metadata;
        if !options.enabled {
            return self.reply(numeric::ERR_UNKNOWNCOMMAND, &[&"METADATA"], "Unknown command");
        }
        let is_new = matches!(self.client.stage, Stage::New(_));
        if is_new && !(options.before_connect && self.client.caps.has_metadata()) {
            return self.reply(numeric::ERR_NOTREGISTERED, &[], "You have not registered");
        }
        let (Some(target), Some(what)) = (message.param(0), message.param(1)) else {
            return self.needs_more("METADATA");
        };
        let rest = &message.params()[2..];
        match (what.to_ascii_uppercase().as_str(), rest) {
            ("GET" | "SET" | "SUB" | "UNSUB", []) => self.needs_more("METADATA"),
            ("SUB", keys) => self.sub(keys, options.max_subs),
            ("UNSUB", keys) => self.unsub(keys),
            ("SUBS", _) => {
                let subs = self.subs();
                self.tell_keys(numeric::RPL_METADATASUBS, &subs);
            }
            (what @ ("GET" | "LIST" | "SET" | "CLEAR" | "SYNC"), rest) if is_new => {
                self.own_before(target, what, rest, &options);
            }
            (what @ ("GET" | "LIST" | "SET" | "CLEAR" | "SYNC"), rest) => {
                match self.hall.owner(self.client.who, target) {
                    Ok((owner, name)) => self.of_target((&owner, &name), what, rest),
                    Err(why) => self.denied(why, target, "*"),
                }
            }
            (what, _) => {
                let what = cut(what, 32).to_owned();
                self.say(&[&"FAIL", &"METADATA", &"SUBCOMMAND_INVALID", &what], Some(&"There is no such subcommand"));
            }
        }
    }
    fn of_target(&mut self, (owner, name): (&Owner, &Arc<str>), what: &str, rest: &[&str]) {
        let me = self.client.who;
        if !matches!(what, "SET" | "CLEAR") && !self.hall.may_see(me, owner) {
            return self.denied(Denied::NoPermission, name, "*");
        }
        match what {
            "GET" => {
                let keys = self.hall.keys(owner).cloned().unwrap_or_default();
                self.tell_pairs(name, rest.iter().map(|written| (*written, key(written))), |key| {
                    keys.get(key).map(str::to_owned)
                });
            }
            "LIST" => {
                let keys = self.hall.keys(owner).cloned().unwrap_or_default();
                let all = keys.iter().map(|(key, _)| (key, Some(key.to_owned())));
                self.tell_pairs(name, all, |key| keys.get(key).map(str::to_owned));
            }
            "SYNC" => self.sync_keys(owner, name),
            "CLEAR" => {
                let keys = self.hall.keys(owner).cloned().unwrap_or_default();
                let changes = keys.iter().map(|(key, _)| (key.to_owned(), None)).collect();
                self.change_keys((owner, name), "*", changes, |talk, name, changes| {
                    talk.tell_pairs(name, changes.iter().map(|(key, _)| (&**key, Some(key.clone()))), |_| None);
                });
            }
            _ => {
                let Some((key, value)) = self.pair(rest) else { return };
                let changes = vec![(key.clone(), value.map(str::to_owned))];
                self.change_keys((owner, name), &key, changes, |talk, name, changes| {
                    for (key, value) in changes {
                        talk.tell_pair(name, key, value.as_deref());
                    }
                });
            }
        }
    }
    /// Changes keys, and goes on once that is on disk, where the owner is in the books: others are told then, too. What is
    /// refused is told, as being about a key.
    fn change_keys(
        &mut self,
        (owner, name): (&Owner, &Arc<str>),
        about: &str,
        changes: Vec<(String, Option<String>)>,
        then: impl FnOnce(&mut Talk<'_, '_>, &str, &[(String, Option<String>)]) + Send + 'static,
    ) {
        let stored = match self.hall.keys_changed(self.client.who, owner, &changes) {
            Ok(stored) => stored,
            Err(why) => return self.denied(why, name, about),
        };
        let (owner, name, account) = (owner.clone(), Arc::clone(name), self.hall.keys_account(owner));
        let plan = Plan::new(stored.into_iter().collect(), move |hall, tell| {
            for owner in hall.owners(&owner, account.as_deref()) {
                for (key, value) in &changes {
                    hall.set_key(&owner, (key, value.as_deref()), tell);
                }
            }
            changes
        });
        self.accomplish(plan, move |talk, done| match done {
            Ok(changes) => then(talk, &name, &changes),
            Err(why) => talk.cannot_store("METADATA", why),
        });
    }
    /// The same for somebody who has not registered: he has no keys but his own, and nobody hears of them.
    fn own_before(&mut self, target: &str, what: &str, rest: &[&str], options: &MetadataOptions) {
        let nick = self.nick();
        if target != "*" && target != &*nick {
            return self.denied(Denied::NoTarget, target, "*");
        }
        let set = if what == "SET" { self.pair(rest) } else { None };
        let Stage::New(newcomer) = &mut self.client.stage else { return };
        match what {
            "SET" => {
                let Some((key, value)) = set else { return };
                let done = match value {
                    Some(value) => newcomer.keys.set(&key, value, options.max_keys),
                    None if newcomer.keys.unset(&key) => Ok(()),
                    None => Err(Denied::NotSet),
                };
                match done {
                    Ok(()) => self.tell_pair(&nick, &key, value),
                    Err(why) => self.denied(why, &nick, &key),
                }
            }
            "CLEAR" => {
                let keys = std::mem::take(&mut newcomer.keys);
                self.tell_pairs(&nick, keys.iter().map(|(key, _)| (key, Some(key.to_owned()))), |_| None);
            }
            "GET" => {
                let keys = newcomer.keys.clone();
                self.tell_pairs(&nick, rest.iter().map(|written| (*written, key(written))), |key| {
                    keys.get(key).map(str::to_owned)
                });
            }
            _ => {
                let keys = newcomer.keys.clone();
                let all = keys.iter().map(|(key, _)| (key, Some(key.to_owned())));
                self.tell_pairs(&nick, all, |key| keys.get(key).map(str::to_owned));
            }
        }
    }
    /// The key and the value of a SET, if they can be such; else that is told.
    fn pair<'m>(&mut self, rest: &[&'m str]) -> Option<(String, Option<&'m str>)> {
        let written = rest.first()?;
        let Some(key) = key(written) else {
            self.no_key(written);
            return None;
        };
        let value = rest.get(1).copied().filter(|value| !value.is_empty());
        if value.is_some_and(|value| key.len() + value.len() > PAIR_BYTES_MAX) {
            self.hit("metadata_value_bytes_max");
            let why = "That value is too long";
            self.say(&[&"FAIL", &"METADATA", &"INVALID_VALUE", &key], Some(&why));
            return None;
        }
        Some((key, value))
    }
    fn no_key(&mut self, written: &str) {
        let shown = cut(written, 64).to_owned();
        self.say(&[&"FAIL", &"METADATA", &"KEY_INVALID", &shown], Some(&"That is no name of a key"));
    }
    fn denied(&mut self, why: Denied, target: &str, key: &str) {
        let target = cut(target, 100).to_owned();
        match why {
            Denied::NoTarget => {
                self.say(
                    &[&"FAIL", &"METADATA", &"INVALID_TARGET", &target],
                    Some(&"There is nobody and no room of that name"),
                );
            }
            Denied::NoPermission => {
                self.say(&[&"FAIL", &"METADATA", &"KEY_NO_PERMISSION", &target, &key], Some(&"Permission denied"));
            }
            Denied::Full => {
                self.hit("metadata_keys_max");
                self.say(&[&"FAIL", &"METADATA", &"LIMIT_REACHED", &target], Some(&"There are too many keys already"));
            }
            Denied::NotSet => {
                self.say(&[&"FAIL", &"METADATA", &"KEY_NOT_SET", &target, &key], Some(&"That key is not set"));
            }
        }
    }
    fn tell_pair(&mut self, target: &str, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.reply(numeric::RPL_KEYVALUE, &[&target, &key, &"*"], value),
            None => self.reply(numeric::RPL_KEYNOTSET, &[&target, &key], "Key is not set"),
        }
    }
    /// Keys with their values in a batch, in the order in which they were asked for.
    fn tell_pairs<'k>(
        &mut self,
        target: &str,
        keys: impl Iterator<Item = (&'k str, Option<String>)>,
        value: impl Fn(&str) -> Option<String>,
    ) {
        let (nick, server) = (self.nick(), Arc::clone(&self.client.chat.name));
        self.write_metadata(target, |lines, tagged| {
            for (written, key) in keys {
                let begun = tagged(Encoder::new(lines)).source(&server);
                match key.as_deref().map(|key| (key, value(key))) {
                    Some((key, Some(value))) => {
                        let begun = begun.word(numeric::RPL_KEYVALUE).word(&nick).word(target).word(key);
                        begun.word("*").text(value).end();
                    }
                    Some((key, None)) => {
                        let begun = begun.word(numeric::RPL_KEYNOTSET).word(&nick).word(target).word(key);
                        begun.text("Key is not set").end();
                    }
                    None => {
                        let begun = begun.word("FAIL").word("METADATA").word("KEY_INVALID").word(cut(written, 64));
                        begun.text("That is no name of a key").end();
                    }
                }
            }
        });
    }
    /// Lines about a target: in a batch, where the client knows what that is.
    fn write_metadata(
        &mut self,
        target: &str,
        write: impl FnOnce(&mut Vec<u8>, &dyn for<'l> Fn(Encoder<'l>) -> Encoder<'l>),
    ) {
        let mut lines = Vec::new();
        if !self.client.caps.has(Caps::BATCH) {
            write(&mut lines, &|encoder| encoder);
            return self.client.answers.write(self.cx.out, |out| out.extend_from_slice(&lines));
        }
        let (name, server) = (self.client.answers.name_batch(), &self.client.chat.name);
        let begun = Encoder::new(&mut lines).source(server).word("BATCH").word(format_args!("+{name}"));
        begun.word("metadata").word(target).end();
        write(&mut lines, &|encoder| encoder.tag("batch", &name));
        Encoder::new(&mut lines).source(server).word("BATCH").word(format_args!("-{name}")).end();
        self.client.answers.write_batch(self.cx.out, lines);
    }
    /// Somebody has registered: what he has set before is his, and a client that knows of keys is told all that he has.
    pub(super) fn own_keys(&mut self, set: &Keys) {
        let owner = Owner::User(self.client.who);
        if !set.is_empty() {
            let (hall, mut tell) = self.teller();
            hall.take_keys(set, &mut tell);
        }
        if !self.client.caps.has_metadata() {
            return;
        }
        let (nick, server) = (self.nick(), Arc::clone(&self.client.chat.name));
        let keys = self.hall.keys(&owner).cloned().unwrap_or_default();
        self.write_metadata(&nick, |lines, tagged| {
            for (key, value) in keys.iter() {
                let begun = tagged(Encoder::new(lines)).source(&server).word(numeric::RPL_KEYVALUE);
                begun.word(&nick).word(&nick).word(key).word("*").text(value).end();
            }
        });
    }
    /// The keys of a target that the client is told of, and of all in a room.
    pub(super) fn sync_keys(&mut self, owner: &Owner, name: &Arc<str>) {
        if !self.client.caps.has_metadata() {
            return;
        }
        let subs = self.subs();
        match owner {
            Owner::Room(room) => {
                // Whoever hears of no keys need not be told that.
                let is_asked = !subs.is_empty();
                let batch = self.client.answers.name_batch();
                let page = Page::keys(*room, name, subs.into(), batch, self.nick());
                if is_asked {
                    self.client.answers.page(page);
                } else {
                    self.write_metadata(name, |_, _| ());
                }
            }
            Owner::User(who) => {
                let keys = self.hall.user(*who).map(|user| user.keys.clone()).unwrap_or_default();
                let (caps, server) = (self.client.caps, Arc::clone(&self.client.chat.name));
                self.write_metadata(name, |lines, tagged| {
                    for (key, value) in subs.iter().filter_map(|key| Some((&**key, keys.get(key)?))) {
                        let begun = tagged(Encoder::new(lines)).source(&server);
                        render_key(caps, begun, (name, key, Some(value)));
                    }
                });
            }
        }
    }

    // Which keys.

    fn subs(&self) -> Vec<Box<str>> {
        self.client.subs.iter().flat_map(|subs| subs.iter().cloned()).collect()
    }
    fn sub(&mut self, keys: &[&str], most: usize) {
        let (mut taken, mut too_many) = (Vec::new(), None);
        for written in keys {
            let Some(key) = key(written) else {
                self.no_key(written);
                continue;
            };
            let subs = self.client.subs.get_or_insert_default();
            if subs.len() >= if most == 0 { SUBS_MAX } else { most } {
                too_many = Some(key);
                break;
            }
            subs.insert(key.as_str().into());
            taken.push(key.into_boxed_str());
        }
        self.tell_keys(numeric::RPL_METADATASUBOK, &taken);
        if let Some(key) = too_many {
            self.hit("metadata_subs_max");
            self.say(&[&"FAIL", &"METADATA", &"TOO_MANY_SUBS", &key], Some(&"You hear of too many keys already"));
        }
        if taken.is_empty() {
            return;
        }
        // What is set already is asked for room by room.
        let rooms = self.hall.user(self.client.who).map(|user| user.rooms.clone()).unwrap_or_default();
        let names: Vec<Arc<str>> =
            rooms.iter().filter_map(|room| Some(Arc::clone(&self.hall.room_by(*room)?.name))).collect();
        for name in names {
            self.reply_words(numeric::RPL_METADATASYNCLATER, &[&name]);
        }
    }
    fn unsub(&mut self, keys: &[&str]) {
        let mut taken = Vec::new();
        for written in keys {
            let Some(key) = key(written) else {
                self.no_key(written);
                continue;
            };
            if let Some(subs) = &mut self.client.subs {
                subs.remove(key.as_str());
            }
            taken.push(key.into_boxed_str());
        }
        if self.client.subs.as_deref().is_some_and(BTreeSet::is_empty) {
            self.client.subs = None;
        }
        self.tell_keys(numeric::RPL_METADATAUNSUBOK, &taken);
    }
    /// Names of keys, each a word of its own, in as many lines as they need.
    fn tell_keys(&mut self, number: sotong_irc::Numeric, keys: &[Box<str>]) {
        let mut rest = keys;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(WORDS_MAX).take_while(|key| {
                bytes += key.len() + 1;
                bytes <= NAMES_BYTES_MAX
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let words: Vec<&dyn std::fmt::Display> = now.iter().map(|key| key as &dyn std::fmt::Display).collect();
            self.reply_words(number, &words);
            rest = later;
        }
    }
}

/// Keys that a client is told of where there is no other limit.
const SUBS_MAX: usize = 10_000;
/// Words in one line: a message has 15 parameters, the first is the nick.
const WORDS_MAX: usize = 13;
