//! KLINE, DLINE, UNKLINE, UNDLINE: who is kept out of the server. And STATS.
use super::{Client, Talk};
use crate::{
    books::{BanRecord, Change, Refused},
    hall::{Plan, Target, duration, for_people, network},
    opers::Privilege,
    options::cut,
};
use sotong_irc::{Message, numeric};
use std::sync::Arc;

/// What STATS tells.
const STATS_HELP: &str = "STATS tells u (how long the server has been there), and operators d, k (bans), m (commands), \
                          o (operators), p (operators who are here) and z (counters)";
/// Bytes of why somebody is banned.
const REASON_BYTES_MAX: usize = 200;

impl Talk<'_, '_> {
    /// `KLINE [time] mask [reason [| note]]`, `DLINE [time] network [reason [| note]]`, and `LIST`.
    pub(super) fn ban(&mut self, command: &str, message: &Message<'_>) {
        let mut words = message.params().iter().copied().peekable();
        if words.peek().is_some_and(|word| word.eq_ignore_ascii_case("LIST")) {
            self.tell_bans(command);
            return;
        }
        let hits_self = words.next_if(|word| word.eq_ignore_ascii_case("MYSELF")).is_some();
        // A mask alone may look like a time.
        let time = if words.len() > 1 { words.peek().and_then(|word| duration(word)) } else { None };
        if time.is_some() {
            words.next();
        }
        let Some(target) = words.next().and_then(|word| target(command, word)) else {
            return self.fail_with(command, "INVALID_TARGET", &[], "That is no mask, or no network");
        };
        if target.is_everybody() {
            return self.fail_with(command, "INVALID_TARGET", &[&target], "That would be everybody");
        }
        let reason = words.collect::<Vec<_>>().join(" ");
        let (reason, note) = reason.split_once('|').unwrap_or((&reason, ""));
        let reason = if reason.trim().is_empty() { "No reason given" } else { cut(reason.trim(), REASON_BYTES_MAX) };
        let note = Some(cut(note.trim(), REASON_BYTES_MAX)).filter(|note| !note.is_empty());
        let at = self.cx.wall.0;
        let until = time.map(|seconds| at.saturating_add_unsigned(seconds.saturating_mul(1000)));
        let record = Arc::new(BanRecord {
            mask: target.to_string().into(),
            by: (&*self.nick()).into(),
            reason: reason.into(),
            oper_reason: note.map(Into::into),
            at,
            until,
        });
        let ban = crate::hall::Ban::new(&record);
        if !hits_self && self.hall.is_covered(&ban, self.me()) {
            return self.fail_with(
                command,
                "INVALID_TARGET",
                &[&target],
                "That is you; write MYSELF before it if you mean it",
            );
        }
        let time = time.map_or_else(|| "for good".to_owned(), |seconds| format!("for {}", for_people(seconds)));
        let (command, mask) = (command.to_owned(), record.mask.clone());
        let whom = mask.clone();
        let plan = Plan::new(vec![Change::Ban(record)], move |hall, tell| {
            hall.read_bans();
            hall.enforce(&whom, Some(tell.me), tell);
        });
        self.accomplish(plan, move |talk, stored| match stored {
            Ok(()) => {
                talk.done(&format!("{mask} is banned {time}"));
                let (hall, mut tell) = talk.teller();
                hall.enforce(&mask, None, &mut tell);
            }
            Err(why) => {
                talk.hall.read_bans();
                talk.cannot_store(&command, why);
            }
        });
    }
    pub(super) fn unban(&mut self, command: &str, message: &Message<'_>) {
        let written = message.param(0).unwrap_or("");
        let target = target(&command[2..], written).map(|target| target.to_string());
        let known = target.filter(|mask| self.hall.books.bans().any(|ban| *ban.mask == **mask));
        let Some(mask) = known else {
            return self.fail_with(command, "NO_SUCH_BAN", &[&cut(written, 64)], "There is no such ban");
        };
        let command = command.to_owned();
        let plan = Plan::new(vec![Change::NoBan(mask.as_str().into())], |hall, _| hall.read_bans());
        self.accomplish(plan, move |talk, stored| match stored {
            Ok(()) => talk.done(&format!("{mask} is banned no longer")),
            Err(why) => {
                talk.hall.read_bans();
                talk.cannot_store(&command, why);
            }
        });
    }
    pub(super) fn cannot_store(&mut self, command: &str, why: Refused) {
        self.fail(command, "TEMPORARILY_UNAVAILABLE", why.text());
    }
    fn tell_bans(&mut self, command: &str) {
        let lines = self.bans_of(if command == "DLINE" { 'd' } else { 'k' });
        for (mask, text) in lines {
            self.notice(&format!("{mask} {text}"));
        }
        self.notice("End of bans");
    }
    /// Bans of networks (d) or masks (k), and what there is to say of each.
    fn bans_of(&self, letter: char) -> Vec<(String, String)> {
        let now = self.cx.wall;
        let bans = self.hall.bans.all(now).filter(|ban| ban.target.is_network() == (letter == 'd'));
        let told = bans.map(|ban| {
            let record = &ban.record;
            let time = record.until.map_or_else(
                || "for good".to_owned(),
                |until| format!("for {} more", for_people(until.abs_diff(now.0) / 1000)),
            );
            let note = record.oper_reason.as_ref().map(|note| format!(" | {note}")).unwrap_or_default();
            (record.mask.to_string(), format!("{time}, by {}: {}{note}", record.by, record.reason))
        });
        told.collect()
    }

    // STATS.

    pub(super) fn stats(&mut self, message: &Message<'_>) {
        let Some(letter) = message.param(0).and_then(|word| word.chars().next()) else {
            return self.needs_more("STATS");
        };
        if letter != 'u' && !self.hall.may(self.me(), Privilege::Stats) {
            self.no_privileges();
            return self.reply(numeric::RPL_ENDOFSTATS, &[&letter], "End of STATS report");
        }
        match letter {
            'u' => {
                let up = self.cx.wall.0.saturating_sub(self.client.chat.options().created.0).max(0) / 1000;
                let (days, hours, minutes, seconds) = (up / 86_400, up / 3600 % 24, up / 60 % 60, up % 60);
                let text = format!("Server Up {days} days {hours}:{minutes:02}:{seconds:02}");
                self.reply(numeric::RPL_STATSUPTIME, &[], text);
            }
            'd' | 'k' => {
                let (number, sign) =
                    if letter == 'd' { (numeric::RPL_STATSDLINE, 'D') } else { (numeric::RPL_STATSKLINE, 'K') };
                for (mask, text) in self.bans_of(letter) {
                    self.reply(number, &[&sign, &mask], text);
                }
            }
            'm' => {
                let counts: Vec<_> =
                    self.hall.counts.commands().map(|(name, count)| (name.to_owned(), count)).collect();
                for (name, count) in counts {
                    self.reply_words(numeric::RPL_STATSCOMMANDS, &[&name, &count]);
                }
            }
            'o' => {
                let opers = self.client.chat.options().opers.clone();
                for oper in opers {
                    self.reply_words(numeric::RPL_STATSOLINE, &[&"O", &"*", &"*", &oper.name, &oper.class.name()]);
                }
            }
            'p' => {
                let opers =
                    self.hall.users().filter_map(|(_, user)| Some((Arc::clone(&user.nick), user.oper.clone()?)));
                let opers: Vec<_> = opers.collect();
                for (nick, oper) in opers {
                    let text = format!("{nick} ({}, {})", oper.name, oper.class.name());
                    self.reply(numeric::RPL_STATSDEBUG, &[&letter], text);
                }
            }
            'z' => self.tell_counts(),
            _ => self.notice(STATS_HELP),
        }
        self.reply(numeric::RPL_ENDOFSTATS, &[&letter], "End of STATS report");
    }
    fn tell_counts(&mut self) {
        let hall = &*self.hall;
        let mut lines = vec![
            format!("users: {}, most: {}", hall.users_len(), hall.users_most),
            format!("channels: {}", hall.rooms_len()),
            format!("not registered: {}", hall.newcomers.len()),
            format!("registered since the start: {}", hall.counts.registered),
            format!("unknown commands: {}", hall.counts.unknown),
        ];
        let limits = self.client.chat.counters.all();
        if hall.counts.not_kept > 0 {
            lines.push(format!("limit occupied_rooms: {}", hall.counts.not_kept));
        }
        lines.extend(limits.into_iter().map(|(name, count)| format!("limit {name}: {count}")));
        for line in lines {
            self.reply(numeric::RPL_STATSDEBUG, &[&'z'], line);
        }
    }
}

impl Client {
    /// REHASH, which reads files: the hall must not be locked.
    pub(super) fn rehash(&mut self, cx: &mut sotong_session::Cx<'_, crate::Mail>) {
        let chat = Arc::clone(&self.chat);
        let result = chat.rehash().map(crate::Rehash::ask);
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        match result {
            None => talk.notice("There is no configuration file to be read again"),
            Some(Ok(waiting)) => {
                talk.reply(numeric::RPL_REHASHING, &[&"configuration"], "Rehashing");
                talk.done("The configuration has been read again");
                if !waiting.is_empty() {
                    talk.notice(&format!("With the next start only, and until then as before: {}", waiting.join(", ")));
                }
            }
            Some(Err(why)) => {
                talk.fail("REHASH", "INVALID_CONFIG", &format!("The configuration stays as it was: {why}"));
            }
        }
    }
}

fn target(command: &str, written: &str) -> Option<Target> {
    match command {
        "DLINE" => network(written).map(Target::Network),
        _ if written.is_empty() => None,
        _ => Some(Target::mask(written)),
    }
}

#[cfg(test)]
mod tests {
    use crate::{ChatOptions, ChatService, Oper, OperClass, Rehash};
    use sotong_session::{End, Service as _, Way, Wire, rig::Rig};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn rehash_asks_the_server_around_the_chat() {
        let (password, class) = ("secret".to_owned(), OperClass::Admin);
        let oper = Oper { name: "boss".to_owned(), password, certificate: String::new(), class, vhost: String::new() };
        let chat = ChatService::new(ChatOptions { opers: vec![oper], ..ChatOptions::default() });
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        chat.on_rehash(Rehash::new(move || match counter.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(vec!["name", "[[listen]]"]),
            _ => Err("line 3 is wrong".to_owned()),
        }));
        let way = Way::new(End::Simulated(1), End::Simulated(2), Wire::Stream);
        let mut client = Rig::stream(chat.open(&way).expect("a session"));
        client.open_as(&way);
        client.input(b"NICK a\r\nUSER a 0 * :A\r\nREHASH\r\n");
        let heard = String::from_utf8(client.sent()).expect("UTF-8");
        assert!(heard.contains(" 481 a :") && asked.load(Ordering::Relaxed) == 0, "{heard}");
        client.input(b"OPER boss secret\r\nREHASH\r\nREHASH\r\n");
        let heard = String::from_utf8(client.sent()).expect("UTF-8");
        assert!(heard.contains(":sotong.local 382 a configuration :Rehashing\r\n"), "{heard}");
        let waiting = " NOTICE a :With the next start only, and until then as before: name, [[listen]]\r\n";
        assert!(heard.contains(waiting), "{heard}");
        let fault = "FAIL REHASH INVALID_CONFIG :The configuration stays as it was: line 3 is wrong\r\n";
        assert!(heard.contains(fault) && asked.load(Ordering::Relaxed) == 2, "{heard}");
    }
}
