//! The dialogs, each by its protocol: what is said, and what the answer means.
use super::Upgrade;
use sotong_session::{Close, End, Way};
use std::net::SocketAddr;

/// How far a dialog has come.
#[derive(Debug, Default)]
pub(super) enum Dialog {
    Smtp(Smtp),
    /// The greeting has been heard.
    Imap(bool),
    Pop3(bool),
    Irc,
    Xmpp {
        domain: String,
        asked: bool,
    },
    #[default]
    Postgres,
    Ldap,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Smtp {
    Greeting(SocketAddr),
    /// Whether STARTTLS is among what was offered so far.
    Offers(bool),
    Answer,
}

/// What a server's words mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// They are not whole yet.
    Part,
    /// Nothing to answer; there may be more.
    Next,
    Say(Vec<u8>),
    /// TLS begins now.
    Agreed,
}

/// The tag of the one IMAP command.
const TAG: &[u8] = b"s1";
/// SSLRequest: length and code, big-endian.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The name of StartTLS as LDAP has it (RFC 4511, section 4.14.1).
const LDAP_START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const XMPP_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// Bytes of an answer that are shown.
const SHOWN_BYTES_MAX: usize = 80;

impl Dialog {
    pub(super) fn new(upgrade: Upgrade, domain: &str) -> Self {
        match upgrade {
            Upgrade::Smtp => Self::Smtp(Smtp::Greeting(SocketAddr::from(([127, 0, 0, 1], 0)))),
            Upgrade::Imap => Self::Imap(false),
            Upgrade::Pop3 => Self::Pop3(false),
            Upgrade::Irc => Self::Irc,
            Upgrade::Xmpp => Self::Xmpp { domain: escaped(domain), asked: false },
            Upgrade::Postgres => Self::Postgres,
            Upgrade::Ldap => Self::Ldap,
        }
    }

    /// What the client says first.
    pub(super) fn begin(&mut self, way: &Way) -> Vec<u8> {
        match self {
            Self::Smtp(state) => {
                if let End::Net(local) = way.local {
                    *state = Smtp::Greeting(local);
                }
                Vec::new()
            }
            Self::Imap(_) | Self::Pop3(_) => Vec::new(),
            Self::Irc => b"STARTTLS\r\n".to_vec(),
            Self::Xmpp { domain, .. } => format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams' to='{domain}' version='1.0'>"
            )
            .into_bytes(),
            Self::Postgres => SSL_REQUEST.to_vec(),
            Self::Ldap => ldap_request(),
        }
    }

    /// The next unit of what was heard: how many bytes it has, and what it means.
    pub(super) fn hear(&mut self, bytes: &[u8], most: usize) -> Result<(usize, Heard), Close> {
        let (taken, heard) = match self {
            Self::Postgres => postgres(bytes)?,
            Self::Ldap => ldap(bytes)?,
            Self::Xmpp { asked, .. } => xmpp(bytes, asked)?,
            Self::Smtp(_) | Self::Imap(_) | Self::Pop3(_) | Self::Irc => match line(bytes) {
                None => (0, Heard::Part),
                Some((line, taken)) if taken <= most => (taken, self.hear_line(line)?),
                Some(_) => return Err(Close::Limit("line_bytes_max")),
            },
        };
        if heard == Heard::Part && bytes.len() - taken > most {
            return Err(Close::Limit("line_bytes_max"));
        }
        Ok((taken, heard))
    }

    fn hear_line(&mut self, line: &[u8]) -> Result<Heard, Close> {
        match self {
            Self::Smtp(state) => smtp(state, line),
            Self::Imap(greeted @ false) => {
                if !starts(line, b"* OK") {
                    return Err(refused(line));
                }
                *greeted = true;
                Ok(Heard::Say([TAG, b" STARTTLS\r\n"].concat()))
            }
            Self::Imap(true) => match line.strip_prefix(TAG) {
                Some(answer) if starts(answer, b" OK") => Ok(Heard::Agreed),
                Some(_) => Err(refused(line)),
                // What nobody asked for may come at any time (RFC 9051, section 5.2), but for a goodbye.
                None if starts(line, b"* BYE") || !line.starts_with(b"* ") => Err(refused(line)),
                None => Ok(Heard::Next),
            },
            Self::Pop3(greeted) => {
                if !starts(line, b"+OK") {
                    return Err(refused(line));
                }
                if std::mem::replace(greeted, true) { Ok(Heard::Agreed) } else { Ok(Heard::Say(b"STLS\r\n".to_vec())) }
            }
            Self::Irc => irc(line),
            Self::Xmpp { .. } | Self::Postgres | Self::Ldap => unreachable!("they have no lines"),
        }
    }
}

/// A reply is one or several lines of the same code (RFC 5321, section 4.2.1).
fn smtp(state: &mut Smtp, line: &[u8]) -> Result<Heard, Close> {
    let (code, rest) = line.split_at_checked(3).ok_or_else(|| refused(line))?;
    let (is_last, text) = match rest.split_first() {
        Some((b'-', text)) => (false, text),
        Some((b' ', text)) => (true, text),
        None => (true, rest),
        Some(_) => return Err(refused(line)),
    };
    match *state {
        Smtp::Greeting(local) if code == b"220" => {
            if !is_last {
                return Ok(Heard::Next);
            }
            *state = Smtp::Offers(false);
            // An address literal, for who has no name (RFC 5321, section 4.1.4).
            let kind = if local.is_ipv6() { "IPv6:" } else { "" };
            Ok(Heard::Say(format!("EHLO [{kind}{}]\r\n", local.ip()).into_bytes()))
        }
        Smtp::Offers(found) if code == b"250" => {
            let found = found || text.trim_ascii_end().eq_ignore_ascii_case(b"STARTTLS");
            *state = Smtp::Offers(found);
            match (is_last, found) {
                (false, _) => Ok(Heard::Next),
                (true, true) => {
                    *state = Smtp::Answer;
                    Ok(Heard::Say(b"STARTTLS\r\n".to_vec()))
                }
                (true, false) => Err(Close::Protocol("the server does not offer STARTTLS".into())),
            }
        }
        Smtp::Answer if code == b"220" => Ok(if is_last { Heard::Agreed } else { Heard::Next }),
        Smtp::Greeting(_) | Smtp::Offers(_) | Smtp::Answer => Err(refused(line)),
    }
}

/// Servers send notices before they are asked; the numeric is the second word, behind the server's name.
fn irc(line: &[u8]) -> Result<Heard, Close> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let command = match words.next() {
        Some(word) if word.starts_with(b":") => words.next().unwrap_or_default(),
        word => word.unwrap_or_default(),
    };
    match command {
        b"670" => Ok(Heard::Agreed),
        // ERR_STARTTLS, ERR_UNKNOWNCOMMAND, ERR_NOTREGISTERED.
        b"691" | b"421" | b"451" | b"ERROR" => Err(refused(line)),
        _ => Ok(Heard::Next),
    }
}

/// Elements are found by their names: a stream's beginning is no whole document that a parser would take.
fn xmpp(bytes: &[u8], asked: &mut bool) -> Result<(usize, Heard), Close> {
    let end = if *asked { element_end(bytes, 0) } else { find(bytes, b"</stream:features>").map(|at| at + 18) };
    if find(bytes, b"<stream:error").is_some() || find(bytes, b"</stream:stream>").is_some() {
        return Err(refused(bytes));
    }
    let Some(end) = end else { return Ok((0, Heard::Part)) };
    let text = &bytes[..end];
    if *asked {
        // <proceed/> or <failure/>, and white space before it (RFC 6120, section 5.4.2).
        let is_agreed = text.trim_ascii_start().starts_with(b"<proceed");
        return if is_agreed { Ok((end, Heard::Agreed)) } else { Err(refused(text)) };
    }
    if find(text, XMPP_TLS.as_bytes()).is_none() {
        return Err(Close::Protocol("the server does not offer STARTTLS".into()));
    }
    *asked = true;
    Ok((end, Heard::Say(format!("<starttls xmlns='{XMPP_TLS}'/>").into_bytes())))
}

/// The end of the first element, if it is whole: an empty one, or one that is closed.
fn element_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from + bytes[from..].iter().position(|byte| *byte == b'<')?;
    let close = start + bytes[start..].iter().position(|byte| *byte == b'>')?;
    if bytes[close - 1] == b'/' {
        return Some(close + 1);
    }
    let name_end = bytes[start + 1..close].iter().position(u8::is_ascii_whitespace).map_or(close, |at| start + 1 + at);
    let closing = [b"</", &bytes[start + 1..name_end], b">"].concat();
    find(&bytes[close..], &closing).map(|at| close + at + closing.len())
}

/// One byte: S, N, or the beginning of an error of a server that is too old to know.
fn postgres(bytes: &[u8]) -> Result<(usize, Heard), Close> {
    match bytes {
        [] => Ok((0, Heard::Part)),
        [b'S', ..] => Ok((1, Heard::Agreed)),
        [b'N', ..] => Err(Close::Protocol("the server does not offer TLS".into())),
        other => Err(refused(other)),
    }
}

/// An LDAPMessage with an ExtendedRequest in it (RFC 4511, sections 4.1.1 and 4.12); every length is below 128.
fn ldap_request() -> Vec<u8> {
    let wrapped = |tag: u8, inner: &[u8]| {
        let mut bytes = vec![tag, u8::try_from(inner.len()).unwrap_or(0x7f)];
        bytes.extend_from_slice(inner);
        bytes
    };
    let name = wrapped(0x80, LDAP_START_TLS);
    let request = wrapped(0x77, &name);
    wrapped(0x30, &[&[2, 1, 1], &request[..]].concat())
}

/// An LDAPMessage with an ExtendedResponse whose result code is 0.
fn ldap(bytes: &[u8]) -> Result<(usize, Heard), Close> {
    let Some((message, taken)) = element(bytes, 0x30)? else { return Ok((0, Heard::Part)) };
    let whole = |found: Option<(_, usize)>| found.ok_or_else(|| refused(bytes));
    let (id, after) = whole(element(message, 2)?)?;
    if id != [1] {
        return Err(refused(bytes));
    }
    let (response, _) = whole(element(&message[after..], 0x78)?)?;
    let (code, _) = whole(element(response, 0x0a)?)?;
    match code {
        [0] => Ok((taken, Heard::Agreed)),
        _ => Err(refused(bytes)),
    }
}

/// The contents of a BER element with this tag (X.690, section 8.1), and where it ends; `None` if it is not whole.
fn element(bytes: &[u8], tag: u8) -> Result<Option<(&[u8], usize)>, Close> {
    match bytes.first() {
        None => return Ok(None),
        Some(first) if *first != tag => return Err(refused(bytes)),
        Some(_) => {}
    }
    let Some(first) = bytes.get(1) else { return Ok(None) };
    let (len, start) = match *first {
        short @ 0..=0x7f => (usize::from(short), 2),
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7f);
            let Some(digits) = bytes.get(2..2 + count) else { return Ok(None) };
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), 2 + count)
        }
        _ => return Err(refused(bytes)),
    };
    Ok(bytes.get(start..start + len).map(|contents| (contents, start + len)))
}

/// A line without its end, and its length with it.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

/// Commands and answers are the same in either case; a word ends behind them.
fn starts(line: &[u8], word: &[u8]) -> bool {
    let Some((head, rest)) = line.split_at_checked(word.len()) else { return false };
    head.eq_ignore_ascii_case(word) && rest.first().is_none_or(u8::is_ascii_whitespace)
}

fn refused(said: &[u8]) -> Close {
    let more = if said.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    let shown = said[..said.len().min(SHOWN_BYTES_MAX)].escape_ascii();
    Close::Protocol(format!("the server does not begin TLS; it said \"{shown}{more}\"").into())
}

/// For an attribute of XML.
fn escaped(domain: &str) -> String {
    domain.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}
