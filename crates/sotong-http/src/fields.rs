//! What a response's head is made of. No line can be written but through these types, and none of them can carry one's end.
use crate::head::{is_text, is_token};
use std::fmt;

/// A status code with its phrase (RFC 9110 §15).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status {
    line: &'static str,
}

macro_rules! statuses {
    ($($name:ident $line:literal $doc:literal)*) => {
        impl Status {
            $(#[doc = $doc] pub const $name: Self = Self { line: $line };)*
        }
    };
}

statuses! {
    SWITCHING_PROTOCOLS "101 Switching Protocols" "From here on it is something else."
    OK "200 OK" "Here it is."
    CREATED "201 Created" "It is there now."
    NO_CONTENT "204 No Content" "Done, and there is nothing to show."
    PARTIAL_CONTENT "206 Partial Content" "Here is the part that was asked for."
    MOVED_PERMANENTLY "301 Moved Permanently" "It is elsewhere."
    SEE_OTHER "303 See Other" "Look there."
    NOT_MODIFIED "304 Not Modified" "You have it already."
    BAD_REQUEST "400 Bad Request" "That was no request."
    UNAUTHORIZED "401 Unauthorized" "Say who you are."
    FORBIDDEN "403 Forbidden" "Not for you."
    NOT_FOUND "404 Not Found" "There is no such thing."
    METHOD_NOT_ALLOWED "405 Method Not Allowed" "That cannot be done with it."
    REQUEST_TIMEOUT "408 Request Timeout" "That took too long."
    CONFLICT "409 Conflict" "What is there already stands in the way."
    PRECONDITION_FAILED "412 Precondition Failed" "It is not as you said."
    CONTENT_TOO_LARGE "413 Content Too Large" "That is too much."
    URI_TOO_LONG "414 URI Too Long" "That is too long a name."
    RANGE_NOT_SATISFIABLE "416 Range Not Satisfiable" "It has no such part."
    EXPECTATION_FAILED "417 Expectation Failed" "That cannot be expected."
    UPGRADE_REQUIRED "426 Upgrade Required" "That is spoken in another protocol."
    FIELDS_TOO_LARGE "431 Request Header Fields Too Large" "That is too long a head."
    INTERNAL_SERVER_ERROR "500 Internal Server Error" "A fault of ours."
    NOT_IMPLEMENTED "501 Not Implemented" "Nobody here can do that."
    SERVICE_UNAVAILABLE "503 Service Unavailable" "Too much is under way."
    VERSION_NOT_SUPPORTED "505 HTTP Version Not Supported" "That version is not spoken here."
    INSUFFICIENT_STORAGE "507 Insufficient Storage" "There is no room for it."
}

impl Status {
    /// Code and phrase.
    pub fn line(self) -> &'static str {
        self.line
    }
    /// The code.
    pub fn code(self) -> u16 {
        self.line.bytes().take(3).fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
    }
    /// Whether its response has no body, whatever it says (RFC 9110 §6.4.1).
    pub fn is_bodiless(self) -> bool {
        matches!(self.code(), 101 | 204 | 304)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line)
    }
}

/// A field's name: a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(&'static str);

impl Name {
    /// Checked where it is compiled, if it is a constant.
    ///
    /// # Panics
    /// It is no token.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_token(bytes[at]), "a field's name is a token");
            at += 1;
        }
        assert!(!bytes.is_empty(), "a field has a name");
        Self(name)
    }
}

macro_rules! names {
    ($($name:ident $text:literal)*) => {
        impl Name {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Self = Self::new($text);)*
        }
    };
}

names! {
    ACCEPT_RANGES "Accept-Ranges"
    ALLOW "Allow"
    ALLOW_CREDENTIALS "Access-Control-Allow-Credentials"
    ALLOW_HEADERS "Access-Control-Allow-Headers"
    ALLOW_METHODS "Access-Control-Allow-Methods"
    ALLOW_ORIGIN "Access-Control-Allow-Origin"
    CACHE_CONTROL "Cache-Control"
    CONNECTION "Connection"
    CONTENT_ENCODING "Content-Encoding"
    CONTENT_RANGE "Content-Range"
    CONTENT_SECURITY_POLICY "Content-Security-Policy"
    CONTENT_TYPE "Content-Type"
    CONTENT_TYPE_OPTIONS "X-Content-Type-Options"
    ETAG "ETag"
    EXPOSE_HEADERS "Access-Control-Expose-Headers"
    LAST_MODIFIED "Last-Modified"
    LOCATION "Location"
    MAX_AGE "Access-Control-Max-Age"
    REFERRER_POLICY "Referrer-Policy"
    RETRY_AFTER "Retry-After"
    UPGRADE "Upgrade"
    VARY "Vary"
    WEBSOCKET_ACCEPT "Sec-WebSocket-Accept"
    WEBSOCKET_EXTENSIONS "Sec-WebSocket-Extensions"
    WEBSOCKET_PROTOCOL "Sec-WebSocket-Protocol"
    WEBSOCKET_VERSION "Sec-WebSocket-Version"
    WWW_AUTHENTICATE "WWW-Authenticate"
}

/// A text that cannot stand in a field: it has a CR, LF, NUL or another control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field's value has no control characters")]
pub struct NotAValue;

/// Header fields, ready to be sent. They are whole lines by the way they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    lines: Vec<u8>,
}

impl Fields {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a field.
    ///
    /// # Errors
    /// [`NotAValue`]: nothing is added.
    pub fn add(&mut self, name: Name, value: impl AsRef<[u8]>) -> Result<(), NotAValue> {
        let value = value.as_ref();
        if !value.iter().all(|byte| is_text(*byte)) {
            return Err(NotAValue);
        }
        self.push(name, value);
        Ok(())
    }
    /// Adds a field whose value is written in the program.
    ///
    /// # Panics
    /// In debug builds, if it is no value.
    #[must_use]
    pub fn with(mut self, name: Name, value: &'static str) -> Self {
        let added = self.add(name, value);
        debug_assert_eq!(added, Ok(()));
        self
    }
    /// Adds a field whose value is known to be one: a token, or made here.
    pub(crate) fn put(&mut self, name: Name, value: &str) {
        let added = self.add(name, value);
        debug_assert_eq!(added, Ok(()));
    }
    /// Adds a field whose value is a number.
    pub fn number(&mut self, name: Name, number: u64) {
        self.push(name, number.to_string().as_bytes());
    }
    /// Adds a field whose value is a date, in seconds since 1970.
    pub fn date(&mut self, name: Name, seconds: i64) {
        self.lines.extend_from_slice(name.0.as_bytes());
        self.lines.extend_from_slice(b": ");
        crate::date::write(seconds, &mut self.lines);
        self.lines.extend_from_slice(b"\r\n");
    }
    /// Adds all of `others`.
    pub fn extend(&mut self, others: &Self) {
        self.lines.extend_from_slice(&others.lines);
    }
    /// Its bytes on the wire.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
    fn push(&mut self, name: Name, value: &[u8]) {
        self.lines.extend_from_slice(name.0.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_its_line() {
        let mut fields = Fields::new();
        for bad in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "a\u{7f}"] {
            assert_eq!(fields.add(Name::LOCATION, bad), Err(NotAValue), "{bad:?}");
        }
        assert_eq!(fields.lines(), b"");
        fields.add(Name::LOCATION, "/한글\t ok").unwrap();
        fields.number(Name::MAX_AGE, u64::MAX);
        let expect = "Location: /한글\t ok\r\nAccess-Control-Max-Age: 18446744073709551615\r\n";
        assert_eq!(fields.lines(), expect.as_bytes());
    }

    #[test]
    fn a_status_is_its_code() {
        assert_eq!(Status::OK.code(), 200);
        assert_eq!(Status::VERSION_NOT_SUPPORTED.code(), 505);
        assert!(Status::NOT_MODIFIED.is_bodiless() && !Status::NOT_FOUND.is_bodiless());
    }
}
