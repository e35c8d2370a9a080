//! The hall's one order, as somebody who is in every room has heard it, and what each of the others must have heard of it.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Something that happened in the hall, as an IRC client is told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// Where the one who did it is from, which tells connections apart.
    pub(crate) host: String,
    pub(crate) nick: String,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Said {
        room: String,
        words: String,
    },
    /// By which connection, if it says so.
    Tagged {
        room: String,
        by: String,
    },
    Joined {
        room: String,
    },
    Parted {
        room: String,
    },
    Kicked {
        room: String,
        whom: String,
    },
    Topic {
        room: String,
        text: String,
    },
    Moded {
        room: String,
        changes: String,
    },
    Renamed {
        to: String,
    },
    Quit {
        reason: String,
    },
}

/// A line of the server's: its tags, its source, its words.
pub(crate) struct Line<'a> {
    pub(crate) tags: &'a str,
    pub(crate) source: &'a str,
    pub(crate) words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    pub(crate) fn read(line: &'a str) -> Self {
        let (tags, rest) = match line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
            Some((tags, rest)) => (tags, rest),
            None => ("", line),
        };
        let (source, rest) = match rest.strip_prefix(':').and_then(|rest| rest.split_once(' ')) {
            Some((source, rest)) => (source, rest),
            None => ("", rest),
        };
        let (plain, text) = match rest.split_once(" :") {
            Some((plain, text)) => (plain, Some(text)),
            None => (rest, None),
        };
        Self { tags, source, words: plain.split(' ').chain(text).collect() }
    }
    /// The same, with its end or without.
    pub(crate) fn read_end(line: &'a str) -> Self {
        Self::read(line.trim_end())
    }
    /// It was said before, and is told to somebody who has come back.
    fn is_missed(&self) -> bool {
        self.tags.split(';').any(|tag| tag == "batch=missed")
    }
    pub(crate) fn command(&self) -> &'a str {
        self.words[0]
    }
    pub(crate) fn param(&self, at: usize) -> &'a str {
        self.words.get(1 + at).copied().unwrap_or("")
    }
    /// What happened in the hall, if that is what it tells.
    pub(crate) fn event(&self) -> Option<Event> {
        let (nick, rest) = self.source.split_once('!')?;
        let host = rest.split_once('@')?.1.to_owned();
        let room = self.param(0).to_owned();
        let is_room = room.starts_with('#');
        let last = self.words.last().copied().unwrap_or("").to_owned();
        let what = match self.command() {
            "PRIVMSG" if is_room => What::Said { room, words: last },
            "TAGMSG" if is_room => {
                let by = self.tags.split(';').find_map(|tag| tag.strip_prefix("+by=")).unwrap_or_default().to_owned();
                What::Tagged { room, by }
            }
            "JOIN" => What::Joined { room },
            "PART" => What::Parted { room },
            "KICK" => What::Kicked { room, whom: self.param(1).to_owned() },
            "TOPIC" => What::Topic { room, text: last },
            "MODE" if is_room => What::Moded { room, changes: self.words[2..].join(" ") },
            "NICK" => What::Renamed { to: room },
            "QUIT" => What::Quit { reason: last },
            _ => return None,
        };
        Some(Event { host, nick: nick.to_owned(), what })
    }
}

/// What decides which of it somebody is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ear<'a> {
    /// The connection.
    pub(crate) id: u64,
    /// Where its owner is from, as others are shown him.
    pub(crate) host: &'a str,
    pub(crate) is_person: bool,
    pub(crate) echo: bool,
    pub(crate) tags: bool,
}

/// Everybody, as far as the observer has heard.
#[derive(Default)]
struct Hall {
    rooms: BTreeMap<String, BTreeSet<String>>,
    hosts: BTreeMap<String, String>,
}

impl Hall {
    fn is_in(&self, host: &str, room: &str) -> bool {
        self.rooms.get(host).is_some_and(|rooms| rooms.contains(room))
    }
    fn share(&self, one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (self.rooms.get(one), self.rooms.get(other)) else { return false };
        !one.is_disjoint(other)
    }
    /// Whether `ear` is told of this, which happens now.
    fn tells(&self, ear: &Ear<'_>, event: &Event) -> bool {
        let own = event.host == ear.host;
        match &event.what {
            // What another client of his has said he is told as everybody is.
            What::Said { room, words } => {
                let own = own && words.split('-').next() == Some(&ear.id.to_string());
                self.is_in(ear.host, room) && (!own || ear.echo)
            }
            What::Tagged { room, by } => {
                let own = own && *by == ear.id.to_string();
                self.is_in(ear.host, room) && ear.tags && (!own || ear.echo)
            }
            // Who speaks by lines is answered to what he does, and told of what others do.
            What::Joined { room } | What::Parted { room } | What::Topic { room, .. } | What::Moded { room, .. } => {
                self.is_in(ear.host, room) && !(own && ear.is_person)
            }
            What::Kicked { room, .. } => self.is_in(ear.host, room),
            // One's own new nick is told wherever one is, and the observer need not hear of it.
            What::Renamed { .. } | What::Quit { .. } => !own && self.share(ear.host, &event.host),
        }
    }
    fn come(&mut self, event: &Event) {
        self.hosts.insert(event.nick.clone(), event.host.clone());
        if let What::Joined { room } = &event.what {
            self.rooms.entry(event.host.clone()).or_default().insert(room.clone());
        }
    }
    fn go(&mut self, event: &Event) {
        let mut leave = |host: &str, room: &str| {
            if let Some(rooms) = self.rooms.get_mut(host) {
                rooms.remove(room);
            }
        };
        match &event.what {
            What::Parted { room } => leave(&event.host, room),
            What::Kicked { room, whom } => {
                if let Some(host) = self.hosts.get(whom) {
                    leave(&host.clone(), room);
                }
            }
            What::Renamed { to } => {
                self.hosts.remove(&event.nick);
                self.hosts.insert(to.clone(), event.host.clone());
            }
            What::Quit { .. } => {
                self.hosts.remove(&event.nick);
                self.rooms.remove(&event.host);
            }
            _ => {}
        }
    }
}

/// What `ear` is told of all that the observer heard, and whether the observer heard its end.
pub(crate) fn expected(all: &[Event], ear: &Ear<'_>) -> (Vec<String>, bool) {
    let mut hall = Hall::default();
    let mut told = Vec::new();
    let mut has_quit = false;
    for event in all {
        hall.come(event);
        if hall.tells(ear, event) {
            told.push(if ear.is_person { text(event) } else { event.to_string() });
        }
        has_quit |= event.host == ear.host && matches!(event.what, What::Quit { .. });
        hall.go(event);
    }
    (told, has_quit)
}

/// What was said in rooms, as it is told to somebody who has come back: room and words.
pub(crate) fn missed(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(Line::read).filter(Line::is_missed);
    let said = lines.filter_map(|line| match line.event()?.what {
        // Without server-time, the time stands before the words.
        What::Said { room, words } => {
            Some((room, words.rsplit_once("Z] ").map_or(&*words, |(_, words)| words).to_owned()))
        }
        _ => None,
    });
    said.collect()
}

/// What was said in `room`, of all that somebody is told.
pub(crate) fn said_in(room: &str, told: &[String]) -> Vec<String> {
    let begin = format!(" Said {{ room: {room:?}, words: ");
    told.iter()
        .filter_map(|event| Some(event.split_once(&begin)?.1.trim_end_matches(" }").trim_matches('"').to_owned()))
        .collect()
}

/// Whether what somebody has heard is a part of what he is told, without a gap; where that begins, and how many of his own JOINs
/// stand before it: who shares a nick with another client of his is told of the rooms that he is in already.
pub(crate) fn part_of(
    expected: &[String],
    heard: &[String],
    is_own_join: impl Fn(&String) -> bool,
) -> Option<(usize, usize)> {
    let joins = heard.iter().take_while(|event| is_own_join(event)).count();
    (0..=joins).rev().find_map(|joins| {
        let rest = &heard[joins..];
        let fits = |begin: &usize| expected[*begin..].starts_with(rest);
        // Where nothing is left, he has heard up to the end as far as is known.
        let within = (0..=expected.len() - rest.len().min(expected.len())).rev().find(fits);
        let beyond = || (0..=expected.len()).find(|begin| goes_beyond(expected, *begin, rest));
        within.or_else(beyond).map(|begin| (joins, begin))
    })
}
/// Whether somebody has heard all of this from `begin` on, and then, as the server was leaving, what the observer did not hear
/// any more.
fn goes_beyond(told: &[String], begin: usize, heard: &[String]) -> bool {
    let Some(more) = heard.strip_prefix(&told[begin..]) else { return false };
    more.iter().filter(|event| event.contains(" Said { ")).all(|event| !told.contains(event))
}

/// What `ear` has heard of what happens in the hall, in the form of [`expected`].
pub(crate) fn heard(text: &str, ear: &Ear<'_>) -> Vec<String> {
    let lines = text.lines();
    if ear.is_person {
        return lines.filter_map(told).collect();
    }
    let lines = lines.map(Line::read).filter(|line| !line.is_missed());
    let events = lines.filter_map(|line| line.event());
    // His new nick and his own QUIT he is told wherever he is.
    let is_own =
        |event: &Event| event.host == ear.host && matches!(event.what, What::Renamed { .. } | What::Quit { .. });
    events.filter(|event| !is_own(event)).map(|event| event.to_string()).collect()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, nick, what } = self;
        write!(f, "{nick}@{host} {what:?}")
    }
}

/// What somebody with a terminal is told of it, without reasons.
fn text(event: &Event) -> String {
    let nick = &event.nick;
    match &event.what {
        What::Said { words, .. } => format!("{nick}: {words}"),
        What::Tagged { .. } => String::new(),
        What::Joined { .. } => format!("* {nick} has joined"),
        What::Parted { .. } | What::Quit { .. } => format!("* {nick} has left"),
        What::Kicked { whom, .. } => format!("* {nick} has put {whom} out"),
        What::Topic { text, .. } => format!("* {nick} says what this is about: {text}"),
        What::Moded { changes, .. } => format!("* {nick} has set {changes}"),
        What::Renamed { to } => format!("* {nick} is called {to} from now on"),
    }
}
/// A line at a terminal that tells what happened, without its reason.
fn told(line: &str) -> Option<String> {
    let (nick, rest) = match line.strip_prefix("* ") {
        None => line.split_once(": ")?,
        Some(rest) => rest.split_once(' ')?,
    };
    let is_name = !nick.is_empty() && !nick.contains(' ');
    if !line.starts_with("* ") {
        return is_name.then(|| line.to_owned());
    }
    let tells = |words: &str| rest.starts_with(words);
    let has_reason = tells("has left") || tells("has put ");
    let tells = has_reason
        || rest == "has joined"
        || tells("says what this is about: ")
        || tells("has set ")
        || tells("is called ") && rest.ends_with(" from now on");
    let line = if has_reason { line.split(" (").next().unwrap_or(line) } else { line };
    (is_name && tells).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = ":eye!~u@h0 JOIN #a\n:eye!~u@h0 JOIN #b\n:one!~u@h1 JOIN #a\n:one!~u@h1 PRIVMSG #a :1-1 hi\n\
        :two!~u@h2 JOIN #a\n:eye!~u@h0 PRIVMSG #b :secret\n:one!~u@h1 NICK uno\n:two!~u@h2 PRIVMSG #a :2-1 yes\n\
        :eye!~u@h0 KICK #a two :out\n:uno!~u@h1 PRIVMSG #a :1-2 alone\n:two!~u@h2 QUIT :bye\n:uno!~u@h1 PART #a\n";

    #[test]
    fn what_each_is_told() {
        let all: Vec<Event> = ALL.lines().filter_map(|line| Line::read(line).event()).collect();
        assert_eq!(all.len(), 12);
        let one = Ear { id: 1, host: "h1", is_person: false, echo: false, tags: true };
        let (told, has_quit) = expected(&all, &one);
        let text = ":one!~u@h1 JOIN #a\n@a=b :two!~u@h2 JOIN #a\n:one!~u@h1 NICK uno\n:two!~u@h2 PRIVMSG #a :2-1 yes\n\
            :eye!~u@h0 KICK #a two :out\n:uno!~u@h1 PART #a\n";
        assert_eq!((told, has_quit), (heard(text, &one), false));
        let two = Ear { id: 2, host: "h2", is_person: true, echo: false, tags: false };
        let (told, has_quit) = expected(&all, &two);
        let text =
            "* In #a: eye, one\n* one is called uno from now on\n* eye has put two out (out)\n* You are in no room";
        assert_eq!((told, has_quit), (heard(text, &two), true));
    }
}
