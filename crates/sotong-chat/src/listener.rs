//! What listeners are for, and what the server around a chat does for it.
use crate::Mail;
use sotong_session::Address;
use std::{fmt, sync::Arc};

/// What is spoken by those who come in by one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// Whatever they begin with: IRC, HTTP, WebSocket, or plain text after a second of silence.
    #[default]
    Auto,
    /// IRC alone: nobody is taken for a person with a terminal, however silent.
    Irc,
    /// WebSocket alone: every request is an upgrade.
    WebSocket,
    /// Plain text alone: everybody is asked for a name at once.
    Text,
    /// HTTP alone: the page, and WebSocket beside it.
    Web,
}

impl ListenerKind {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Irc, Self::WebSocket, Self::Text, Self::Web];

    /// Its name in a configuration file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Irc => "irc",
            Self::WebSocket => "websocket",
            Self::Text => "text",
            Self::Web => "web",
        }
    }
}

/// What an operator's REHASH does: the server reads its configuration anew, as it does on SIGHUP, and calls
/// [`crate::ChatService`] back with what has changed. It returns when that is done, with the names of the settings that have
/// changed and take effect with the next start only; an error is one line that says what is wrong, and then everything is as
/// it was.
///
/// It reads files. It must not be called while the hall is locked.
#[derive(Clone)]
pub struct Rehash(Arc<dyn Fn() -> Result<Vec<&'static str>, String> + Send + Sync>);

impl Rehash {
    /// By a function of the server's.
    pub fn new(rehash: impl Fn() -> Result<Vec<&'static str>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rehash))
    }
    /// Does it; what waits for the next start.
    ///
    /// # Errors
    /// What is wrong with the configuration, in one line.
    pub fn ask(&self) -> Result<Vec<&'static str>, String> {
        (self.0)()
    }
}

impl fmt::Debug for Rehash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rehash")
    }
}

/// Brings mail to sessions from outside of them, where nobody of the chat is awake: when options are read anew.
#[derive(Clone)]
pub struct Herald(Arc<dyn Fn(Address, Mail) + Send + Sync>);

impl Herald {
    /// By a function of the server's, which must not call the chat.
    pub fn new(bring: impl Fn(Address, Mail) + Send + Sync + 'static) -> Self {
        Self(Arc::new(bring))
    }
    pub(crate) fn bring(&self, to: Address, mail: Mail) {
        (self.0)(to, mail);
    }
}

impl fmt::Debug for Herald {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Herald")
    }
}

/// By which way a browser has come that asks how to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit<'a> {
    /// The number of the listener ([`Way::listener`](sotong_session::Way::listener)).
    pub listener: u16,
    /// The host that it asked for: letters, digits, dots, hyphens and colons of ASCII, and no hyphen first. Where it named none,
    /// our own address.
    pub host: &'a str,
    /// The port that it asked for; without one, that of HTTP or HTTPS.
    pub port: u16,
    /// A proxy stands in between: what it asked for may not be where other clients come.
    pub is_proxied: bool,
}

/// Tells a browser how to join. Nothing is told where nobody has said so.
#[derive(Clone, Default)]
pub struct Ways(Option<Arc<Tell>>);

type Tell = dyn Fn(&Visit<'_>) -> String + Send + Sync;

impl Ways {
    /// By a function of the server's, which knows where else it is listened to: plain text, by lines.
    pub fn new(tell: impl Fn(&Visit<'_>) -> String + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }
    pub(crate) fn tell(&self, visit: &Visit<'_>) -> String {
        self.0.as_ref().map(|tell| tell(visit)).unwrap_or_default()
    }
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ways")
    }
}
