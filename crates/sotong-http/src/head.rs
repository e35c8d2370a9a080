//! The one parser of request heads (RFC 9112 §2–§6), strict where leniency lets two programs read two different requests.
use crate::{Fault, HttpLimits};
use memchr::memchr;

/// Fields that a head's table has room for; [`HttpLimits::fields_max`] may be less.
pub const FIELDS_MAX: usize = 100;

/// Looks for the end of a head in bytes that grow, without looking at any of them twice.
#[derive(Debug, Default)]
pub struct Scanner {
    /// So many bytes have been looked at.
    seen: usize,
    /// Where the line begins that is not complete yet.
    line: usize,
    /// Where the request line begins: behind the empty line that some clients send after a body.
    start: usize,
    /// Complete lines, empty ones not counted.
    lines: usize,
}

impl Scanner {
    /// Where the head ends, once it is all there.
    ///
    /// # Errors
    /// What can be told of a head before its end: a line that ends by LF alone, one that is too long, too many of them, a
    /// request line that is none.
    pub fn scan(&mut self, bytes: &[u8], limits: &HttpLimits) -> Result<Option<usize>, Fault> {
        if self.seen == 0
            && let Some(first) = bytes.first()
            && !is_token(*first)
            && *first != b'\r'
        {
            return Err(match *first {
                0x16 => Fault::TlsHello,
                b'\n' => Fault::BareLf,
                _ => Fault::Method,
            });
        }
        while let Some(at) = memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + at;
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(Fault::BareLf);
            }
            self.seen = end + 1;
            let is_empty = end - self.line == 1;
            let line = std::mem::replace(&mut self.line, end + 1);
            match (is_empty, self.lines) {
                // One empty line before a request is forgiven (RFC 9112 §2.2), and no more.
                (true, 0) if line == 0 => self.start = end + 1,
                (true, 0) => return Err(Fault::RequestLine),
                (true, _) if end + 1 > limits.head_bytes_max => return Err(Fault::HeadLong),
                (true, _) => return Ok(Some(end + 1)),
                (false, 0) => {
                    RequestLine::parse(&bytes[self.start..end - 1], limits)?;
                    self.lines = 1;
                }
                (false, lines) if lines > limits.fields_max.min(FIELDS_MAX) => return Err(Fault::FieldsMany),
                (false, _) => self.lines += 1,
            }
        }
        self.seen = bytes.len();
        // Method, version and two spaces beside the target.
        if self.lines == 0 && self.seen - self.start > limits.target_bytes_max + 64 {
            return Err(Fault::TargetLong);
        }
        if self.seen > limits.head_bytes_max {
            return Err(Fault::HeadLong);
        }
        Ok(None)
    }
    /// Whether nothing of a head has been seen.
    pub fn is_fresh(&self) -> bool {
        self.seen == 0
    }
    /// Begins anew, for the next head.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What a request wants done (RFC 9110 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send the resource.
    Get,
    /// Send only what GET would say about it.
    Head,
    /// Take this.
    Post,
    /// Keep this there.
    Put,
    /// Remove it.
    Delete,
    /// What can be done?
    Options,
    /// Any other, well-formed.
    Other,
}

/// A version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: a connection ends with its answer unless both sides say otherwise.
    V10,
    /// HTTP/1.1, and any later 1.x, whose clients understand 1.1.
    V11,
}

/// How long a request's body is (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes; may be 0.
    Length(u64),
    /// In chunks, of which the last is empty.
    Chunked,
}

/// The first line of a request.
#[derive(Clone, Copy, Debug)]
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

impl<'a> RequestLine<'a> {
    /// A method, a target and a version, with one space between each two (RFC 9112 §3).
    fn parse(line: &'a [u8], limits: &HttpLimits) -> Result<Self, Fault> {
        let space = memchr(b' ', line).ok_or(Fault::RequestLine)?;
        let (method, rest) = (&line[..space], &line[space + 1..]);
        if method.is_empty() || method.len() > 32 || !method.iter().all(|byte| is_token(*byte)) {
            return Err(Fault::Method);
        }
        let space = memchr(b' ', rest).ok_or(Fault::RequestLine)?;
        let (target, version) = (&rest[..space], &rest[space + 1..]);
        if target.len() > limits.target_bytes_max {
            return Err(Fault::TargetLong);
        }
        // Bytes beyond ASCII are no URI, but what people paste into clients; they mean themselves.
        let odd = |byte: &u8| *byte <= b' ' || *byte == 0x7f || *byte == b'#';
        if target.is_empty() || target.iter().any(odd) {
            return Err(Fault::Target);
        }
        let version = match version {
            b"HTTP/1.1" => Version::V11,
            b"HTTP/1.0" => Version::V10,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                if *major == b'1' {
                    Version::V11
                } else {
                    return Err(Fault::Version);
                }
            }
            _ => return Err(Fault::RequestLine),
        };
        Ok(Self { method, target, version })
    }
}

/// Where a field's name and value stand in the head.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    name: u16,
    colon: u16,
    value: u16,
    end: u16,
}

/// A whole head, in place: nothing is copied.
#[derive(Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    line: RequestLine<'a>,
    places: [Place; FIELDS_MAX],
    count: usize,
    framing: Framing,
    host: Option<usize>,
    connection: Connection,
    expects: bool,
}

/// What the `Connection` fields say, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
}

impl<'a> Request<'a> {
    /// Reads a head that [`Scanner::scan`] has found the end of.
    ///
    /// # Errors
    /// The first thing in it that is not as it must be.
    pub fn parse(bytes: &'a [u8], limits: &HttpLimits) -> Result<Self, Fault> {
        if bytes.len() > limits.head_bytes_max.min(usize::from(u16::MAX)) {
            return Err(Fault::HeadLong);
        }
        let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let first = memchr(b'\n', &bytes[start..]).ok_or(Fault::RequestLine)? + start;
        let line = bytes[start..first].strip_suffix(b"\r").ok_or(Fault::BareLf)?;
        let line = RequestLine::parse(line, limits)?;
        let mut request = Self {
            bytes,
            line,
            places: [Place::default(); FIELDS_MAX],
            count: 0,
            framing: Framing::None,
            host: None,
            connection: Connection::default(),
            expects: false,
        };
        let mut at = first + 1;
        loop {
            let end = memchr(b'\n', &bytes[at..]).ok_or(Fault::Field)? + at;
            let line = bytes[at..end].strip_suffix(b"\r").ok_or(Fault::BareLf)?;
            if line.is_empty() {
                break;
            }
            request.field(at, line, limits)?;
            at = end + 1;
        }
        request.check()?;
        Ok(request)
    }
    /// One field line (RFC 9112 §5): no space before the colon, no folding, no control characters.
    fn field(&mut self, at: usize, line: &[u8], limits: &HttpLimits) -> Result<(), Fault> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(Fault::Folded);
        }
        let colon = line.iter().position(|byte| !is_token(*byte)).ok_or(Fault::Field)?;
        if colon == 0 || line[colon] != b':' {
            return Err(Fault::Field);
        }
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if value.iter().any(|byte| !is_text(*byte)) {
            return Err(Fault::Field);
        }
        if self.count >= limits.fields_max.min(FIELDS_MAX) {
            return Err(Fault::FieldsMany);
        }
        let lead = line[colon + 1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let value_at = if value.is_empty() { at + colon + 1 } else { at + colon + 1 + lead };
        // Heads end below 2^16.
        let place = |at: usize| at as u16;
        self.places[self.count] = Place {
            name: place(at),
            colon: place(at + colon),
            value: place(value_at),
            end: place(value_at + value.len()),
        };
        self.count += 1;
        self.note(name, value)
    }
    /// Fields that decide where the request ends, and what becomes of its connection.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("host") => {
                if self.host.replace(self.count - 1).is_some() {
                    return Err(Fault::HostTwice);
                }
                if !is_host(value) {
                    return Err(Fault::Host);
                }
            }
            14 if is("content-length") => self.framed(Framing::Length(whole(value)?))?,
            17 if is("transfer-encoding") => {
                if self.line.version == Version::V10 {
                    return Err(Fault::CodingIn10);
                }
                if value.is_empty() {
                    return Err(Fault::Field);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Coding);
                }
                self.framed(Framing::Chunked)?;
            }
            10 if is("connection") => {
                for word in value.split(|byte| *byte == b',').map(trim) {
                    self.connection.close |= word.eq_ignore_ascii_case(b"close");
                    self.connection.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Fault::Expectation);
                }
                self.expects = true;
            }
            _ => {}
        }
        Ok(())
    }
    /// A length, or chunks, and that once: two readings of one request are how requests are smuggled (RFC 9112 §6.3, §11.2).
    fn framed(&mut self, framing: Framing) -> Result<(), Fault> {
        match (std::mem::replace(&mut self.framing, framing), framing) {
            (Framing::None, _) => Ok(()),
            (Framing::Length(_), Framing::Length(_)) => Err(Fault::LengthTwice),
            (Framing::Chunked, Framing::Chunked) => Err(Fault::CodingTwice),
            _ => Err(Fault::LengthAndCoding),
        }
    }
    fn check(&self) -> Result<(), Fault> {
        if self.host.is_none() && self.line.version == Version::V11 {
            return Err(Fault::HostMissing);
        }
        Ok(())
    }

    /// The whole head, as it came.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// What it wants done.
    pub fn method(&self) -> Method {
        match self.line.method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
    /// The method as it was written.
    pub fn method_name(&self) -> &'a [u8] {
        self.line.method
    }
    /// The request line as it was written.
    pub fn line(&self) -> &'a [u8] {
        let start = if self.bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let line = &self.bytes[start..];
        &line[..memchr(b'\r', line).unwrap_or(line.len())]
    }
    /// The target as it was written.
    pub fn target(&self) -> &'a [u8] {
        self.line.target
    }
    /// The target's path and query, not decoded: without scheme and host where a proxy's form was used (RFC 9112 §3.2.2);
    /// `*` for the server as a whole; `None` for what names no path (`CONNECT`).
    pub fn path_and_query(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let target = self.line.target;
        let origin = match target {
            [b'/', ..] | b"*" => target,
            _ => {
                let rest = strip_scheme(target)?;
                match rest.iter().position(|byte| matches!(byte, b'/' | b'?')) {
                    Some(at) if rest[at] == b'/' => &rest[at..],
                    Some(at) => return Some((b"/", Some(&rest[at + 1..]))),
                    None => b"/",
                }
            }
        };
        Some(match memchr(b'?', origin) {
            Some(at) => (&origin[..at], Some(&origin[at + 1..])),
            None => (origin, None),
        })
    }
    /// The version it speaks.
    pub fn version(&self) -> Version {
        self.line.version
    }
    /// How long its body is.
    pub fn framing(&self) -> Framing {
        self.framing
    }
    /// Who it takes us for.
    pub fn host(&self) -> Option<&'a [u8]> {
        self.host.map(|at| self.value(at))
    }
    /// Whether the client keeps the connection for more (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        match self.line.version {
            Version::V11 => !self.connection.close,
            Version::V10 => self.connection.keep_alive && !self.connection.close,
        }
    }
    /// Whether the client waits to be told that its body is wanted (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.expects && self.line.version == Version::V11 && self.framing != Framing::None
    }
    /// The fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        (0..self.count).map(|at| (self.name(at), self.value(at)))
    }
    /// The values of the fields of this name, in their order.
    pub fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'a [u8]> + 'r {
        self.fields().filter(|(is, _)| is.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
    /// The value of a field that must stand alone; `None` if there is none, or more than one.
    pub fn one(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }
    fn name(&self, at: usize) -> &'a [u8] {
        let Place { name, colon, .. } = self.places[at];
        &self.bytes[usize::from(name)..usize::from(colon)]
    }
    fn value(&self, at: usize) -> &'a [u8] {
        let Place { value, end, .. } = self.places[at];
        &self.bytes[usize::from(value)..usize::from(end)]
    }
}

/// What follows `http://` or `https://`.
fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        (start.eq_ignore_ascii_case(scheme) && !rest.is_empty() && rest[0] != b'/').then_some(rest)
    })
}

/// `1*DIGIT`, and nothing that another reader may take for another number: no sign, no space, no list, no overflow.
fn whole(text: &[u8]) -> Result<u64, Fault> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Length);
    }
    Ok(text.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// A host, with a port if it likes; empty where there is no name (RFC 9112 §3.2).
fn is_host(value: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:%[]".contains(byte);
    value.len() <= 255 + 6 && value.iter().all(fits)
}

/// Without white space at both ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// What names and methods are made of (RFC 9110 §5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    TOKENS[byte as usize]
}

const TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        at += 1;
    }
    table
};

/// What values are made of: visible characters, spaces and tabs, and bytes beyond ASCII (RFC 9110 §5.5).
pub(crate) const fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}
