//! JOIN, PART, KICK, INVITE, TOPIC, NAMES and LIST.
use super::{
    Talk,
    pages::{Page, Query},
};
use crate::{
    caps::Caps,
    hall::{Left, Owner, Refusal},
    options::cut,
};
use sotong_irc::{Message, Numeric, names, numeric};
use sotong_session::Topic;
use std::sync::Arc;

/// Bytes of names of rooms in one line.
const NAMES_BYTES_MAX: usize = 300;

/// Why a room cannot be called so.
pub(super) const LOOKS_TAKEN: &str = "That name looks like the name of another channel";

impl Talk<'_, '_> {
    pub(super) fn join(&mut self, message: &Message<'_>) {
        let Some(rooms) = message.param(0) else { return self.needs_more("JOIN") };
        if rooms == "0" {
            let rooms = self.hall.user(self.me()).map(|user| user.rooms.clone()).unwrap_or_default();
            let rooms: Vec<_> = rooms.iter().filter_map(|id| Some(Arc::clone(&self.hall.room_by(*id)?.name))).collect();
            for room in rooms {
                self.part_one(&room, None);
            }
            return;
        }
        let mut keys = message.param(1).unwrap_or("").split(',');
        for room in rooms.split(',').filter(|room| !room.is_empty()) {
            self.join_one(room, keys.next().unwrap_or(""), true);
        }
    }
    /// Goes into a room; into the one it forwards to, where he may not come in and `forwards`.
    fn join_one(&mut self, written: &str, key: &str, forwards: bool) {
        let name = match names::room(written, self.client.chat.options().limits.room_chars_max) {
            Ok(name) => name,
            Err(why) => {
                if why == names::NameError::TooLong {
                    self.hit("room_chars_max");
                }
                return self.no_such_room(written);
            }
        };
        let (hall, mut tell) = self.teller();
        match hall.join(&name, key, &mut tell) {
            Ok(None) => {}
            Ok(Some((id, stay))) => {
                self.client.seats.begin(id, stay);
                self.client.answers.wait(1);
                self.show_room(id);
            }
            Err(Refusal::TooManyRooms) => self.refuse_join(&name, Refusal::TooManyRooms),
            Err(why) => match self.hall.room(&name).and_then(|room| room.forward.clone()).filter(|_| forwards) {
                Some(other) => {
                    self.reply(numeric::ERR_LINKCHANNEL, &[&name, &other], "Forwarding to another channel");
                    self.join_one(&other, "", false);
                }
                None => self.refuse_join(&name, why),
            },
        }
    }
    /// What somebody is told of a room that he has come into.
    pub(super) fn show_room(&mut self, id: Topic) {
        let Some(name) = self.hall.room_by(id).map(|room| Arc::clone(&room.name)) else { return };
        self.tell_topic(&name, false);
        if !self.client.caps.has(Caps::NO_IMPLICIT_NAMES) {
            self.client.answers.page(Page::names(id, &name, self.nick()));
        }
        if self.client.subs.is_some() {
            self.sync_keys(&Owner::Room(id), &name);
        }
    }
    fn refuse_join(&mut self, room: &str, why: Refusal) {
        let (number, text) = match why {
            Refusal::TooManyRooms => (numeric::ERR_TOOMANYCHANNELS, "You have joined too many channels"),
            Refusal::BadKey => (numeric::ERR_BADCHANNELKEY, "Cannot join channel (+k)"),
            Refusal::InviteOnly => (numeric::ERR_INVITEONLYCHAN, "Cannot join channel (+i)"),
            Refusal::Banned => (numeric::ERR_BANNEDFROMCHAN, "Cannot join channel (+b)"),
            Refusal::Full => (numeric::ERR_CHANNELISFULL, "Cannot join channel (+l)"),
            Refusal::NeedsAccount => {
                (numeric::ERR_NEEDREGGEDNICK, "Cannot join channel (+R): log in to an account first")
            }
            Refusal::LooksTaken => (numeric::ERR_NOSUCHCHANNEL, LOOKS_TAKEN),
            _ => (numeric::ERR_NOSUCHCHANNEL, "No such channel"),
        };
        self.reply(number, &[&room], text);
    }
    pub(super) fn part(&mut self, message: &Message<'_>) {
        let Some(rooms) = message.param(0) else { return self.needs_more("PART") };
        for room in rooms.split(',').filter(|room| !room.is_empty()) {
            self.part_one(room, message.param(1));
        }
    }
    fn part_one(&mut self, room: &str, reason: Option<&str>) {
        let (hall, mut tell) = self.teller();
        match hall.leave(room, &Left::Parts(reason), &mut tell) {
            Ok(()) => self.client.answers.wait(1),
            Err(why) => self.refuse(why, room, ""),
        }
    }
    pub(super) fn kick(&mut self, message: &Message<'_>) {
        let (Some(room), Some(nicks)) = (message.param(0), message.param(1)) else { return self.needs_more("KICK") };
        let nicks: Vec<&str> = nicks.split(',').filter(|nick| !nick.is_empty()).collect();
        if nicks.len() > self.client.chat.options().limits.targets_max {
            return self.reply(numeric::ERR_TOOMANYTARGETS, &[&room], "Too many targets");
        }
        // One room for all, or one for each (RFC 2812, section 3.2.8).
        let rooms: Vec<&str> = room.split(',').filter(|room| !room.is_empty()).collect();
        if rooms.len() != 1 && rooms.len() != nicks.len() {
            return self.needs_more("KICK");
        }
        for (at, nick) in nicks.into_iter().enumerate() {
            let room = rooms[at.min(rooms.len() - 1)];
            let own = self.nick();
            let reason = message.param(2).unwrap_or(&own);
            let whom = self.hall.find(nick).map(|(who, _)| who);
            let (hall, mut tell) = self.teller();
            let done = match whom {
                // Whether there is such a room, and one is in it, comes first.
                Some(whom) => hall.leave(room, &Left::Kicked { whom, reason }, &mut tell),
                None => match hall.room_for(tell.me, room).map(|room| room.seats.contains_key(&tell.me)) {
                    None => Err(Refusal::NoSuchRoom),
                    Some(false) => Err(Refusal::NotIn),
                    Some(true) => Err(Refusal::NoSuchNick),
                },
            };
            match done {
                Ok(()) => self.client.answers.wait(1),
                Err(why) => self.refuse(why, room, nick),
            }
        }
    }
    pub(super) fn invite(&mut self, message: &Message<'_>) {
        let Some(nick) = message.param(0) else {
            let invites = self.hall.user(self.me()).map(|user| user.invites.clone()).unwrap_or_default();
            let rooms: Vec<_> =
                invites.iter().filter_map(|id| Some(Arc::clone(&self.hall.room_by(*id)?.name))).collect();
            for room in rooms {
                self.reply_words(numeric::RPL_INVITELIST, &[&room]);
            }
            return self.reply(numeric::RPL_ENDOFINVITELIST, &[], "End of INVITE list");
        };
        let Some(room) = message.param(1) else { return self.needs_more("INVITE") };
        let (hall, mut tell) = self.teller();
        match hall.invite(nick, room, &mut tell) {
            Ok(away) => {
                self.reply_words(numeric::RPL_INVITING, &[&nick, &room]);
                if let Some(away) = away {
                    self.reply(numeric::RPL_AWAY, &[&nick], away);
                }
            }
            Err(why) => self.refuse(why, room, nick),
        }
    }
    pub(super) fn topic(&mut self, message: &Message<'_>) {
        let Some(room) = message.param(0) else { return self.needs_more("TOPIC") };
        let Some(text) = message.params().get(1) else {
            let is_seen = self.hall.room_for(self.me(), room).is_some();
            return if is_seen { self.tell_topic(room, true) } else { self.no_such_room(room) };
        };
        let (hall, tell) = self.teller();
        match hall.set_topic(room, text, &tell) {
            Ok(plan) => self.accomplish(plan, |talk, done| match done {
                Ok(lines) => talk.client.answers.wait(lines),
                Err(why) => talk.cannot_store("TOPIC", why),
            }),
            Err(why) => self.refuse(why, room, ""),
        }
    }
    /// The topic, and who set it; where there is none, that too if it was asked for.
    fn tell_topic(&mut self, room: &str, is_asked: bool) {
        let Some(room) = self.hall.room(room) else { return };
        let (name, topic) = (Arc::clone(&room.name), room.topic.clone());
        match topic {
            Some(topic) => {
                self.reply(numeric::RPL_TOPIC, &[&name], &topic.text);
                self.reply_words(numeric::RPL_TOPICWHOTIME, &[&name, &topic.by, &topic.at.0.div_euclid(1000)]);
            }
            None if is_asked => self.reply(numeric::RPL_NOTOPIC, &[&name], "No topic is set"),
            None => {}
        }
    }
    pub(super) fn names(&mut self, message: &Message<'_>) {
        let Some(rooms) = message.param(0) else {
            return self.reply(numeric::RPL_ENDOFNAMES, &[&"*"], "End of NAMES list");
        };
        // One end for all of them, with what was asked for (RFC 2812, section 3.2.5).
        for name in rooms.split(',').filter(|room| !room.is_empty()) {
            if let Some(id) = self.hall.room_for(self.me(), name).map(|room| room.id) {
                self.client.answers.page(Page::some_names(id, self.nick()));
            }
        }
        self.reply(numeric::RPL_ENDOFNAMES, &[&cut(rooms, NAMES_BYTES_MAX)], "End of NAMES list");
    }
    pub(super) fn list(&mut self, message: &Message<'_>) {
        let query = Query::read(message.param(0).unwrap_or(""), self.cx.wall);
        self.reply(numeric::RPL_LISTSTART, &[&"Channel"], "Users  Name");
        self.client.answers.page(Page::list(query, self.nick()));
    }
    /// Why something was not done in a room, by its number.
    pub(super) fn refuse(&mut self, why: Refusal, room: &str, nick: &str) {
        let (number, text): (Numeric, &str) = match why {
            Refusal::NoSuchNick => return self.no_such_nick(nick),
            Refusal::NoSuchRoom => return self.no_such_room(room),
            Refusal::TheyNotIn => {
                return self.reply(numeric::ERR_USERNOTINCHANNEL, &[&nick, &room], "They aren't on that channel");
            }
            Refusal::TheyAreIn => {
                return self.reply(numeric::ERR_USERONCHANNEL, &[&nick, &room], "is already on channel");
            }
            Refusal::NotIn => (numeric::ERR_NOTONCHANNEL, "You're not on that channel"),
            Refusal::NeedsOp => (numeric::ERR_CHANOPRIVSNEEDED, "You're not a channel operator"),
            Refusal::CannotSpeak => (numeric::ERR_CANNOTSENDTOCHAN, "Cannot send to channel"),
            Refusal::AccountToSpeak => {
                (numeric::ERR_CANNOTSENDTOCHAN, "Cannot send to channel (+M): log in to an account first")
            }
            Refusal::NoCtcp => (numeric::ERR_CANNOTSENDTOCHAN, "Cannot send to channel (+C): no CTCP here"),
            Refusal::Filtered => (
                numeric::ERR_CANNOTSENDTOCHAN,
                "Cannot send to channel (+g): there is a word or a link in it that is not let through here",
            ),
            Refusal::TooSoon(wait) => {
                let seconds = wait.as_millis().div_ceil(1000);
                let text = format!("Cannot send to channel (+W): wait {seconds} s");
                return self.reply(numeric::ERR_CANNOTSENDTOCHAN, &[&room], text);
            }
            Refusal::TheyNeedAccount => {
                let text = "You must log in to an account to speak to them (+R)";
                return self.reply(numeric::ERR_NEEDREGGEDNICK, &[&nick], text);
            }
            Refusal::TheyTakeNoCtcp => {
                return self.reply(numeric::ERR_CANNOTSENDTOUSER, &[&nick], "They take no CTCP (+T)");
            }
            Refusal::NameInUse => (numeric::ERR_UNKNOWNERROR, "There is a channel of that name"),
            Refusal::BadParam(why) => (numeric::ERR_UNKNOWNERROR, why),
            Refusal::Full
            | Refusal::InviteOnly
            | Refusal::Banned
            | Refusal::BadKey
            | Refusal::NeedsAccount
            | Refusal::LooksTaken
            | Refusal::TooManyRooms => return self.refuse_join(room, why),
            Refusal::ListFull => (numeric::ERR_BANLISTFULL, "Channel list is full"),
            Refusal::Moves => (numeric::ERR_UNKNOWNERROR, "It is being renamed; try again"),
        };
        self.reply(number, &[&room], text);
    }
}
