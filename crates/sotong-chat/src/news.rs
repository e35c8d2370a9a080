//! What happens in the hall, as it is told to those it concerns: rendered once for each form that somebody needs.
use crate::{
    ChatOptions,
    books::{Answer, Ask},
    caps::{Caps, Form},
    hall::Who,
    line::{self, Line},
    opers::Oper,
    text,
};
use sotong_http::date::Civil;
use sotong_irc::{Encoder, TAG_BYTES_MAX};
use sotong_session::{Address, Topic, Wall};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// What sessions of the chat send each other.
#[derive(Clone, Debug)]
pub struct Mail(pub(crate) Letter);

/// What is in a piece of mail.
#[derive(Clone, Debug)]
pub(crate) enum Letter {
    /// Something has happened.
    Told(Told),
    /// Work for a desk.
    Ask(Arc<Ask>),
    /// A desk's answer.
    Answer(Arc<Answer>),
    /// Somebody who has asked the store something has gone: to be asked anew, so that the answer is heard.
    Heed,
    /// The options have been read anew.
    Reloaded(Arc<Reloaded>),
    /// To look at the clock: something ends soon in a room.
    Time,
}

/// The options as they were, and as they are from now on: what a client has been told may be so no longer.
#[derive(Debug)]
pub(crate) struct Reloaded {
    pub(crate) before: Arc<ChatOptions>,
    pub(crate) now: Arc<ChatOptions>,
    /// Who is an operator of the server no more, and which one he was.
    pub(crate) demoted: BTreeMap<Who, Arc<Oper>>,
}

impl Mail {
    pub(crate) fn told(room: Option<Topic>, news: Arc<News>) -> Self {
        Self(Letter::Told(Told { room, news }))
    }
    pub(crate) fn reloaded(reloaded: Arc<Reloaded>) -> Self {
        Self(Letter::Reloaded(reloaded))
    }
    /// Work for a desk.
    pub fn ask(ask: Ask) -> Self {
        Self(Letter::Ask(Arc::new(ask)))
    }
    /// What a desk is asked, if this is a question.
    pub fn asked(&self) -> Option<&Ask> {
        match &self.0 {
            Letter::Ask(ask) => Some(ask),
            Letter::Told(_) | Letter::Answer(_) | Letter::Heed | Letter::Reloaded(_) | Letter::Time => None,
        }
    }
    /// A desk's answer.
    pub fn answer(answer: Answer) -> Self {
        Self(Letter::Answer(Arc::new(answer)))
    }
}

/// News on their way to a session.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The room through whose topic it comes; none where it is for one person alone.
    pub(crate) room: Option<Topic>,
    pub(crate) news: Arc<News>,
}

/// One thing that has happened.
#[derive(Debug)]
pub(crate) struct News {
    /// Its place in the hall's one order.
    pub(crate) place: u64,
    /// Who did it.
    pub(crate) by: Option<Who>,
    /// The connection that did it.
    pub(crate) from: Option<Address>,
    /// Who did it, as it is told: `nick!user@host`.
    pub(crate) source: Arc<str>,
    /// Who has let it say so, where it is nobody of the hall.
    pub(crate) relayed: Option<Arc<str>>,
    /// Whether that is a program.
    pub(crate) is_bot: bool,
    /// The account of who did it.
    pub(crate) account: Option<Arc<str>>,
    /// When, for people.
    pub(crate) at: Wall,
    /// Its name, where others can refer to it.
    pub(crate) msgid: Option<Box<str>>,
    /// Those of them who have been told it and may come back to it, where it was said to some alone.
    pub(crate) only: Option<Box<[Who]>>,
    /// Tags of the client that said it: names and values.
    pub(crate) tags: Vec<(Box<str>, Box<str>)>,
    pub(crate) what: What,
    forms: OnceLock<Rendered>,
}

/// A line in one form, and the next of them. There are as many as somebody needs, which is one, mostly.
#[derive(Debug)]
struct Rendered {
    form: Form,
    line: Line,
    next: OnceLock<Box<Self>>,
}

/// What has happened. A `stay` numbers somebody's time in a room: who leaves and comes back begins another.
#[derive(Debug)]
pub(crate) enum What {
    Said {
        verb: Verb,
        to: Arc<str>,
        text: Box<str>,
        /// The lines of a message of several (IRCv3 draft/multiline), of which `text` is made; else none.
        lines: Box<[Row]>,
    },
    Joined {
        room: Arc<str>,
        real: Arc<str>,
        stay: u64,
    },
    Parted {
        room: Arc<str>,
        reason: Option<Box<str>>,
        stay: u64,
    },
    Kicked {
        room: Arc<str>,
        whom: Who,
        nick: Arc<str>,
        reason: Box<str>,
        stay: u64,
    },
    Quit {
        reason: Box<str>,
    },
    Renamed {
        to: Arc<str>,
    },
    Topic {
        room: Arc<str>,
        text: Box<str>,
    },
    Moded {
        target: Arc<str>,
        changes: String,
    },
    Away {
        text: Option<Arc<str>>,
    },
    Real {
        text: Arc<str>,
    },
    /// Somebody has logged in, or out.
    Account,
    Invited {
        whom: Arc<str>,
        room: Arc<str>,
    },
    /// Another host is shown for somebody.
    Host {
        user: Arc<str>,
        host: Arc<str>,
    },
    /// Somebody is told as from where others are shown him now.
    ShownAs {
        nick: Arc<str>,
        host: Arc<str>,
    },
    /// A room is called otherwise.
    Retitled {
        from: Arc<str>,
        to: Arc<str>,
        reason: Box<str>,
    },
    /// What operators say to all who want to hear it.
    Wallops {
        text: Box<str>,
    },
    /// A key of somebody or of a room has been set, or taken away (IRCv3 draft/metadata).
    Key {
        target: Arc<str>,
        key: Box<str>,
        value: Option<Box<str>>,
    },
    /// A connection is ended by somebody else; it alone is told.
    Expelled {
        why: Box<str>,
    },
    /// Somebody who is watched has come (with his source) or gone (with his nick).
    Watched {
        here: bool,
        who: Arc<str>,
        by: Arc<str>,
    },
}

/// A line of a message of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) text: Box<str>,
    /// It goes on where the line before ends, without a break.
    pub(crate) is_more: bool,
}

/// How something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Privmsg,
    Notice,
    Tagmsg,
}

impl Verb {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Privmsg => "PRIVMSG",
            Self::Notice => "NOTICE",
            Self::Tagmsg => "TAGMSG",
        }
    }
}

impl News {
    pub(crate) fn new(place: u64, by: Option<(Who, Address)>, source: Arc<str>, at: Wall, what: What) -> Self {
        let (by, from) = (by.map(|(who, _)| who), by.map(|(_, from)| from));
        let (account, msgid, tags) = (None, None, Vec::new());
        Self {
            place,
            by,
            from,
            source,
            relayed: None,
            is_bot: false,
            account,
            at,
            msgid,
            only: None,
            tags,
            what,
            forms: OnceLock::new(),
        }
    }
    /// The same, told otherwise.
    pub(crate) fn with(&self, what: What) -> Self {
        Self {
            source: Arc::clone(&self.source),
            relayed: self.relayed.clone(),
            account: self.account.clone(),
            msgid: self.msgid.clone(),
            only: self.only.clone(),
            tags: self.tags.clone(),
            what,
            forms: OnceLock::new(),
            ..*self
        }
    }
    /// What a client must have asked for to be told of this; `own` tells whether it is about what the client itself did.
    pub(crate) fn is_for(&self, caps: Caps, own: bool) -> bool {
        match &self.what {
            What::Said { verb: Verb::Tagmsg, .. } => caps.has(Caps::MESSAGE_TAGS),
            What::Away { .. } => caps.has(Caps::AWAY_NOTIFY) && !own,
            What::Real { .. } => caps.has(Caps::SETNAME),
            What::Account => caps.has(Caps::ACCOUNT_NOTIFY),
            What::Host { .. } => caps.has(Caps::CHGHOST),
            What::Retitled { .. } => caps.has(Caps::CHANNEL_RENAME),
            What::Key { .. } => caps.has_metadata(),
            _ => true,
        }
    }
    /// Whether it was for this person, who reads it later.
    pub(crate) fn was_for(&self, who: Who) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&who))
    }
    /// Bytes of its words.
    pub(crate) fn words(&self) -> usize {
        match &self.what {
            What::Said { to, text, lines, .. } => {
                let rows: usize = lines.iter().map(|row| row.text.len() + size_of::<Row>()).sum();
                to.len() + text.len() + rows
            }
            _ => 0,
        }
    }
    /// The line, in the form that a client with these capabilities gets.
    pub(crate) fn line(&self, caps: Caps) -> &Line {
        self.form(caps.form(self.special()), || Line::new(|line| self.render(caps, line)))
    }
    /// The capabilities that change a line of this kind, beyond those that change all.
    fn special(&self) -> Caps {
        if self.relayed.is_some() {
            return self.special_by_kind().and(Caps::RELAYMSG);
        }
        self.special_by_kind()
    }
    fn special_by_kind(&self) -> Caps {
        match &self.what {
            What::Joined { .. } => Caps::EXTENDED_JOIN,
            What::Said { lines, .. } if !lines.is_empty() => Caps::MULTILINE.and(Caps::BATCH),
            What::Key { .. } => Caps::METADATA_3,
            _ => Caps::default(),
        }
    }
    /// Whether the line in that form is a batch of lines.
    pub(crate) fn is_batch(&self, caps: Caps) -> bool {
        matches!(&self.what, What::Said { lines, .. } if !lines.is_empty()) && caps.has_lines()
    }
    /// The line, for somebody who was not there: he sees when it was said, if only among the words.
    pub(crate) fn missed_line(&self, caps: Caps) -> Vec<u8> {
        match &self.what {
            What::Said { verb, to, text, lines } if !caps.has(Caps::SERVER_TIME) && !text.starts_with('\u{1}') => {
                let at = time_tag(self.at);
                let mut lines = lines.clone();
                if let Some(row) = lines.iter_mut().find(|row| !row.text.is_empty()) {
                    row.text = format!("[{at}] {}", row.text).into();
                }
                let what = What::Said { verb: *verb, to: Arc::clone(to), text: format!("[{at}] {text}").into(), lines };
                let mut news = Self::new(self.place, None, Arc::clone(&self.source), self.at, what);
                news.account.clone_from(&self.account);
                news.relayed.clone_from(&self.relayed);
                news.is_bot = self.is_bot;
                news.msgid.clone_from(&self.msgid);
                news.tags.clone_from(&self.tags);
                news.line(caps).to_vec()
            }
            _ => self.line(caps).to_vec(),
        }
    }
    /// What a person with a terminal is told; nothing for much of it.
    pub(crate) fn text(&self) -> &Line {
        self.form(Form::TEXT, || Line::new(|line| line.extend_from_slice(text::told(self).as_bytes())))
    }
    fn form(&self, form: Form, render: impl Fn() -> Line) -> &Line {
        let new = || Rendered { form, line: render(), next: OnceLock::new() };
        let mut rendered = self.forms.get_or_init(new);
        while rendered.form != form {
            rendered = rendered.next.get_or_init(|| Box::new(new()));
        }
        &rendered.line
    }

    /// A line with the tags that this client gets, and its source.
    fn begin<'l>(&self, caps: Caps, with_msgid: bool, line: &'l mut Vec<u8>) -> Encoder<'l> {
        let mut encoder = Encoder::new(line);
        if caps.has(Caps::SERVER_TIME) {
            encoder = encoder.tag("time", &time_tag(self.at));
        }
        if let Some(nick) = self.relayed.as_deref().filter(|_| caps.has(Caps::RELAYMSG)) {
            encoder = encoder.tag("draft/relaymsg", nick);
        }
        if let Some(account) = self.account.as_deref().filter(|_| caps.has(Caps::ACCOUNT_TAG)) {
            encoder = encoder.tag("account", account);
        }
        if caps.has(Caps::MESSAGE_TAGS) {
            if let Some(msgid) = self.msgid.as_ref().filter(|_| with_msgid) {
                encoder = encoder.tag("msgid", msgid);
            }
            if self.is_bot {
                encoder = encoder.tag("bot", "");
            }
            for (key, value) in &self.tags {
                encoder = encoder.tag(key, value);
            }
        }
        encoder.source(&*self.source)
    }
    /// A message of several lines: a batch, or where that is not understood its lines alone, without those that are empty.
    fn render_lines(&self, caps: Caps, (verb, to): (Verb, &str), lines: &[Row], out: &mut Vec<u8>) {
        if !caps.has_lines() {
            for (at, line) in lines.iter().filter(|line| !line.text.is_empty()).enumerate() {
                self.begin(caps, at == 0, out).word(verb.word()).word(to).text(&line.text).end();
            }
            return;
        }
        let name = format!("m{}", self.place);
        self.begin(caps, true, out).word("BATCH").word(format_args!("+{name}")).word("draft/multiline").word(to).end();
        for line in lines {
            let mut encoder = Encoder::new(out).tag("batch", &name);
            if line.is_more {
                encoder = encoder.tag("draft/multiline-concat", "");
            }
            encoder.source(&*self.source).word(verb.word()).word(to).text(&line.text).end();
        }
        Encoder::new(out).source(&*self.source).word("BATCH").word(format_args!("-{name}")).end();
    }
    fn render(&self, caps: Caps, line: &mut Vec<u8>) {
        if let What::Said { verb, to, lines, .. } = &self.what
            && !lines.is_empty()
        {
            return self.render_lines(caps, (*verb, to), lines, line);
        }
        let encoder = self.begin(caps, true, line);
        match &self.what {
            What::Said { verb: Verb::Tagmsg, to, .. } => encoder.word("TAGMSG").word(to).end(),
            What::Said { verb, to, text, .. } => encoder.word(verb.word()).word(to).text(text).end(),
            What::Joined { room, real, .. } if caps.has(Caps::EXTENDED_JOIN) => {
                encoder.word("JOIN").word(room).word(self.account.as_deref().unwrap_or("*")).text(real).end();
            }
            What::Joined { room, .. } => encoder.word("JOIN").word(room).end(),
            What::Parted { room, reason: Some(reason), .. } => encoder.word("PART").word(room).text(reason).end(),
            What::Parted { room, reason: None, .. } => encoder.word("PART").word(room).end(),
            What::Kicked { room, nick, reason, .. } => encoder.word("KICK").word(room).word(nick).text(reason).end(),
            What::Quit { reason } => encoder.word("QUIT").text(reason).end(),
            What::Renamed { to } => encoder.word("NICK").word(to).end(),
            What::Topic { room, text } => encoder.word("TOPIC").word(room).text(text).end(),
            What::Moded { target, changes } => {
                let words = changes.split(' ');
                words.fold(encoder.word("MODE").word(target), Encoder::word).end();
            }
            What::Away { text: Some(text) } => encoder.word("AWAY").text(text).end(),
            What::Away { text: None } => encoder.word("AWAY").end(),
            What::Real { text } => encoder.word("SETNAME").text(text).end(),
            What::Account => encoder.word("ACCOUNT").word(self.account.as_deref().unwrap_or("*")).end(),
            What::Host { user, host } => encoder.word("CHGHOST").word(user).word(host).end(),
            What::ShownAs { nick, host } => {
                encoder.word("396").word(nick).word(host).text("is now your displayed host").end();
            }
            What::Retitled { from, to, reason } => encoder.word("RENAME").word(from).word(to).text(reason).end(),
            What::Wallops { text } => encoder.word("WALLOPS").text(text).end(),
            // Whoever is told so ends the connection by it.
            What::Expelled { why } => encoder.word("NOTICE").word("*").text(why).end(),
            What::Invited { whom, room } => encoder.word("INVITE").word(whom).word(room).end(),
            What::Key { target, key, value } => render_key(caps, encoder, (target, key, value.as_deref())),
            What::Watched { here, who, by } => {
                let number = if *here { "730" } else { "731" };
                encoder.word(number).word(by).text(who).end();
            }
        }
        debug_assert!(line.len() <= line::HEADER_BYTES + TAG_BYTES_MAX + 512);
    }
}

/// A key as it is told to those who hear of it: by its command, or by number, as the second and the third draft have it.
/// One line is for all, so the number's addressee is `*`.
pub(crate) fn render_key(caps: Caps, encoder: Encoder<'_>, (target, key, value): (&str, &str, Option<&str>)) {
    match (caps.has(Caps::METADATA_3), value) {
        (true, Some(value)) => encoder.word("761").word("*").word(target).word(key).word("*").text(value).end(),
        (true, None) => encoder.word("766").word("*").word(target).word(key).text("Key is not set").end(),
        (false, Some(value)) => encoder.word("METADATA").word(target).word(key).word("*").text(value).end(),
        (false, None) => encoder.word("METADATA").word(target).word(key).word("*").end(),
    }
}

/// Civil time as a tag has it: `2026-11-26T04:55:02.123Z`.
pub(crate) fn time_tag(at: Wall) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::new(at.0.div_euclid(1000));
    let thousandths = at.0.rem_euclid(1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{thousandths:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotong_session::Output;

    #[test]
    fn time_as_a_tag() {
        assert_eq!(time_tag(Wall(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(time_tag(Wall(951_782_400_123)), "2000-02-29T00:00:00.123Z");
        assert_eq!(time_tag(Wall(1_795_668_902_999)), "2026-11-26T04:55:02.999Z");
    }

    #[test]
    fn a_line_is_rendered_once_for_each_form() {
        let what = What::Said { verb: Verb::Privmsg, to: "#a".into(), text: "hi".into(), lines: Box::default() };
        let mut news = News::new(1, None, "a!b@c".into(), Wall(0), what);
        news.msgid = Some("m1".into());
        let mut caps = Caps::default();
        assert_eq!(news.line(caps).line(), b":a!b@c PRIVMSG #a :hi\r\n");
        caps.set(Caps::SERVER_TIME, true);
        caps.set(Caps::AWAY_NOTIFY, true);
        assert_eq!(news.line(caps).line(), b"@time=1970-01-01T00:00:00.000Z :a!b@c PRIVMSG #a :hi\r\n");
        assert_eq!(news.line(caps).line().as_ptr(), news.line(caps).line().as_ptr());
        caps.set(Caps::MESSAGE_TAGS, true);
        caps.set(Caps::SERVER_TIME, false);
        assert_eq!(news.line(caps).line(), b"@msgid=m1 :a!b@c PRIVMSG #a :hi\r\n");
        // So is its frame, from the same bytes.
        let mut out = Output::new(sotong_session::Kind::Stream, sotong_session::Marks::default());
        news.line(caps).put(true, &mut out);
        assert_eq!(out.front(), Some(&b"\x81\x1f@msgid=m1 :a!b@c PRIVMSG #a :hi"[..]));
    }
}
