//! Registration: CAP, PASS, NICK, USER; and NICK and CAP later.
use super::{Client, Leaving, Stage, Talk, sasl, services::Servant};
use crate::{
    caps::Caps,
    hall::{Attention, Entered, GONE, Keys, PersonModes, SAID, Taken, Teller, User, Who},
    lookups::{Lookups, Source},
    opers::HASHED,
    options::cut,
};
use sotong_irc::{Encoder, LINE_BYTES_MAX, Message, names, numeric};
use sotong_session::{Close, Moment};
use std::{net::IpAddr, sync::Arc};

/// What somebody has said of himself before he is let in.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) until: Moment,
    pub(super) lines: u32,
    pub(super) nick: Option<String>,
    user: Option<(String, String)>,
    /// Whether somebody is there (IRCv3 draft/pre-away).
    pub(super) attention: Attention,
    /// Keys it has set already (IRCv3 draft/metadata).
    pub(super) keys: Keys,
    password: Option<String>,
    /// The nick it has asked for last, though somebody else has it.
    pub(super) wanted: Option<String>,
    /// The account it is logged in to.
    pub(super) account: Option<Arc<str>>,
    /// When that was registered: another one of its name is another.
    pub(super) account_since: Option<i64>,
    /// Whether it agrees on capabilities first.
    negotiates: bool,
    /// Where it comes from, until it is looked up.
    pub(super) source: Option<Source>,
    /// What is looked up of it.
    pub(super) lookups: Option<Lookups>,
    /// Where it comes from, if it should be a gateway.
    pub(super) gateway: Option<IpAddr>,
    /// The address among whose connections it has been counted when it came, if it has.
    pub(super) counted: Option<IpAddr>,
}

impl Newcomer {
    pub(super) fn new(until: Moment, source: Option<Source>) -> Self {
        let (keys, negotiates) = (Keys::default(), false);
        Self {
            until,
            lines: 0,
            nick: None,
            user: None,
            attention: Attention::Here,
            keys,
            password: None,
            wanted: None,
            account: None,
            account_since: None,
            negotiates,
            source,
            lookups: None,
            gateway: None,
            counted: None,
        }
    }
    /// Whether it has said all that is needed, and only what is looked up of it has not come: what it says next is read then.
    pub(super) fn waits_for_lookups(&self) -> bool {
        !self.negotiates && self.user.is_some() && self.nick.is_some() && self.is_looked_up()
    }
    /// Whether it is being looked up.
    fn is_looked_up(&self) -> bool {
        self.lookups.as_ref().is_some_and(|lookups| lookups.deadline().is_some())
    }
    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Moment {
        let lookups = self.lookups.as_ref().and_then(Lookups::deadline);
        lookups.map_or(self.until, |until| until.min(self.until))
    }
}

impl Talk<'_, '_> {
    /// Carries a command out.
    pub(super) fn run(&mut self, message: &Message<'_>) -> Result<(), Close> {
        let command = message.command.to_ascii_uppercase();
        let unknown = self.hall.counts.unknown;
        self.carry_out(&command, message);
        // Only commands that there are, are counted by their names.
        if matches!(self.client.stage, Stage::Here) && self.hall.counts.unknown == unknown {
            self.hall.counts.command(&command);
        }
        self.register()
    }
    fn carry_out(&mut self, command: &str, message: &Message<'_>) {
        match command {
            "CAP" => self.cap(message),
            "PING" => self.ping(message),
            "PONG" => {}
            "QUIT" => self.quit(message),
            "NICK" => self.nick_command(message),
            "USER" | "PASS" if matches!(self.client.stage, Stage::Here) => {
                self.reply(numeric::ERR_ALREADYREGISTERED, &[], "You may not reregister");
            }
            "USER" => self.user(message),
            "PASS" => self.pass(message),
            "WEBIRC" => self.webirc(message),
            "AUTHENTICATE" => self.authenticate(message),
            "REGISTER" => self.register_account(message),
            "VERIFY" => self.verify_account(message),
            "METADATA" => self.metadata(message),
            "AWAY" if matches!(self.client.stage, Stage::New(_)) && self.client.caps.has(Caps::PRE_AWAY) => {
                self.away(message);
            }
            _ if matches!(self.client.stage, Stage::New(_)) => {
                self.reply(numeric::ERR_NOTREGISTERED, &[], "You have not registered");
            }
            command => self.registered(command, message),
        }
    }
    fn registered(&mut self, command: &str, message: &Message<'_>) {
        if let Some(servant) = Servant::of_command(command) {
            return match message.params() {
                [] => self.needs_more(command),
                words => self.serve(servant, &words.join(" ")),
            };
        }
        match command {
            "PRIVMSG" | "NOTICE" | "TAGMSG" => self.speak(command, message),
            "JOIN" => self.join(message),
            "PART" => self.part(message),
            "KICK" => self.kick(message),
            "INVITE" => self.invite(message),
            "TOPIC" => self.topic(message),
            "NAMES" => self.names(message),
            "LIST" => self.list(message),
            "MODE" => self.mode(message),
            "WHO" => self.who(message),
            "WHOIS" => self.whois(message),
            "WHOWAS" => self.whowas(message),
            "AWAY" => self.away(message),
            "SETNAME" => self.setname(message),
            "USERHOST" => self.userhost(message),
            "ISON" => self.ison(message),
            "MONITOR" => self.monitor(message),
            "MOTD" | "VERSION" | "TIME" | "ADMIN" | "INFO" | "LUSERS" | "LINKS" => self.about(command, message),
            "HELP" | "HELPOP" => self.help(message),
            "OPER" => self.oper(message),
            "KILL" | "REHASH" | "WALLOPS" | "KLINE" | "DLINE" | "UNKLINE" | "UNDLINE" | "CHGHOST" | "SAJOIN"
            | "SAPART" | "SAMODE" | "SANICK" => self.oper_command(command, message),
            "STATS" => self.stats(message),
            "RENAME" => self.rename_room(message),
            "RELAYMSG" => self.relay(message),
            "NPC" | "NPCA" | "SCENE" => self.roleplay(command, message),
            "ACCEPT" => self.accept(message),
            // There is one server alone.
            "CONNECT" | "SQUIT" => self.no_privileges(),
            unknown => {
                self.hall.counts.unknown += 1;
                self.reply(numeric::ERR_UNKNOWNCOMMAND, &[&unknown], "Unknown command");
            }
        }
    }

    fn ping(&mut self, message: &Message<'_>) {
        let Some(token) = message.param(0) else {
            return self.reply(numeric::ERR_NOORIGIN, &[], "No origin specified");
        };
        let name = self.client.chat.name.clone();
        self.say(&[&"PONG", &name], Some(&token));
    }
    fn quit(&mut self, message: &Message<'_>) {
        let said = message.param(0).map(|said| cut(said, self.client.chat.options().limits.reason_bytes_max));
        let why = said.map_or_else(|| GONE.to_owned(), |said| format!("{SAID}{said}"));
        if let Stage::Here = self.client.stage {
            // It is told as the others are, whether or not its owner has other clients.
            let source = self.hall.user(self.client.who).map(|user| Arc::clone(&user.source)).unwrap_or_default();
            let Client { answers, .. } = &mut *self.client;
            answers.write(self.cx.out, |line| Encoder::new(line).source(source).word("QUIT").text(&why).end());
            let (hall, mut tell) = self.teller();
            let place = hall.quit(&why, &mut tell);
            self.client.seats.close(place);
            self.client.stage = Stage::Over;
        }
        self.client.leaving = Some(Leaving::Quit(why.into()));
    }

    fn nick_command(&mut self, message: &Message<'_>) {
        let Some(written) = message.param(0) else {
            return self.reply(numeric::ERR_NONICKNAMEGIVEN, &[], "No nickname given");
        };
        let nick = match names::nick(written, self.client.chat.options().limits.nick_chars_max) {
            Ok(nick) => nick,
            Err(why) => {
                if why == names::NameError::TooLong {
                    self.hit("nick_chars_max");
                }
                return self.reply(numeric::ERR_ERRONEUSNICKNAME, &[&cut(written, 64)], why);
            }
        };
        if let Stage::New(newcomer) = &mut self.client.stage {
            // Whoever has not said yet which account is his may well have this nick in the end.
            if newcomer.negotiates || self.hall.is_free(Who::NOBODY, newcomer.account.as_deref(), &nick) {
                newcomer.nick = Some(nick);
                return;
            }
            newcomer.wanted = Some(nick.clone());
            return self.in_use(&nick);
        }
        if self.hall.user(self.me()).is_none_or(|user| *user.nick == *nick) {
            return;
        }
        if self.hall.ban_against_nick(self.me(), &nick, self.cx.wall).is_some() {
            return self.reply(numeric::ERR_ERRONEUSNICKNAME, &[&nick], "That nick is banned from this server");
        }
        if let Some(room) = self.hall.keeps_nick(self.me(), &nick, self.cx.wall).map(|room| Arc::clone(&room.name)) {
            let text = "You cannot change your nick while you are banned in that channel";
            return self.reply(numeric::ERR_BANONCHAN, &[&nick, &room], text);
        }
        let (hall, mut tell) = self.teller();
        match hall.rename(&nick, &mut tell) {
            Ok(()) => self.client.answers.wait(1),
            Err(Taken) => self.in_use(&nick),
        }
    }
    fn in_use(&mut self, nick: &str) {
        self.reply(numeric::ERR_NICKNAMEINUSE, &[&nick], "Nickname is already in use");
    }
    fn user(&mut self, message: &Message<'_>) {
        let Stage::New(newcomer) = &mut self.client.stage else { return };
        let (Some(user), Some(real)) = (message.param(0), message.param(3)) else { return self.needs_more("USER") };
        let real = cut(real, self.client.chat.options().limits.real_bytes_max).to_owned();
        newcomer.user = Some((format!("~{}", names::user(user, USER_CHARS_MAX - 1)), real));
    }
    fn pass(&mut self, message: &Message<'_>) {
        let Stage::New(newcomer) = &mut self.client.stage else { return };
        let Some(password) = message.param(0) else { return self.needs_more("PASS") };
        let hash = self.client.chat.options().password.clone().filter(|hash| hash.starts_with(HASHED));
        let Some(hash) = hash else {
            newcomer.password = Some(password.to_owned());
            return;
        };
        // A hash is dear: a connection has one try.
        if newcomer.password.replace(String::new()).is_none() {
            let known = Box::from(hash.as_str());
            self.verify(password, Some(known), move |talk, is_right| {
                if let (Stage::New(newcomer), Ok(true)) = (&mut talk.client.stage, is_right) {
                    // What is asked for is given from here on; what a client sends never gets here.
                    newcomer.password = Some(hash);
                }
            });
        }
    }

    // Capabilities.

    fn cap(&mut self, message: &Message<'_>) {
        let Some(asked) = message.param(0) else { return self.needs_more("CAP") };
        let asked = asked.to_ascii_uppercase();
        if let (Stage::New(newcomer), "LS" | "REQ") = (&mut self.client.stage, asked.as_str()) {
            newcomer.negotiates = true;
        }
        match asked.as_str() {
            "LS" => {
                let version = message.param(1).and_then(|version| version.parse().ok()).unwrap_or(0);
                self.client.cap_version = self.client.cap_version.max(version);
                if version >= 302 {
                    self.client.caps.set(Caps::CAP_NOTIFY, true);
                }
                let offers = Caps::offers(&self.client.chat.options(), version >= 302, self.client.is_secure);
                self.cap_list("LS", &offers);
            }
            "LIST" => {
                let set: Vec<String> = self.client.caps.names().map(str::to_owned).collect();
                self.cap_list("LIST", &set);
            }
            "REQ" => self.cap_req(message.param(1).unwrap_or("")),
            "END" => {
                if let Stage::New(newcomer) = &mut self.client.stage {
                    newcomer.negotiates = false;
                }
            }
            _ => self.reply(numeric::ERR_INVALIDCAPCMD, &[&cut(&asked, 32)], "Invalid CAP command"),
        }
    }
    /// All that is asked for, or nothing of it.
    fn cap_req(&mut self, asked: &str) {
        let mut caps = self.client.caps;
        let options = self.client.chat.options();
        for word in asked.split_ascii_whitespace() {
            let (name, on) = word.strip_prefix('-').map_or((word, true), |name| (name, false));
            let known = Caps::named(name, &options)
                .filter(|cap| on || *cap != Caps::CAP_NOTIFY || self.client.cap_version < 302);
            match known {
                Some(cap) => caps.set(cap, on),
                None => return self.cap_answer("NAK", asked),
            }
        }
        self.client.caps = caps;
        self.cap_answer("ACK", asked);
    }
    fn cap_answer(&mut self, what: &str, caps: &str) {
        let nick = self.nick();
        self.say(&[&"CAP", &nick, &what], Some(&caps));
    }
    /// A list, in as many lines as it needs where the client knows that more follow, and else in one, cut between two words.
    fn cap_list(&mut self, what: &str, caps: &[String]) {
        let nick = self.nick();
        let mut line = String::new();
        let beside = ": CAP   * :\r\n".len() + self.client.chat.name.len() + nick.len() + what.len();
        let most = LINE_BYTES_MAX.saturating_sub(beside);
        for cap in caps {
            if line.len() + 1 + cap.len() > most {
                if self.client.cap_version < 302 {
                    break;
                }
                self.say(&[&"CAP", &nick, &what, &"*"], Some(&line));
                line.clear();
            }
            line.extend([if line.is_empty() { "" } else { " " }, cap]);
        }
        self.cap_answer(what, &line);
    }

    // In.

    /// Sends a newcomer away.
    fn keep_out(&mut self, why: &str) -> Close {
        self.client.chat.counters.hit("bans");
        self.reply(numeric::ERR_YOUREBANNEDCREEP, &[], why);
        self.hall.newcomers.remove(&self.cx.me);
        self.client.stage = Stage::Over;
        let (host, out) = (&self.client.host, &mut *self.cx.out);
        out.render(|line| Encoder::new(line).word("ERROR").text(format_args!("Closing link: {host} ({why})")).end());
        Close::Protocol("banned".into())
    }
    /// Lets somebody in who has said all that is needed.
    pub(super) fn register(&mut self) -> Result<(), Close> {
        let Stage::New(newcomer) = &mut self.client.stage else { return Ok(()) };
        if newcomer.negotiates || newcomer.user.is_none() || newcomer.is_looked_up() || self.client.leaving.is_some() {
            return Ok(());
        }
        let (Some(nick), Some((user, real))) = (newcomer.nick.clone(), newcomer.user.clone()) else { return Ok(()) };
        let named = newcomer.lookups.as_ref().and_then(Lookups::user);
        let user = named.map_or(user, |named| names::user(named, USER_CHARS_MAX));
        if self.client.sasl.take().is_some() {
            // Who registers in the midst of it goes on without (IRCv3 SASL 3.1).
            let (number, text) = sasl::ABORTED;
            self.reply(number, &[], text);
        }
        let Stage::New(newcomer) = &mut self.client.stage else { return Ok(()) };
        let options = self.client.chat.options();
        if options.password.is_some() && options.password != newcomer.password {
            self.client.chat.counters.hit("password");
            self.reply(numeric::ERR_PASSWDMISMATCH, &[], "Password incorrect");
            self.hall.newcomers.remove(&self.cx.me);
            self.client.stage = Stage::Over;
            let (host, out) = (&self.client.host, &mut *self.cx.out);
            out.render(|line| {
                Encoder::new(line).word("ERROR").text(format_args!("Closing link: {host} (Bad password)")).end();
            });
            return Err(Close::Protocol("bad password".into()));
        }
        let modes = PersonModes::read(&options.default_user_modes);
        drop(options);
        let source = format!("{nick}!{user}@{}", self.client.host);
        let origin = self.client.origin();
        if let Some(ban) = self.hall.ban_against(&source, origin.as_ref(), self.cx.wall) {
            let why = format!("You are banned from this server ({})", ban.record.reason);
            return Err(self.keep_out(&why));
        }
        let Stage::New(newcomer) = &mut self.client.stage else { return Ok(()) };
        let mut user = User::new(&nick, &user, &self.client.host, &real, (self.cx.now, self.cx.wall));
        user.is_secure = self.client.is_secure;
        let now = newcomer.account.as_deref().and_then(|account| self.hall.books.account(account));
        if now.map(|account| account.registered) != newcomer.account_since {
            newcomer.account = None;
        }
        user.account.clone_from(&newcomer.account);
        user.modes = modes;
        let attention = std::mem::replace(&mut newcomer.attention, Attention::Here);
        let keys = newcomer.keys.clone();
        let tell = &mut Teller { me: Who::NOBODY, from: self.cx.me, at: self.cx.wall, host: &mut *self.cx.host };
        let (who, again) = match self.hall.come_in(user, attention, tell) {
            Ok(Entered::New(who)) => (who, None),
            Ok(Entered::Again(again)) => (again.who, Some(again)),
            Err(Taken) => {
                newcomer.nick = None;
                self.in_use(&nick);
                return Ok(());
            }
        };
        self.client.who = who;
        self.client.stage = Stage::Here;
        self.hall.counts.registered += 1;
        self.hall.came_from(self.cx.me, origin);
        self.welcome();
        self.tell_own_host();
        self.own_keys(&keys);
        if let Some(again) = again {
            self.come_back(&again);
        }
        Ok(())
    }
}

/// Characters of the user part of an address.
pub(super) const USER_CHARS_MAX: usize = 18;
