//! What of a chat's payloads is not for a log: passwords.

use std::borrow::Cow;
use std::collections::HashMap;

use sotong_session::Address;

/// Commands behind which passwords stand.
const COMMANDS: [&str; 12] = [
    "PASS",
    "OPER",
    "AUTHENTICATE",
    "REGISTER",
    "VERIFY",
    "WEBIRC",
    "NS",
    "NICKSERV",
    "CS",
    "CHANSERV",
    "HS",
    "HOSTSERV",
];
/// Whoever is spoken to so is told passwords.
const SERVICES: [&str; 6] = ["NICKSERV", "CHANSERV", "HOSTSERV", "NS", "CS", "HS"];
/// Commands that speak to them.
const SPEAKING: [&str; 3] = ["PRIVMSG", "NOTICE", "SQUERY"];
/// What a person with a terminal is asked before the answer that is a password.
const QUESTION: &[u8] = b"What is the password of this server?";
/// Bytes of the beginning of a line that tell what it is; one that has told nothing by then is hidden.
const HEAD_BYTES_MAX: usize = 512;
/// What stands in place of it.
const HIDDEN: &[u8] = b"***";

/// Where each connection is: a read may end in the middle of a line. An entry for each that has sent something and is open.
#[derive(Debug, Default)]
pub(crate) struct Secrets(HashMap<Address, Reading>);

#[derive(Debug, Default)]
struct Reading {
    /// The beginning of the line that is not whole.
    head: Vec<u8>,
    /// The rest of the line is not shown.
    hides: bool,
    /// The next line is a password.
    is_asked: bool,
    /// It is WebSocket's, whose masks hide nothing from who reads a log: nothing of it is shown.
    is_framed: bool,
}

impl Secrets {
    /// What may be shown of what a client has sent.
    pub(crate) fn received<'b>(&mut self, who: Address, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let is_first = !self.0.contains_key(&who);
        let reading = self.0.entry(who).or_default();
        if reading.is_framed {
            return HIDDEN.into();
        }
        reading.is_framed = is_first && bytes.starts_with(b"GET ");
        let mut shown = Vec::with_capacity(bytes.len());
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            reading.piece(piece, &mut shown);
        }
        if reading.is_framed
            && let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n")
        {
            shown = bytes[..end + 4].to_vec();
        }
        if shown == bytes { bytes.into() } else { shown.into() }
    }
    /// What may be shown of what it is sent: all of it; but what it is asked matters.
    pub(crate) fn sent(&mut self, who: Address, bytes: &[u8]) {
        if bytes.windows(QUESTION.len()).any(|words| words == QUESTION) {
            self.0.entry(who).or_default().is_asked = true;
        }
    }
    pub(crate) fn closed(&mut self, who: Address) {
        self.0.remove(&who);
    }
}

impl Reading {
    /// A piece of a line, with its end if it has come.
    fn piece(&mut self, piece: &[u8], shown: &mut Vec<u8>) {
        let was_hidden = self.hides;
        let before = self.head.len();
        let room = HEAD_BYTES_MAX.saturating_sub(before).min(piece.len());
        self.head.extend_from_slice(&piece[..room]);
        let end = if piece.ends_with(b"\n") { &b"\n"[..] } else { b"" };
        self.hides |= self.is_asked || (before == 0 || !was_hidden) && self.is_secret();
        if self.hides {
            // A word that tells what it is may be shown where it stands whole in this piece.
            let word = if before == 0 && !self.is_asked { self.words_shown() } else { 0 };
            shown.extend_from_slice(&piece[..word.min(piece.len() - end.len())]);
            shown.extend_from_slice(HIDDEN);
            shown.extend_from_slice(end);
        } else {
            shown.extend_from_slice(piece);
        }
        if !end.is_empty() {
            let is_asked = std::mem::take(&mut self.is_asked) && self.head == b"\n";
            *self = Self { is_framed: self.is_framed, is_asked, ..Self::default() };
        }
    }
    /// Whether a password stands in the line that begins so, or may: its first words have not come, or are too long to tell.
    fn is_secret(&self) -> bool {
        let text = String::from_utf8_lossy(&self.head);
        let is_whole = self.head.ends_with(b"\n");
        let mut words = text.split_ascii_whitespace().skip_while(|word| word.starts_with(['@', ':']));
        let (command, target) = (words.next(), words.next());
        let is_among = |known: &[&str], word: &str| known.iter().any(|known| known.eq_ignore_ascii_case(word));
        match (command, target) {
            (Some(command), _) if is_among(&COMMANDS, command) => true,
            (Some(command), Some(target)) if is_among(&SPEAKING, command) => {
                let name = |target: &str| target.split('@').next().unwrap_or_default().to_owned();
                target.split(',').any(|target| is_among(&SERVICES, &name(target)))
            }
            // The rest of the word may make it one of them: the beginning of a name says nothing.
            (Some(_), _) => self.head.len() >= HEAD_BYTES_MAX && !is_whole && words.next().is_none(),
            (None, _) => self.head.len() >= HEAD_BYTES_MAX,
        }
    }
    /// Bytes up to the end of the command.
    fn words_shown(&self) -> usize {
        let text = String::from_utf8_lossy(&self.head);
        let command = text.split_ascii_whitespace().find(|word| !word.starts_with(['@', ':']));
        let at = command.and_then(|command| Some(text.find(command)? + command.len()));
        at.filter(|at| text.len() == self.head.len() && *at < self.head.len()).map_or(0, |at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Address = Address { shard: 0, slot: 1, turn: 1 };

    fn log(pieces: &[&str]) -> String {
        let mut secrets = Secrets::default();
        let shown = pieces.iter().map(|piece| secrets.received(WHO, piece.as_bytes()).into_owned());
        shown.map(|shown| String::from_utf8(shown).expect("UTF-8")).collect()
    }

    #[test]
    fn passwords_are_in_no_log() {
        for line in [
            "PASS sesame-pw\r\n",
            "oper admin sesame-pw\r\n",
            "@label=1 NS IDENTIFY sesame-pw\r\n",
            "PRIVMSG NickServ :IDENTIFY sesame-pw\r\n",
            "PRIVMSG ns@localhost :IDENTIFY sesame-pw\r\n",
            "AUTHENTICATE c2VzYW1lLXB3\r\n",
            "REGISTER * * sesame-pw\r\n",
            "NICKSERV REGISTER sesame-pw\r\n",
            "WEBIRC sesame-pw gateway host 192.0.2.1\r\n",
        ] {
            // Whole, and cut behind any byte.
            for cut in 0..line.len() {
                let (one, other) = line.split_at(cut);
                let shown = log(&["NICK a\r\n", one, other, "JOINED\r\nPRIVMSG #a :hello\r\n"]);
                assert!(shown.starts_with("NICK a\r\n") && shown.ends_with("PRIVMSG #a :hello\r\n"), "{cut}: {shown}");
                assert!(!shown.contains("sesame") && !shown.contains("c2Vz"), "{line:?} cut at {cut}: {shown}");
            }
        }
        assert_eq!(log(&["PASS sesame\r\nPING x\r\n"]), "PASS ***\nPING x\r\n");
        assert_eq!(log(&["PRIVMSG #a :NS is nice\r\n"]), "PRIVMSG #a :NS is nice\r\n");
        assert!(!log(&["GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "\u{1}\u{2}abc", "PING x"]).contains("abc"));
    }

    #[test]
    fn what_a_terminal_is_asked_for_is_hidden() {
        let mut secrets = Secrets::default();
        secrets.sent(WHO, b"What is the password of this server?\n");
        assert_eq!(&*secrets.received(WHO, b"sesame\n"), b"***\n");
        assert_eq!(&*secrets.received(WHO, b"minsu\n"), b"minsu\n");
        secrets.closed(WHO);
        assert!(secrets.0.is_empty());
    }
}
