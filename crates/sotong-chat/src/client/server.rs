//! What the server says of itself.
use super::{Talk, register::USER_CHARS_MAX};
use crate::{
    ChatOptions,
    hall::{PersonModes, Tally, entry},
    news::time_tag,
    opers::Privilege,
};
use sotong_irc::{Message, mask, names, numeric};
use std::sync::Arc;

/// What 005 tells in one line.
const TOKENS_A_LINE: usize = 12;
const TEXT_HELP: [(&str, &str); 16] = [
    ("JOIN", "JOIN #room[,#room…] [key[,key…]]: go into rooms; a new room is yours"),
    ("PART", "PART #room [:reason]: leave a room"),
    ("PRIVMSG", "PRIVMSG #room|nick :words: say something"),
    ("NICK", "NICK name: be called otherwise"),
    ("TOPIC", "TOPIC #room [:words]: see or set what a room is about"),
    ("NAMES", "NAMES #room: who is in a room"),
    ("LIST", "LIST [mask]: which rooms there are"),
    ("MODE", "MODE #room [+b mask …]: see or set what a room allows"),
    ("INVITE", "INVITE nick #room: ask somebody in"),
    ("KICK", "KICK #room nick [:reason]: put somebody out"),
    ("WHOIS", "WHOIS nick: who somebody is"),
    ("ACCEPT", "ACCEPT nick[,-nick…]: who may speak to you alone though you have mode R"),
    ("RENAME", "RENAME #room #name [:reason]: call a room otherwise"),
    ("NICKSERV", "NS HELP: what can be done with accounts"),
    ("CHANSERV", "CS HELP: what can be done with registered rooms"),
    ("QUIT", "QUIT [:reason]: leave"),
];

impl Talk<'_, '_> {
    pub(super) fn welcome(&mut self) {
        let chat = Arc::clone(&self.client.chat);
        let options = chat.options();
        let source = self.hall.user(self.me()).map(|user| Arc::clone(&user.source)).unwrap_or_default();
        let (name, version) = (&chat.name, &options.version);
        let welcome = format!("Welcome to the {} network, {source}", options.network);
        self.reply(numeric::RPL_WELCOME, &[], welcome);
        self.reply(numeric::RPL_YOURHOST, &[], format_args!("Your host is {name}, running version {version}"));
        self.reply(numeric::RPL_CREATED, &[], format_args!("This server was created {}", time_tag(options.created)));
        self.reply_words(
            numeric::RPL_MYINFO,
            &[
                name,
                version,
                &PersonModes::LETTERS,
                &if options.roleplay { "CEIMRUWabefghiklmnoqstuv" } else { "CIMRUWabefghiklmnoqstuv" },
                &"IWabefghkloqv",
            ],
        );
        self.isupport();
        self.lusers();
        self.motd();
        let letters = self.hall.user(self.me()).map(|user| user.modes.letters()).unwrap_or_default();
        if !letters.is_empty() {
            self.reply_words(numeric::RPL_UMODEIS, &[&format_args!("+{letters}")]);
        }
    }
    fn isupport(&mut self) {
        let tokens = tokens(&self.client.chat.options());
        self.tell_tokens(&tokens);
    }
    /// Tells tokens by 005, or that there are such no more.
    pub(super) fn tell_tokens(&mut self, tokens: &[String]) {
        for line in tokens.chunks(TOKENS_A_LINE) {
            let words: Vec<&dyn std::fmt::Display> = line.iter().map(|token| token as _).collect();
            self.reply(numeric::RPL_ISUPPORT, &words, "are supported by this server");
        }
    }
    /// The commands that ask a server about itself; there is this one alone.
    pub(super) fn about(&mut self, command: &str, message: &Message<'_>) {
        let name = self.client.chat.name.clone();
        let target = message.param(0).filter(|_| command != "LUSERS" && command != "LINKS");
        if let Some(target) = target
            && !mask::covers(&names::fold(target), &names::fold(&name))
            && self.hall.find(target).is_none()
        {
            return self.reply(numeric::ERR_NOSUCHSERVER, &[&target], "No such server");
        }
        match command {
            "MOTD" => self.motd(),
            "VERSION" => {
                let version = self.client.chat.options().version.clone();
                self.reply(numeric::RPL_VERSION, &[&version, &name], "IRC and plain text in the same rooms");
                self.isupport();
            }
            "TIME" => {
                let (at, seconds) = (time_tag(self.cx.wall), self.cx.wall.0.div_euclid(1000));
                self.reply(numeric::RPL_TIME, &[&name, &seconds, &"0"], at);
            }
            "ADMIN" => {
                let network = self.client.chat.options().network.clone();
                self.reply(numeric::RPL_ADMINME, &[&name], "Administrative info");
                self.reply(numeric::RPL_ADMINLOC1, &[], network);
                self.reply(numeric::RPL_ADMINLOC2, &[], "Sotong chat");
                self.reply(numeric::RPL_ADMINEMAIL, &[], "Nobody has been named");
            }
            "INFO" => {
                let version = self.client.chat.options().version.clone();
                self.reply(numeric::RPL_INFO, &[], version);
                self.reply(numeric::RPL_INFO, &[], "One server, one port, one room for everybody.");
                self.reply(numeric::RPL_ENDOFINFO, &[], "End of INFO list");
            }
            "LINKS" => {
                // How servers are linked is their operators' business.
                if self.hall.may(self.me(), Privilege::Stats) {
                    let description = self.client.chat.options().described().to_owned();
                    self.reply(numeric::RPL_LINKS, &[&name, &name], format_args!("0 {description}"));
                }
                self.reply(numeric::RPL_ENDOFLINKS, &[&"*"], "End of LINKS list");
            }
            _ => self.lusers(),
        }
    }
    fn motd(&mut self) {
        let chat = Arc::clone(&self.client.chat);
        let options = chat.options();
        if options.motd.is_empty() {
            return self.reply(numeric::ERR_NOMOTD, &[], "There is no message of the day");
        }
        self.reply(numeric::RPL_MOTDSTART, &[], format_args!("- {} Message of the day -", chat.name));
        for line in &options.motd {
            self.reply(numeric::RPL_MOTD, &[], format_args!("- {line}"));
        }
        self.reply(numeric::RPL_ENDOFMOTD, &[], "End of MOTD");
    }
    fn lusers(&mut self) {
        let (users, most, new) = (self.hall.users_len(), self.hall.users_most, self.hall.newcomers.len());
        let Tally { invisible: hidden, opers } = self.hall.tally();
        let seen = users - hidden;
        let text = format!("There are {seen} users and {hidden} invisible on 1 server");
        self.reply(numeric::RPL_LUSERCLIENT, &[], text);
        self.reply(numeric::RPL_LUSEROP, &[&opers], "operator(s) online");
        self.reply(numeric::RPL_LUSERUNKNOWN, &[&new], "unknown connection(s)");
        let rooms = self.hall.rooms_len();
        self.reply(numeric::RPL_LUSERCHANNELS, &[&rooms], "channels formed");
        self.reply(numeric::RPL_LUSERME, &[], format_args!("I have {users} clients and 0 servers"));
        let text = format!("Current local users {users}, max {most}");
        self.reply(numeric::RPL_LOCALUSERS, &[&users, &most], text);
        let text = format!("Current global users {users}, max {most}");
        self.reply(numeric::RPL_GLOBALUSERS, &[&users, &most], text);
    }
    pub(super) fn help(&mut self, message: &Message<'_>) {
        let subject = message.param(0).unwrap_or("*").to_ascii_uppercase();
        let lines: Vec<_> = TEXT_HELP.iter().filter(|(command, _)| subject == "*" || *command == subject).collect();
        if lines.is_empty() {
            return self.reply(numeric::ERR_HELPNOTFOUND, &[&subject], "There is no help on that");
        }
        self.reply(numeric::RPL_HELPSTART, &[&subject], "What can be done here");
        for (_, line) in lines {
            self.reply(numeric::RPL_HELPTXT, &[&subject], line);
        }
        self.reply(numeric::RPL_ENDOFHELP, &[&subject], "End of HELP");
    }
}

/// What 005 tells of a server with these options: one name each, with its value.
pub(super) fn tokens(options: &ChatOptions) -> Vec<String> {
    let (limits, network) = (&options.limits, &options.network);
    let reasons = limits.reason_bytes_max;
    // Where there is no limit, a token has no value (Modern IRC, RPL_ISUPPORT parameters); MAXLIST has no such form.
    let (rooms, targets) = (value(limits.rooms_max), value(limits.targets_max));
    let listed = (limits.list_modes_max != usize::MAX).then(|| maxlist(limits.list_modes_max));
    let mut tokens = vec![
        format!("ACCOUNTEXTBAN={}", entry::ACCOUNT_NAMES),
        format!("AWAYLEN={}", limits.away_bytes_max),
        "BOT=B".to_owned(),
        "CASEMAPPING=ascii".to_owned(),
        format!("CHANLIMIT=#:{rooms}"),
        format!("CHANMODES=Ibeg,k,Wfl,C{}MRUimnstu", if options.roleplay { "E" } else { "" }),
        format!("CHANNELLEN={}", limits.room_chars_max),
        "CHANTYPES=#".to_owned(),
        "ELIST=CMNTU".to_owned(),
        "EXCEPTS=e".to_owned(),
        format!("EXTBAN=,{}", entry::LETTERS),
        "INVEX".to_owned(),
        format!("KEYLEN={}", limits.key_bytes_max),
        format!("KICKLEN={reasons}"),
        token("MODES", limits.modes_max),
        token("MONITOR", limits.monitor_max),
        format!("NAMELEN={}", limits.real_bytes_max),
        format!("NETWORK={network}"),
        format!("NICKLEN={}", limits.nick_chars_max),
        "PREFIX=(qaohv)~&@%+".to_owned(),
        "SAFELIST".to_owned(),
        "STATUSMSG=~&@%+".to_owned(),
        format!("TARGMAX=JOIN:,KICK:{0},LIST:,NAMES:,NOTICE:{0},PART:,PRIVMSG:{0},TAGMSG:{0},WHOIS:1", targets),
        format!("TOPICLEN={}", limits.topic_bytes_max),
        format!("USERLEN={USER_CHARS_MAX}"),
        "UTF8ONLY".to_owned(),
        "WHOX".to_owned(),
    ];
    tokens.extend(listed);
    tokens.sort_unstable();
    tokens
}

/// Each list has as many entries of its own: together they would be written as one (Modern IRC, MAXLIST).
fn maxlist(most: usize) -> String {
    let lists: Vec<_> = ["I", "b", "e", "g"].iter().map(|letter| format!("{letter}:{most}")).collect();
    format!("MAXLIST={}", lists.join(","))
}
/// A limit as a token's value; nothing where there is none.
fn value(limit: usize) -> String {
    if limit == usize::MAX { String::new() } else { limit.to_string() }
}
/// A token whose value is a limit; alone where there is none.
fn token(name: &str, limit: usize) -> String {
    if limit == usize::MAX { name.to_owned() } else { format!("{name}={limit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChatLimits;

    #[test]
    fn what_has_no_limit_has_no_number() {
        let with = tokens(&ChatOptions::default());
        for token in ["CHANLIMIT=#:100", "MAXLIST=I:60,b:60,e:60,g:60", "MODES=20", "MONITOR=100"] {
            assert!(with.iter().any(|told| told == token), "{token}: {with:?}");
        }
        let none = usize::MAX;
        let limits = ChatLimits {
            rooms_max: none,
            list_modes_max: none,
            modes_max: none,
            monitor_max: none,
            targets_max: none,
            ..ChatLimits::default()
        };
        let without = tokens(&ChatOptions { limits, ..ChatOptions::default() });
        let targets = "TARGMAX=JOIN:,KICK:,LIST:,NAMES:,NOTICE:,PART:,PRIVMSG:,TAGMSG:,WHOIS:1";
        for token in ["CHANLIMIT=#:", "MODES", "MONITOR", targets] {
            assert!(without.iter().any(|told| told == token), "{token}: {without:?}");
        }
        assert!(!without.iter().any(|told| told.starts_with("MAXLIST")), "{without:?}");
        // No client reads a number of twenty digits.
        assert!(!without.iter().any(|told| told.contains(&none.to_string())), "{without:?}");
    }
}
