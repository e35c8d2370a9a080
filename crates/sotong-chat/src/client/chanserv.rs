//! ChanServ: registered rooms by private messages, in the forms that people know.
use super::{Talk, services::Servant};
use crate::{
    books::{Change, OFFERED, RoomRecord},
    hall::{By, CHANSERV, Flag, List, Plan, Rank, Refusal, SLOW_SECONDS_MAX},
    news::time_tag,
    opers::Privilege,
    options::cut,
};
use sotong_irc::{mask, modes, names};
use sotong_session::Wall;
use std::sync::Arc;

/// What ChanServ does: a command, how it is written, and what for.
const COMMANDS: [(&str, &str, &str); 21] = [
    ("AMODE", "AMODE #room [+RANK|-RANK ACCOUNT]", "lists or changes what accounts are there: q a o h v"),
    ("BAN", "BAN #room MASK [TIME]", "keeps somebody out"),
    ("CLEAR", "CLEAR #room users|access|bans", "puts all out, or takes all ranks or bans away"),
    ("DEHALFOP", "DEHALFOP #room [NICK]", "takes a rank away"),
    ("DEOP", "DEOP #room [NICK]", "takes a rank away"),
    ("DEVOICE", "DEVOICE #room [NICK]", "takes a rank away"),
    ("DROP", "DROP #room [CODE]", "the same as UNREGISTER"),
    ("GET", "GET #room SETTING", "shows a setting"),
    ("HALFOP", "HALFOP #room [NICK]", "gives a rank"),
    ("HELP", "HELP [COMMAND]", "lists what can be done here"),
    ("INFO", "INFO [#room]", "shows what is known of a room, or which are yours"),
    ("INVITE", "INVITE #room [NICK]", "asks you, or somebody else, in"),
    ("KICK", "KICK #room NICK [REASON]", "puts somebody out"),
    ("LIST", "LIST [MASK]", "lists registered rooms, for operators of the server"),
    ("OP", "OP #room [NICK]", "gives you the rank that your account has, or makes somebody an op"),
    ("REGISTER", "REGISTER #room", "makes a room yours"),
    ("SET", "SET #room SETTING VALUE", "changes a setting"),
    ("TRANSFER", "TRANSFER #room ACCOUNT | ACCEPT #room", "gives a room to somebody else, who accepts it"),
    ("UNBAN", "UNBAN #room MASK", "keeps somebody out no longer"),
    ("UNREGISTER", "UNREGISTER #room [CODE]", "gives a room up"),
    ("VOICE", "VOICE #room [NICK]", "gives a rank"),
];
const SETTINGS: [(&str, &str); 3] = [
    ("description", "what INFO says of the room"),
    ("slowmode", "how many seconds each waits between two messages, or off"),
    ("url", "where there is more about it"),
];
/// Accounts that have a rank in one room.
const RANKS_MAX: usize = 200;
/// Bytes of a setting.
const SETTING_BYTES_MAX: usize = 200;
/// Rooms in one list.
const LISTED_MAX: usize = 200;

impl Talk<'_, '_> {
    pub(super) fn chanserv(&mut self, text: &str) {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (command, words) = words.split_first().map_or(("HELP", &[][..]), |(command, words)| (*command, words));
        let command = command.to_ascii_uppercase();
        match (command.as_str(), words) {
            ("HELP", _) => self.cs_help(words.first().copied()),
            ("REGISTER", [room]) => self.cs_register(room),
            ("UNREGISTER" | "DROP", [room]) => self.cs_unregister(room, None),
            ("UNREGISTER" | "DROP", [room, code]) => self.cs_unregister(room, Some(code)),
            ("INFO", []) => self.cs_own(),
            ("INFO", [room]) => self.cs_info(room),
            ("LIST", _) => self.cs_list(words.first().copied().unwrap_or("*")),
            ("AMODE", [room]) => self.cs_ranks(room),
            ("AMODE", [room, change, account]) => self.cs_amode(room, change, account),
            ("OP", [room]) => self.cs_own_rank(room),
            ("DEOP" | "HALFOP" | "DEHALFOP" | "VOICE" | "DEVOICE", [room]) => {
                let nick = self.nick();
                self.cs_rank(&command, room, &nick);
            }
            ("OP" | "DEOP" | "HALFOP" | "DEHALFOP" | "VOICE" | "DEVOICE", [room, nick]) => {
                self.cs_rank(&command, room, nick);
            }
            ("KICK", [room, nick, reason @ ..]) => self.cs_kick(room, nick, &reason.join(" ")),
            ("INVITE", [room]) => {
                let nick = self.nick();
                self.cs_invite(room, &nick);
            }
            ("INVITE", [room, nick]) => self.cs_invite(room, nick),
            ("BAN", [room, who]) => self.cs_ban(room, who, true),
            ("BAN", [room, who, time]) => self.cs_ban(room, &format!("t:{time}:{who}"), true),
            ("UNBAN", [room, who]) => self.cs_ban(room, who, false),
            ("CLEAR", [room, what]) => self.cs_clear(room, what),
            ("TRANSFER", [what, room]) if what.eq_ignore_ascii_case("accept") => self.cs_accept(room),
            ("TRANSFER", [room, account]) => self.cs_transfer(room, account),
            ("GET", [room, setting]) => self.cs_get(room, setting),
            ("SET", [room, setting, value @ ..]) if !value.is_empty() => {
                self.cs_set(room, setting, &value.join(" "));
            }
            (known, _) if COMMANDS.iter().any(|(command, ..)| *command == known) => {
                self.cs("That is not how it is written:");
                self.cs_help(Some(known));
            }
            (unknown, _) => {
                let unknown = cut(unknown, 32);
                self.cs(&format!("Unknown command {unknown}; HELP lists those there are"));
            }
        }
    }
    fn cs(&mut self, text: &str) {
        self.told_by(Servant::ChanServ, text);
    }
    fn cs_help(&mut self, command: Option<&str>) {
        let asked = command.map(str::to_ascii_uppercase);
        let fits = |known: &str| asked.as_deref().is_none_or(|asked| asked == known);
        let told: Vec<_> = COMMANDS.iter().filter(|(known, ..)| fits(known)).collect();
        if told.is_empty() {
            return self.cs("There is no help on that");
        }
        for (_, syntax, text) in told {
            self.cs(&format!("{syntax}: {text}"));
        }
        if asked.is_none_or(|asked| asked == "SET" || asked == "GET") {
            for (name, text) in SETTINGS {
                self.cs(&format!("Setting {name}: {text}"));
            }
        }
    }
    /// What was refused in a room, in words: numbers are for commands of one's own.
    fn cs_refuse(&mut self, why: Refusal) {
        self.cs(match why {
            Refusal::NoSuchNick => "Nobody is called so",
            Refusal::NoSuchRoom => "Nobody is in that channel",
            Refusal::TheyNotIn => "They are not in that channel",
            Refusal::TheyAreIn => "They are in that channel",
            Refusal::ListFull => "That list is full",
            _ => "You may not do that",
        });
    }
    /// What is kept of a registered room; a secret one is not registered as far as strangers are told.
    fn cs_record(&mut self, room: &str) -> Option<Arc<RoomRecord>> {
        let record = self.hall.record(room).filter(|record| self.cs_sees(record)).cloned();
        if record.is_none() {
            self.cs("That channel is not registered");
        }
        record
    }
    /// Whether who asks may know of a registered room: he sees it, is something there by his account, or is offered it.
    fn cs_sees(&self, record: &RoomRecord) -> bool {
        let me = self.me();
        let is_seen = match self.hall.room(&record.name) {
            Some(room) => self.hall.sees_room(me, room),
            None => !record.modes.contains_key(&Flag::Secret.letter()) || self.hall.may(me, Privilege::See),
        };
        is_seen || self.cs_right(record) != Rank::NONE || self.cs_is_offered(record)
    }
    fn cs_is_offered(&self, record: &RoomRecord) -> bool {
        let account = self.hall.user(self.me()).and_then(|user| user.account.as_deref());
        record.settings.get(OFFERED).is_some_and(|to| account.is_some_and(|account| **to == *names::fold(account)))
    }
    /// The same, where who asks is at least this there by his account, or an operator of the server who sees to rooms.
    fn cs_as(&mut self, room: &str, least: Rank) -> Option<Arc<RoomRecord>> {
        let record = self.cs_record(room)?;
        if !self.cs_right(&record).is_at_least(least) {
            self.cs("You may not do that in this channel");
            return None;
        }
        Some(record)
    }
    fn cs_right(&self, record: &RoomRecord) -> Rank {
        let me = self.me();
        if self.hall.may(me, Privilege::Rooms) { Rank::FOUNDER } else { self.hall.rank_by_right(&record.name, me) }
    }
    /// Stores a record, and says so.
    fn cs_store(&mut self, record: RoomRecord, done: String) {
        self.store(&[Change::Room(Arc::new(record))], move |talk, stored| match stored {
            Ok(()) => talk.cs(&done),
            Err(why) => talk.cs(why.text()),
        });
    }
    /// Changes modes of a room that is there, as the service, and says so once it is done.
    fn cs_mode(&mut self, room: &str, changes: &[modes::Change<'_>], done: String) {
        let (hall, mut tell) = self.teller();
        let plan = match hall.change_modes(room, changes, &By::Power(CHANSERV.into()), &mut tell) {
            Ok(plan) => plan,
            Err(why) => return self.cs_refuse(why),
        };
        self.accomplish(plan, move |talk, moded| match moded {
            Ok(moded) => {
                talk.client.answers.wait(moded.lines);
                match moded.refused.first() {
                    Some((_, _, why)) => talk.cs_refuse(*why),
                    None => talk.cs(&done),
                }
            }
            Err(why) => talk.cs(why.text()),
        });
    }

    // Registering.

    fn cs_register(&mut self, name: &str) {
        let (me, Some(account)) = (self.me(), self.account()) else {
            return self.cs("You must be logged in to register a channel");
        };
        if self.hall.record(name).is_some_and(|record| self.cs_sees(record)) {
            return self.cs("That channel is registered already");
        }
        let Some(room) =
            self.hall.room(name).filter(|room| room.rank(me).is_some_and(|rank| rank.is_at_least(Rank::OP)))
        else {
            return self.cs("You must be an operator of the channel to register it");
        };
        let at = self.cx.wall;
        let fresh = RoomRecord::new(&room.name, &account, at.0);
        let record = RoomRecord { keys: room.keys.kept(), ..self.hall.record_of(room, &fresh, at) };
        let name = room.name.to_string();
        let room = name.clone();
        let plan = Plan::new(vec![Change::Room(Arc::new(record))], move |hall, tell| {
            hall.grant(&room, me, Rank::FOUNDER, tell)
        });
        self.accomplish(plan, move |talk, stored| match stored {
            Ok(lines) => {
                talk.cs(&format!("Channel {name} successfully registered"));
                talk.client.answers.wait(lines);
            }
            Err(why) => talk.cs(why.text()),
        });
    }
    fn cs_unregister(&mut self, room: &str, code: Option<&str>) {
        let Some(record) = self.cs_as(room, Rank::FOUNDER) else { return };
        let name = record.name.clone();
        // It keeps people from doing so by mistake, and is no secret.
        let expect = format!("{:04}", record.registered.div_euclid(7) % 10_000);
        let Some(code) = code else {
            self.cs("What is kept of the channel would be gone for good.");
            return self.cs(&format!("To confirm, say: /msg ChanServ UNREGISTER {name} {expect}"));
        };
        if code != expect {
            return self.cs("That is not the code");
        }
        let change = self.hall.unregistered(&record);
        self.store(&[change], move |talk, stored| match stored {
            Ok(()) => talk.cs(&format!("Channel {name} is now unregistered")),
            Err(why) => talk.cs(why.text()),
        });
    }
    fn cs_transfer(&mut self, room: &str, account: &str) {
        let Some(record) = self.cs_as(room, Rank::FOUNDER) else { return };
        let Some(account) = self.hall.books.account(account).cloned() else {
            return self.cs("There is no such account");
        };
        let mut record = RoomRecord::clone(&record);
        let name = record.name.clone();
        if self.hall.may(self.me(), Privilege::Rooms) {
            record.founder.clone_from(&account.name);
            record.settings.remove(OFFERED);
            return self.cs_store(record, format!("Channel {name} is {}'s now", account.name));
        }
        record.settings.insert(OFFERED.into(), names::fold(&account.name).into());
        let text = format!("{} gets {name} by saying: /msg ChanServ TRANSFER ACCEPT {name}", account.name);
        self.cs_store(record, text);
    }
    fn cs_accept(&mut self, room: &str) {
        let Some(record) = self.cs_record(room) else { return };
        let Some(account) = self.account().filter(|_| self.cs_is_offered(&record)) else {
            return self.cs("That channel has not been offered to you");
        };
        let mut record = RoomRecord::clone(&record);
        record.founder = (*account).into();
        record.settings.remove(OFFERED);
        let text = format!("Channel {} is yours now", record.name);
        self.cs_store(record, text);
    }

    // Looking.

    fn cs_own(&mut self) {
        let Some(account) = self.account() else { return self.cs("You are not logged in") };
        let rooms: Vec<String> = self.hall.books.rooms_of(&account).map(|room| room.name.to_string()).collect();
        self.cs(&format!("You have registered {} channel(s)", rooms.len()));
        for room in rooms {
            self.cs(&room);
        }
    }
    fn cs_info(&mut self, room: &str) {
        let Some(record) = self.cs_record(room) else { return };
        self.cs(&format!("Channel {} is registered", record.name));
        self.cs(&format!("Founder: {}", record.founder));
        self.cs(&format!("Registered at: {}", time_tag(Wall(record.registered))));
        for (name, _) in SETTINGS.iter().filter(|(name, _)| *name != "slowmode") {
            if let Some(value) = record.settings.get(*name) {
                self.cs(&format!("{name}: {value}"));
            }
        }
    }
    fn cs_list(&mut self, pattern: &str) {
        if !self.hall.may(self.me(), Privilege::Rooms) {
            return self.cs("You may not do that");
        }
        let pattern = names::fold(pattern);
        let rooms = self.hall.books.rooms().filter(|room| mask::covers(&pattern, &names::fold(&room.name)));
        let rooms: Vec<String> =
            rooms.take(LISTED_MAX).map(|room| format!("{} ({})", room.name, room.founder)).collect();
        for room in rooms {
            self.cs(&room);
        }
        self.cs("End of list");
    }
    fn cs_ranks(&mut self, room: &str) {
        let Some(record) = self.cs_as(room, Rank::VOICE) else { return };
        self.cs(&format!("+q {}", record.founder));
        for (account, letter) in &record.ranks {
            self.cs(&format!("+{letter} {account}"));
        }
        self.cs("End of list");
    }

    // Ranks.

    fn cs_amode(&mut self, room: &str, change: &str, account: &str) {
        let Some(record) = self.cs_as(room, Rank::HALF) else { return };
        let (sets, letter) = match (change.chars().next(), change.chars().nth(1), change.chars().count()) {
            (Some('+'), Some(letter), 2) => (true, letter),
            (Some('-'), Some(letter), 2) => (false, letter),
            _ => return self.cs("That is not how it is written: AMODE #room +o ACCOUNT"),
        };
        let Some(rank) = Rank::of(letter) else { return self.cs("There is no such rank: a o h v") };
        if rank == Rank::FOUNDER {
            return self.cs("There is one founder: TRANSFER makes another");
        }
        let Some(account) = self.hall.books.account(account).cloned() else {
            return self.cs("There is no such account");
        };
        let theirs = self.hall.rank_by_account(&record.name, Some(&account.name));
        if theirs == Rank::FOUNDER || !self.cs_right(&record).grants(rank, sets, theirs) {
            return self.cs("You may not do that in this channel");
        }
        let key: Box<str> = names::fold(&account.name).into();
        let mut record = RoomRecord::clone(&record);
        let is_change = if sets {
            record.ranks.insert(key, letter) != Some(letter)
        } else {
            record.ranks.get(&key) == Some(&letter) && record.ranks.remove(&key).is_some()
        };
        if !is_change {
            return self.cs("It is so already");
        }
        if record.ranks.len() > RANKS_MAX {
            return self.cs("That list is full");
        }
        let (name, owner) = (record.name.clone(), account.name.clone());
        let (room, account) = (name.clone(), owner.clone());
        let plan = Plan::new(vec![Change::Room(Arc::new(record))], move |hall, tell| {
            hall.grant_account(&room, &account, (sets, letter), tell)
        });
        self.accomplish(plan, move |talk, stored| match stored {
            Ok(lines) => {
                let sign = if sets { '+' } else { '-' };
                talk.cs(&format!("{owner} has {sign}{letter} in {name} now"));
                talk.client.answers.wait(lines);
            }
            Err(why) => talk.cs(why.text()),
        });
    }
    /// Gives somebody the rank that his account has.
    fn cs_own_rank(&mut self, room: &str) {
        let Some(record) = self.cs_as(room, Rank::VOICE) else { return };
        let rank = self.cs_right(&record).highest();
        let (Some(letter), nick) = (rank.letter(), self.nick()) else { return };
        let change = modes::Change { sets: true, letter, param: Some(&nick) };
        self.cs_mode(&record.name, &[change], format!("You have +{letter} in {}", record.name));
    }
    fn cs_rank(&mut self, command: &str, room: &str, nick: &str) {
        let Some(record) = self.cs_as(room, Rank::HALF) else { return };
        let (sets, word) = command.strip_prefix("DE").map_or((true, command), |word| (false, word));
        let rank = match word {
            "OP" => Rank::OP,
            "HALFOP" => Rank::HALF,
            _ => Rank::VOICE,
        };
        let there = self.hall.find(nick).and_then(|(who, _)| self.hall.room(&record.name)?.rank(who));
        let Some(theirs) = there else { return self.cs_refuse(Refusal::TheyNotIn) };
        if !self.cs_right(&record).grants(rank, sets, theirs) {
            return self.cs("You may not do that in this channel");
        }
        let Some(letter) = rank.letter() else { return };
        let (sign, change) = (if sets { '+' } else { '-' }, modes::Change { sets, letter, param: Some(nick) });
        self.cs_mode(&record.name, &[change], format!("{nick} has {sign}{letter} in {}", record.name));
    }

    // Keeping order.

    fn cs_kick(&mut self, room: &str, nick: &str, reason: &str) {
        let Some(record) = self.cs_as(room, Rank::HALF) else { return };
        let Some((whom, _)) = self.hall.find(nick) else { return self.cs_refuse(Refusal::NoSuchNick) };
        let theirs = self.hall.room(&record.name).and_then(|room| room.rank(whom)).unwrap_or_default();
        if !self.cs_right(&record).removes(theirs) {
            return self.cs("You may not do that in this channel");
        }
        let own = self.nick();
        let reason = if reason.is_empty() { format!("({own})") } else { format!("{reason} ({own})") };
        let (hall, mut tell) = self.teller();
        match hall.put_out(&record.name, whom, &reason, &mut tell) {
            Ok(()) => {
                let is_in = self.hall.room(&record.name).is_some_and(|room| room.seats.contains_key(&self.me()));
                self.client.answers.wait(usize::from(is_in || whom == self.me()));
                self.cs(&format!("{nick} is put out of {}", record.name));
            }
            Err(why) => self.cs_refuse(why),
        }
    }
    fn cs_invite(&mut self, room: &str, nick: &str) {
        let Some(record) = self.cs_as(room, Rank::HALF) else { return };
        let Some((whom, _)) = self.hall.find(nick) else { return self.cs_refuse(Refusal::NoSuchNick) };
        let (hall, mut tell) = self.teller();
        match hall.ask_in(&record.name, whom, &mut tell) {
            Ok(()) => {
                self.client.answers.wait(usize::from(whom == self.me()));
                self.cs(&format!("{nick} is asked into {}", record.name));
            }
            Err(why) => self.cs_refuse(why),
        }
    }
    fn cs_ban(&mut self, room: &str, who: &str, sets: bool) {
        let Some(record) = self.cs_as(room, Rank::HALF) else { return };
        let done = if sets { "They are kept out now" } else { "They are kept out no longer" };
        self.cs_mode(&record.name, &[modes::Change { sets, letter: 'b', param: Some(who) }], done.to_owned());
    }
    fn cs_clear(&mut self, room: &str, what: &str) {
        let Some(record) = self.cs_as(room, Rank::FOUNDER) else { return };
        let (name, me, at) = (record.name.clone(), self.me(), self.cx.wall);
        match what.to_ascii_lowercase().as_str() {
            "users" => {
                let seats = self.hall.room(&name).map(|room| room.seats.keys().copied().collect::<Vec<_>>());
                let is_in = |talk: &Self| talk.hall.room(&name).is_some_and(|room| room.seats.contains_key(&me));
                for whom in seats.unwrap_or_default().into_iter().filter(|whom| *whom != me) {
                    let hears = is_in(self);
                    let (hall, mut tell) = self.teller();
                    let done = hall.put_out(&name, whom, "Cleared by its founder", &mut tell).is_ok();
                    self.client.answers.wait(usize::from(hears && done));
                }
                self.cs(&format!("Nobody else is in {name} now"));
            }
            "bans" => {
                let bans = self.hall.room(&name).map(|room| room.list(List::Ban, at).cloned().collect::<Vec<_>>());
                let bans = bans.unwrap_or_default();
                let changes: Vec<_> = bans
                    .iter()
                    .map(|entry| modes::Change { sets: false, letter: 'b', param: Some(&*entry.mask) })
                    .collect();
                let done = format!("Nobody is kept out of {name} now");
                if changes.is_empty() { self.cs(&done) } else { self.cs_mode(&name, &changes, done) }
            }
            "access" => {
                let record = RoomRecord { ranks: sotong_session::Map::new(), ..RoomRecord::clone(&record) };
                self.cs_store(record, format!("Nobody but its founder has a rank in {name} now"));
            }
            _ => self.cs("CLEAR takes users, access or bans"),
        }
    }

    // Settings.

    fn cs_get(&mut self, room: &str, setting: &str) {
        let Some(record) = self.cs_as(room, Rank::VOICE) else { return };
        let setting = setting.to_ascii_lowercase();
        if !SETTINGS.iter().any(|(known, _)| *known == setting) {
            return self.cs("There is no such setting");
        }
        let value = if setting == "slowmode" {
            record.modes.get(&'W').cloned().flatten()
        } else {
            record.settings.get(&*setting).cloned()
        };
        self.cs(&format!("{setting}: {}", value.as_deref().unwrap_or("off")));
    }
    fn cs_set(&mut self, room: &str, setting: &str, value: &str) {
        let Some(record) = self.cs_as(room, Rank::OP) else { return };
        let mut record = RoomRecord::clone(&record);
        let (setting, is_off) = (setting.to_ascii_lowercase(), value.eq_ignore_ascii_case("off"));
        let name = record.name.clone();
        match setting.as_str() {
            "slowmode" => {
                let seconds = value.parse::<u64>().ok().filter(|seconds| (1..=SLOW_SECONDS_MAX).contains(seconds));
                if !is_off && seconds.is_none() {
                    return self.cs("slowmode takes off, or a number of seconds between 1 and 21600");
                }
                let param = seconds.map(|seconds| seconds.to_string());
                if self.hall.room(&name).is_some() {
                    let change = modes::Change { sets: !is_off, letter: 'W', param: param.as_deref() };
                    let done = format!("slowmode: {}", param.as_deref().unwrap_or("off"));
                    return self.cs_mode(&name, &[change], done);
                }
                match &param {
                    Some(seconds) => record.modes.insert('W', Some(seconds.as_str().into())),
                    None => record.modes.remove(&'W'),
                };
                self.cs_store(record, format!("slowmode: {}", param.as_deref().unwrap_or("off")));
            }
            "description" | "url" => {
                let value = cut(value, SETTING_BYTES_MAX);
                if is_off {
                    record.settings.remove(&*setting);
                } else {
                    record.settings.insert(setting.as_str().into(), value.into());
                }
                self.cs_store(record, format!("{setting}: {}", if is_off { "off" } else { value }));
            }
            _ => self.cs("There is no such setting"),
        }
    }
}
