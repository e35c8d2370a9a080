//! The types of settings: how each is read, checked, and written.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sotong_certs::Fingerprint;
use sotong_chat::{ChatOptions, ListenerKind};
use sotong_net::endpoint::{Endpoint, UnixName};
use sotong_session::cidr::Cidr;
use toml::de::DeValue;

use super::fault::{Expected, Fault, Why};
use super::section::{Value, fault, likest};
use crate::units::{BadValue, Size, Span};

/// Reads settings, and notes what is wrong with them.
pub(crate) struct Reader<'a> {
    /// The folder that relative paths are meant from.
    pub(super) folder: &'a Path,
    pub(super) faults: Vec<Fault>,
}

impl Reader<'_> {
    /// Reads a value into its place; where it is no such value, the place keeps its default.
    pub(super) fn read<T: Setting>(&mut self, value: &Value<'_>, place: &mut T) {
        match T::read(value, self.folder) {
            Ok(read) => *place = read,
            Err(Fault { span, why }) => self.fault(span, why),
        }
    }
    pub(super) fn fault(&mut self, span: Range<usize>, why: Why) {
        fault(&mut self.faults, span, why);
    }
}

/// The type of a setting.
pub(crate) trait Setting: Sized {
    /// Reads it; relative paths are meant from `folder`.
    fn read(value: &Value<'_>, folder: &Path) -> Result<Self, Fault>;
    /// As a file has it; `None` where nothing is said.
    fn written(&self) -> Option<String>;
}

fn at(value: &Value<'_>, why: Why) -> Fault {
    Fault { span: value.span(), why }
}

fn text<'a>(value: &'a Value<'_>, expected: Expected) -> Result<&'a str, Fault> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => Err(at(value, Why::Type(expected))),
    }
}

/// A whole number, if it is one and is not negative.
fn whole(value: &Value<'_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// A text between quotation marks, as TOML escapes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

impl Setting for bool {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        match value.get_ref() {
            DeValue::Boolean(is) => Ok(*is),
            _ => Err(at(value, Why::Type(Expected::Bool))),
        }
    }
    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count<const LOW: u64, const HIGH: u64>(pub(crate) u64);

impl<const LOW: u64, const HIGH: u64> Count<LOW, HIGH> {
    /// As it is used; beyond what a machine can count is as much as it can.
    pub(crate) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
    /// As it is used, where it is small by its bounds.
    pub(crate) fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
    /// Where 0 means that there is no limit: as large as can be counted.
    pub(crate) fn or_none(self) -> usize {
        if self.0 == 0 { usize::MAX } else { self.size() }
    }
    /// The same, where it is small by its bounds.
    pub(crate) fn small_or_none(self) -> u32 {
        if self.0 == 0 { u32::MAX } else { self.small() }
    }
}

impl<const LOW: u64, const HIGH: u64> Setting for Count<LOW, HIGH> {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let DeValue::Integer(_) = value.get_ref() else { return Err(at(value, Why::Type(Expected::Number))) };
        let number = whole(value).filter(|number| (LOW..=HIGH).contains(number));
        number.map(Self).ok_or_else(|| at(value, Why::Range { low: LOW, high: HIGH }))
    }
    fn written(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// A length of time: `"90s"`, or a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time<const ZERO: bool>(pub(crate) Duration);

/// As long as a time may be.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);

impl<const ZERO: bool> Time<ZERO> {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
    pub(crate) const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
    /// Where 0 means that there is no limit: longer than anything lasts.
    pub(crate) fn or_none(self) -> Duration {
        if self.0.is_zero() { Duration::MAX } else { self.0 }
    }
}

impl<const ZERO: bool> Setting for Time<ZERO> {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let bad = |why| at(value, Why::Value(why));
        let span: Span = match (value.get_ref(), whole(value)) {
            (DeValue::Integer(_), Some(seconds)) => Span(Duration::from_secs(seconds)),
            (DeValue::Integer(_), None) => return Err(bad(BadValue::Time)),
            (DeValue::Float(number), _) => number.as_str().parse().map_err(bad)?,
            _ => text(value, Expected::Time)?.parse().map_err(bad)?,
        };
        match span.0 {
            time if time.is_zero() && !ZERO => Err(bad(BadValue::NoTime)),
            time if time > TIME_MAX => Err(bad(BadValue::TooLarge)),
            time => Ok(Self(time)),
        }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&Span(self.0).to_string()))
    }
}

/// A number of bytes within bounds, also as `"64KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes<const LOW: u64, const HIGH: u64>(pub(crate) usize);

impl<const LOW: u64, const HIGH: u64> Setting for Bytes<LOW, HIGH> {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let bytes = match value.get_ref() {
            DeValue::Integer(_) => whole(value).ok_or_else(|| at(value, Why::Range { low: LOW, high: HIGH }))?,
            _ => {
                let size: Size = text(value, Expected::Size)?.parse().map_err(|why| at(value, Why::Value(why)))?;
                size.0 as u64
            }
        };
        if !(LOW..=HIGH).contains(&bytes) {
            return Err(at(value, Why::Range { low: LOW, high: HIGH }));
        }
        Ok(Self(usize::try_from(bytes).unwrap_or(usize::MAX)))
    }
    fn written(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// A text of one or several lines, without other control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(pub(crate) String);

impl Setting for Lines {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(at(value, Why::Control));
        }
        Ok(Self(text.to_owned()))
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// A word: a name without blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) String);

impl Setting for Word {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        let is_word = !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if is_word { Ok(Self(text.to_owned())) } else { Err(at(value, Why::Word)) }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0)).filter(|_| !self.0.is_empty())
    }
}

/// A password, or its hash: it is shown nowhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Setting for Secret {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        if text.chars().any(char::is_control) {
            return Err(at(value, Why::Control));
        }
        if text.starts_with("$argon2") && !sotong_desks::is_password_hash(text) {
            return Err(at(value, Why::Hash));
        }
        Ok(Self(text.to_owned()))
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// The SHA-256 fingerprint of a certificate, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pin(pub(crate) Option<Fingerprint>);

impl Setting for Pin {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        match text(value, Expected::Text)? {
            "" => Ok(Self(None)),
            text => text.parse().map(|pin| Self(Some(pin))).map_err(|_| at(value, Why::Value(BadValue::Fingerprint))),
        }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0.map(|pin| pin.to_string()).unwrap_or_default()))
    }
}

/// A host as it is shown of somebody, or nothing: letters, digits, dots, hyphens, colons and slashes of ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vhost(pub(crate) String);

/// Bytes of such a host: as of a name in the DNS' labels.
const VHOST_BYTES_MAX: usize = 63;

impl Setting for Vhost {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'/');
        // What begins with a colon would be the rest of a line.
        let is_host = text.len() <= VHOST_BYTES_MAX && text.bytes().all(fits) && !text.starts_with(':');
        if is_host { Ok(Self(text.to_owned())) } else { Err(at(value, Why::Vhost)) }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// Where pages come from that may open a WebSocket: `*`, or a scheme and a host, with a port or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin(pub(crate) String);

impl Setting for Origin {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        let origin = text.trim_end_matches('/');
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_host = |host: &str| {
            !host.is_empty() && !host.contains(['/', '?', '#', '@']) && !host.contains(char::is_whitespace)
        };
        if origin == "*" || host.is_some_and(is_host) {
            Ok(Self(origin.to_owned()))
        } else {
            Err(at(value, Why::Origin))
        }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// What the server, its network or a room is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named<const WHAT: u8>(pub(crate) String);

/// The name of a server, of a network, and of a room.
pub(crate) const SERVER: u8 = 0;
pub(crate) const NETWORK: u8 = 1;
pub(crate) const ROOM: u8 = 2;

impl<const WHAT: u8> Setting for Named<WHAT> {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        let (name, why) = match WHAT {
            SERVER => (ChatOptions::is_server_name(text).then(|| text.to_owned()), BadValue::ServerName),
            NETWORK => (ChatOptions::is_network_name(text).then(|| text.to_owned()), BadValue::NetworkName),
            _ => (ChatOptions::room_name(text), BadValue::RoomName),
        };
        name.map(Self).ok_or_else(|| at(value, Why::Value(why)))
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// A file or a folder. A relative one is meant from where the configuration is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Located {
    /// As it was written.
    pub(crate) written: String,
    /// As it is used; empty where nothing was written.
    pub(crate) path: PathBuf,
}

impl Located {
    pub(crate) fn new(written: &str, folder: &Path) -> Self {
        let path = if written.is_empty() { PathBuf::new() } else { folder.join(written) };
        Self { written: written.to_owned(), path }
    }
    /// The file, if one was named.
    pub(crate) fn given(&self) -> Option<&Path> {
        Some(&*self.path).filter(|path| !path.as_os_str().is_empty())
    }
}

impl Setting for Located {
    fn read(value: &Value<'_>, folder: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        if text.contains('\0') {
            return Err(at(value, Why::Control));
        }
        Ok(Self::new(text, folder))
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.written))
    }
}

/// Where a chat listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) Option<Endpoint>);

impl Setting for Place {
    fn read(value: &Value<'_>, folder: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        let bad = |why| at(value, Why::Address { text: text.to_owned(), why });
        let beside = |scheme: &str, path: &Path| format!("{scheme}:{}", folder.join(path).display());
        let endpoint = match text.parse().map_err(bad)? {
            Endpoint::Udp(_) => return Err(at(value, Why::Datagrams)),
            Endpoint::Ws(..) | Endpoint::Wss(..) => return Err(at(value, Why::WsAddress)),
            Endpoint::Unix(UnixName::Path(path)) => beside("unix", &path).parse().map_err(bad)?,
            Endpoint::TlsUnix(UnixName::Path(path)) => beside("tls+unix", &path).parse().map_err(bad)?,
            other => other,
        };
        Ok(Self(Some(endpoint)))
    }
    fn written(&self) -> Option<String> {
        self.0.as_ref().map(|endpoint| quoted(endpoint.to_string().trim_start_matches("tcp://")))
    }
}

impl Setting for Cidr {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        text(value, Expected::Text)?.parse().map_err(|why| at(value, Why::Network(why)))
    }
    fn written(&self) -> Option<String> {
        // One address is a network of its own.
        let text = self.to_string();
        Some(quoted(text.strip_suffix("/32").or_else(|| text.strip_suffix("/128")).unwrap_or(&text)))
    }
}

impl Setting for String {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        if text.chars().any(char::is_control) { Err(at(value, Why::Control)) } else { Ok(text.to_owned()) }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &Value<'_>, folder: &Path) -> Result<Self, Fault> {
        let DeValue::Array(items) = value.get_ref() else { return Err(at(value, Why::Type(Expected::List))) };
        items.iter().map(|item| T::read(item, folder)).collect()
    }
    fn written(&self) -> Option<String> {
        let items: Option<Vec<_>> = self.iter().map(Setting::written).collect();
        Some(format!("[{}]", items?.join(", ")))
    }
}

/// Modes that people have from the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserModes(pub(crate) String);

impl Setting for UserModes {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        let modes = text.strip_prefix('+').unwrap_or(text);
        match modes.chars().find(|mode| !super::mapping::USER_MODES.contains(*mode)) {
            Some(mode) => Err(at(value, Why::UserMode { mode })),
            None => Ok(Self(modes.to_owned())),
        }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// One of several words.
pub(crate) trait Choice: Copy + 'static {
    /// All there are.
    const ALL: &'static [Self];
    /// How it is written.
    fn name(self) -> &'static str;
}

/// A setting that is one of several words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OneOf<T>(pub(crate) T);

impl<T: Choice> Setting for OneOf<T> {
    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Fault> {
        let text = text(value, Expected::Text)?;
        let names: Vec<_> = T::ALL.iter().map(|known| known.name()).collect();
        match T::ALL.iter().find(|known| known.name() == text) {
            Some(known) => Ok(Self(*known)),
            None => {
                let like = names.iter().find(|name| **name == text.replace('_', "-").to_ascii_lowercase());
                let like = like.map(|name| (*name).to_owned()).or_else(|| likest(text, &names));
                Err(at(value, Why::Choice { value: text.to_owned(), choices: names.join(", "), like }))
            }
        }
    }
    fn written(&self) -> Option<String> {
        Some(quoted(self.0.name()))
    }
}

impl Choice for ListenerKind {
    const ALL: &'static [Self] = &Self::ALL;
    fn name(self) -> &'static str {
        Self::name(self)
    }
}

/// Declares a setting of several words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),* }
        impl $crate::config::setting::Choice for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}
pub(super) use choice;
