//! Lists that may be long: written a piece at a time, as the output has room.
use super::who::{Fields, who_line};
use crate::{
    caps::Caps,
    hall::{Flag, Hall, Keys, Rank, Room, User, Who},
    log::Shelf,
    news::render_key,
    opers::Privilege,
};
use sotong_irc::{Encoder, mask, names, numeric};
use sotong_session::{Topic, Wall};
use std::sync::Arc;

/// A list that is being written. It goes on behind what was written last, so it needs no copy of what is listed.
#[derive(Debug)]
pub(crate) struct Page {
    nick: Arc<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Who is in a room.
    Names {
        room: Topic,
        /// What the end of it is told of; nothing: more follows.
        name: Option<Box<str>>,
        after: Option<Who>,
    },
    /// Rooms.
    List {
        query: Query,
        after: String,
    },
    /// People by a mask, or all in a room.
    Who {
        mask: Box<str>,
        shown: Box<str>,
        fields: Option<Fields>,
        /// Operators of the server alone.
        opers: bool,
        after: String,
    },
    Missed(Missed),
    WhoRoom {
        room: Topic,
        shown: Box<str>,
        fields: Option<Fields>,
        /// Operators of the server alone.
        opers: bool,
        after: Option<Who>,
    },
    /// Keys that the client is told of, of a room and of all in it (IRCv3 draft/metadata).
    Keys {
        room: Topic,
        name: Box<str>,
        subs: Box<[Box<str>]>,
        batch: String,
        stage: Stage,
    },
}

/// How far the keys of a room have been written.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Begin,
    Room,
    People(Option<Who>),
}

/// What somebody has missed, who has come back.
#[derive(Debug)]
struct Missed {
    shelf: Shelf<Who>,
    /// The room it was said in; none where it was said to him alone.
    room: Option<Box<str>>,
    /// The place of what was written last.
    after: u64,
    until: u64,
    has_begun: bool,
}

impl Missed {
    /// In a room it is one batch (IRCv3 chathistory), where the client knows batches.
    fn next(&mut self, hall: &Hall, (me, caps): (Who, Caps), lines: &mut Vec<u8>) -> bool {
        let batch = self.room.as_deref().filter(|_| caps.has(Caps::BATCH));
        let tail = hall.tail(self.shelf, self.after).take_while(|news| news.place <= self.until);
        let Some(news) = tail.into_iter().find(|news| news.was_for(me) && news.is_for(caps, false)) else {
            if batch.is_some() && self.has_begun {
                Encoder::new(lines).source(&hall.server).word("BATCH").word("-missed").end();
            }
            return true;
        };
        self.after = news.place;
        if let Some(room) = batch
            && !std::mem::replace(&mut self.has_begun, true)
        {
            let encoder = Encoder::new(lines).source(&hall.server).word("BATCH").word("+missed");
            encoder.word("chathistory").word(room).end();
        }
        let missed = news.missed_line(caps);
        for line in missed.split_inclusive(|byte| *byte == b'\n') {
            // What is in a batch of its own (a message of several lines) is tagged with that.
            let tagged = line.strip_prefix(b"@");
            if batch.is_some() && !line.starts_with(b"@batch=") {
                lines.extend_from_slice(if tagged.is_some() { b"@batch=missed;" } else { b"@batch=missed " });
                lines.extend_from_slice(tagged.unwrap_or(line));
            } else {
                lines.extend_from_slice(line);
            }
        }
        false
    }
}

/// Which rooms are to be listed (ELIST).
#[derive(Debug, Default)]
pub(crate) struct Query {
    names: Vec<String>,
    not_names: Vec<String>,
    more_than: Option<usize>,
    less_than: Option<usize>,
    /// Made, and topic set, before or after these moments.
    made: (Option<i64>, Option<i64>),
    topic: (Option<i64>, Option<i64>),
}

impl Query {
    pub(super) fn read(written: &str, now: Wall) -> Self {
        let mut query = Self::default();
        let minutes_ago = |count: &str| Some(now.0 - count.parse::<u32>().ok().map(i64::from)? * 60_000);
        for word in written.split(',').filter(|word| !word.is_empty()) {
            let mut chars = word.chars();
            match (chars.next(), chars.as_str().chars().next()) {
                (Some('>'), _) => query.more_than = word[1..].parse().ok(),
                (Some('<'), _) => query.less_than = word[1..].parse().ok(),
                (Some('C' | 'c'), Some('>')) => query.made.0 = minutes_ago(&word[2..]),
                (Some('C' | 'c'), Some('<')) => query.made.1 = minutes_ago(&word[2..]),
                (Some('T' | 't'), Some('>')) => query.topic.0 = minutes_ago(&word[2..]),
                (Some('T' | 't'), Some('<')) => query.topic.1 = minutes_ago(&word[2..]),
                (Some('!'), _) => query.not_names.push(names::fold(&word[1..])),
                _ => query.names.push(names::fold(word)),
            }
        }
        query
    }
    fn covers(&self, key: &str, room: &Room) -> bool {
        let within = |at: i64, (before, after): (Option<i64>, Option<i64>)| {
            before.is_none_or(|before| at < before) && after.is_none_or(|after| at > after)
        };
        let topic = room.topic.as_ref().map(|topic| topic.at.0);
        let count = room.seats.len();
        (self.names.is_empty() || self.names.iter().any(|mask| mask::covers(mask, key)))
            && !self.not_names.iter().any(|mask| mask::covers(mask, key))
            && self.more_than.is_none_or(|most| count > most)
            && self.less_than.is_none_or(|least| count < least)
            && within(room.created.0, self.made)
            && (self.topic == (None, None) || topic.is_some_and(|at| within(at, self.topic)))
    }
}

impl Page {
    pub(super) fn names(room: Topic, name: &str, nick: Arc<str>) -> Self {
        Self { nick, what: What::Names { room, name: Some(name.into()), after: None } }
    }
    /// The same without an end: the names of several rooms have one.
    pub(super) fn some_names(room: Topic, nick: Arc<str>) -> Self {
        Self { nick, what: What::Names { room, name: None, after: None } }
    }
    pub(super) fn list(query: Query, nick: Arc<str>) -> Self {
        Self { nick, what: What::List { query, after: String::new() } }
    }
    pub(super) fn who(mask: &str, (fields, opers): (Option<Fields>, bool), nick: Arc<str>) -> Self {
        let (shown, mask) = (mask.into(), names::fold(mask).into());
        Self { nick, what: What::Who { mask, shown, fields, opers, after: String::new() } }
    }
    pub(super) fn who_room(room: Topic, shown: &str, (fields, opers): (Option<Fields>, bool), nick: Arc<str>) -> Self {
        Self { nick, what: What::WhoRoom { room, shown: shown.into(), fields, opers, after: None } }
    }
    /// What was said behind one place, and not behind another.
    pub(super) fn missed(shelf: Shelf<Who>, room: Option<&str>, (from, until): (u64, u64), nick: Arc<str>) -> Self {
        let room = room.map(Into::into);
        Self { nick, what: What::Missed(Missed { shelf, room, after: from, until, has_begun: false }) }
    }
    pub(super) fn keys(room: Topic, name: &str, subs: Box<[Box<str>]>, batch: String, nick: Arc<str>) -> Self {
        Self { nick, what: What::Keys { room, name: name.into(), subs, batch, stage: Stage::Begin } }
    }
    /// Writes some lines, if there are any. True with the last.
    pub(super) fn next(&mut self, hall: &Hall, me: Who, caps: Caps, lines: &mut Vec<u8>) -> bool {
        let nick = &self.nick;
        match &mut self.what {
            What::Names { room, name, after } => {
                names_line(hall, (me, caps), nick, (*room, name.as_deref()), after, lines)
            }
            What::Missed(missed) => missed.next(hall, (me, caps), lines),
            What::List { query, after } => {
                let seen = |room: &Room| hall.sees_room(me, room);
                let found = hall.rooms_after(after).find(|(key, room)| seen(room) && query.covers(key, room));
                let Some((key, room)) = found else {
                    end(hall, nick, numeric::RPL_LISTEND, None, "End of LIST", lines);
                    return true;
                };
                let topic = room.topic.as_ref().map_or("", |topic| &topic.text);
                let encoder = Encoder::new(lines).source(&hall.server).word(numeric::RPL_LIST).word(nick);
                encoder.word(&room.name).word(room.seats.len()).text(topic).end();
                *after = key.to_owned();
                false
            }
            What::Who { mask, shown, fields, opers, after } => {
                let sees = hall.may(me, Privilege::See);
                let visible =
                    |who: Who, user: &User| who == me || !user.is_invisible() || sees || hall.share_a_room(me, who);
                let found = hall.users_after(after).find(|(key, user)| {
                    let who = hall.find(key).map(|(who, _)| who);
                    who.is_some_and(|who| visible(who, user))
                        && is_meant(mask, user)
                        && (!*opers || user.oper.is_some())
                });
                let Some((key, user)) = found else {
                    end(hall, nick, numeric::RPL_ENDOFWHO, Some(shown), "End of WHO list", lines);
                    return true;
                };
                who_line(hall, (me, caps), nick, (None, user), fields.as_ref(), lines);
                *after = key.to_owned();
                false
            }
            What::WhoRoom { room, shown, fields, opers, after } => {
                let room = hall.room_by(*room).filter(|room| hall.sees_room(me, room));
                let found = room.and_then(|room| Some((room, seen(hall, room, me, *after, *opers).next()?)));
                let Some((room, (who, rank, user))) = found else {
                    end(hall, nick, numeric::RPL_ENDOFWHO, Some(shown), "End of WHO list", lines);
                    return true;
                };
                who_line(hall, (me, caps), nick, (Some((room, rank)), user), fields.as_ref(), lines);
                *after = Some(who);
                false
            }
            What::Keys { room, name, subs, batch, stage } => {
                keys_lines(hall, (me, caps), (*room, name, subs), batch, stage, lines)
            }
        }
    }
}

/// The next of a room's keys, or of one person's there. The lines between the batch's ends are tagged with it.
fn keys_lines(
    hall: &Hall,
    (me, caps): (Who, Caps),
    (room, name, subs): (Topic, &str, &[Box<str>]),
    batch: &str,
    stage: &mut Stage,
    lines: &mut Vec<u8>,
) -> bool {
    let has_batch = caps.has(Caps::BATCH);
    let mut write = |target: &str, keys: &Keys| {
        for (key, value) in subs.iter().filter_map(|key| Some((&**key, keys.get(key)?))) {
            let encoder = Encoder::new(lines);
            let encoder = if has_batch { encoder.tag("batch", batch) } else { encoder };
            render_key(caps, encoder.source(&hall.server), (target, key, Some(value)));
        }
    };
    let room = hall.room_by(room);
    match (*stage, room) {
        (Stage::Begin, _) => {
            *stage = Stage::Room;
            if has_batch {
                let encoder = Encoder::new(lines).source(&hall.server).word("BATCH").word(format_args!("+{batch}"));
                encoder.word("metadata").word(name).end();
            }
            return false;
        }
        (Stage::Room, Some(room)) => {
            *stage = Stage::People(None);
            write(&room.name, &room.keys);
            return false;
        }
        (Stage::People(after), Some(room)) => {
            if let Some((who, _, user)) = seen(hall, room, me, after, false).next() {
                *stage = Stage::People(Some(who));
                write(&user.nick, &user.keys);
                return false;
            }
        }
        (Stage::Room | Stage::People(_), None) => {}
    }
    if has_batch {
        Encoder::new(lines).source(&hall.server).word("BATCH").word(format_args!("-{batch}")).end();
    }
    true
}

fn is_meant(mask: &str, user: &User) -> bool {
    let of = |text: &str| mask::covers(mask, &names::fold(text));
    mask == "0" || of(&user.nick) || of(&user.user) || of(&user.host) || of(&user.real)
}
/// Those in a room behind `after` whom `me` may see there.
fn seen<'h>(
    hall: &'h Hall,
    room: &'h Room,
    me: Who,
    after: Option<Who>,
    opers: bool,
) -> impl Iterator<Item = (Who, Rank, &'h User)> {
    let sees_all = room.seats.contains_key(&me) || hall.may(me, Privilege::See);
    let is_meant = move |user: &User| (sees_all || !user.is_invisible()) && (!opers || user.oper.is_some());
    let hides = room.has(Flag::Auditorium);
    hall.seated(room, after)
        .filter(move |(who, _, user)| is_meant(user) && (!hides || room.shows(me, *who)))
        .map(|(who, seat, user)| (who, seat.rank, user))
}
fn names_line(
    hall: &Hall,
    (me, caps): (Who, Caps),
    nick: &Arc<str>,
    (room, name): (Topic, Option<&str>),
    after: &mut Option<Who>,
    lines: &mut Vec<u8>,
) -> bool {
    let mut text = String::new();
    if let Some(room) = hall.room_by(room).filter(|room| hall.sees_room(me, room)) {
        let left = 400_usize.saturating_sub(nick.len() + room.name.len() + hall.server.len());
        for (who, rank, user) in seen(hall, room, me, *after, false) {
            let signs = rank.signs(caps.has(Caps::MULTI_PREFIX));
            let named = if caps.has(Caps::USERHOST_IN_NAMES) { &user.source } else { &user.nick };
            if !text.is_empty() && text.len() + signs.len() + named.len() > left {
                break;
            }
            text.extend([signs.as_str(), &**named, " "]);
            *after = Some(who);
        }
        if !text.is_empty() {
            let sign = if room.has(Flag::Secret) { '@' } else { '=' };
            let encoder = Encoder::new(lines).source(&hall.server).word(numeric::RPL_NAMREPLY).word(nick);
            encoder.word(sign).word(&room.name).text(text.trim_end()).end();
            return false;
        }
    }
    if name.is_some() {
        end(hall, nick, numeric::RPL_ENDOFNAMES, name, "End of NAMES list", lines);
    }
    true
}
fn end(hall: &Hall, nick: &str, number: sotong_irc::Numeric, word: Option<&str>, text: &str, lines: &mut Vec<u8>) {
    let encoder = Encoder::new(lines).source(&hall.server).word(number).word(nick);
    word.into_iter().fold(encoder, Encoder::word).text(text).end();
}
