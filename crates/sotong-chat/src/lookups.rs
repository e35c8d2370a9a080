//! Looking up who comes: the name of his address, and whom the machine there calls the connection's user (ident, RFC 1413).
//!
//! Desks do it. A session asks when its client's first command has come, and lets the client in when both answers are there,
//! or when [`ChatLimits::lookup`](crate::ChatLimits::lookup) has passed: then it goes on without. So it does where a desk has
//! too much to do. Nobody else waits.
use crate::{
    Chat,
    books::{Answer, Ask, Ticket},
    hall::Hall,
    news::Mail,
};
use sotong_session::{Cx, Desk, End, Moment, Way};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
};

/// The desk that finds names of addresses.
pub const NAMES: Desk = Desk(2);
/// The desk that asks machines for users.
pub const IDENTS: Desk = Desk(3);
/// Questions that wait at each of these desks. Who comes then is let in without.
pub const LOOKUPS_QUEUE_MAX: usize = 256;
/// Bytes of a name that is taken for a host: what a line of IRC has room for.
pub const HOST_BYTES_MAX: usize = 63;

/// What a desk is to find out.
#[derive(Clone, Debug)]
pub struct Question {
    find: Find,
    /// Nobody has it any more when nobody waits for the answer.
    wanted: Weak<()>,
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// The name of an address that has that address itself.
    Name(IpAddr),
    /// Whose connection this is, by the machine that it comes from.
    User {
        /// Our end.
        local: SocketAddr,
        /// The client's.
        remote: SocketAddr,
    },
}

impl Question {
    /// What is to be found out.
    pub fn find(&self) -> Find {
        self.find
    }
    /// Whether anybody still waits for it: he may have gone, or have been let in without.
    pub fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }
}

/// `text` as a host that can be shown, if it is one: letters, digits, hyphens and dots, no address, at most
/// [`HOST_BYTES_MAX`].
pub fn host_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(fits)
    };
    let is_host = text.len() <= HOST_BYTES_MAX && text.split('.').all(is_label) && text.parse::<IpAddr>().is_err();
    is_host.then(|| text.to_ascii_lowercase())
}

/// Where somebody comes from, as far as it can be looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    ip: IpAddr,
    /// Both ends of his connection; none behind a proxy, which is the one that has it.
    ends: Option<(SocketAddr, SocketAddr)>,
    asks_user: bool,
}

impl Source {
    pub(crate) fn of(way: &Way) -> Option<Self> {
        let ip = crate::ip_of(way)?;
        let ends = match (&way.local, &way.remote) {
            (End::Net(local), End::Net(remote)) if way.through.is_none() => Some((*local, *remote)),
            _ => None,
        };
        Some(Self { ip, ends, asks_user: true })
    }
    /// Somebody whom a gateway brings.
    pub(crate) fn brought(ip: IpAddr) -> Self {
        Self { ip, ends: None, asks_user: true }
    }
    /// Nobody asks for his user.
    pub(crate) fn without_user(self) -> Self {
        Self { asks_user: false, ..self }
    }
}

/// What is looked up of one who comes.
#[derive(Debug)]
pub(crate) struct Lookups {
    name: Look,
    user: Look,
    until: Moment,
    /// Held for as long as the answers are wanted.
    wanted: Arc<()>,
}

#[derive(Debug)]
enum Look {
    /// Nobody asks for it.
    Off,
    Asked(Ticket),
    Done(Option<Box<str>>),
}

impl Look {
    fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }
    fn found(&self) -> Option<&str> {
        match self {
            Self::Done(found) => found.as_deref(),
            Self::Off | Self::Asked(_) => None,
        }
    }
}

const NO_NAME: &str = "*** Couldn't look up your hostname";
const NO_USER: &str = "*** No Ident response";

impl Lookups {
    /// Asks the desks for what the options want to be known; nothing where that is nothing. What the client is told comes
    /// with it.
    pub(crate) fn begin(
        chat: &Chat,
        source: Source,
        hall: &mut Hall,
        cx: &mut Cx<'_, Mail>,
    ) -> Option<(Self, Vec<String>)> {
        let options = chat.options();
        let asks_user = options.check_ident && source.asks_user;
        if !options.resolve_hostnames && !asks_user {
            return None;
        }
        let (until, wanted) = (cx.now + options.limits.lookup, Arc::new(()));
        let mut this = Self { name: Look::Off, user: Look::Off, until, wanted };
        let mut said = Vec::new();
        if options.resolve_hostnames {
            said.push("*** Looking up your hostname...".to_owned());
            this.name = this.ask(chat, NAMES, Find::Name(source.ip), hall, cx);
            said.extend((!this.name.is_asked()).then(|| NO_NAME.to_owned()));
        }
        if asks_user {
            said.push("*** Checking Ident".to_owned());
            if let Some((local, remote)) = source.ends {
                this.user = this.ask(chat, IDENTS, Find::User { local, remote }, hall, cx);
            } else {
                this.user = Look::Done(None);
            }
            said.extend((!this.user.is_asked()).then(|| NO_USER.to_owned()));
        }
        Some((this, said))
    }
    fn ask(&self, chat: &Chat, desk: Desk, find: Find, hall: &mut Hall, cx: &mut Cx<'_, Mail>) -> Look {
        let ticket = hall.books.ticket();
        let question = Question { find, wanted: Arc::downgrade(&self.wanted) };
        match cx.host.ask(desk, Mail::ask(Ask::Look(ticket, question))) {
            Ok(()) => Look::Asked(ticket),
            Err(_) => {
                chat.counters.hit("lookups_queue_max");
                Look::Done(None)
            }
        }
    }
    /// A desk has answered. What the client is told, if that was asked here.
    pub(crate) fn answered(&mut self, answer: &Answer) -> Option<String> {
        let Answer::Found(ticket, found) = answer else { return None };
        match (&self.name, &self.user) {
            (Look::Asked(asked), _) if asked == ticket => {
                let text = found.as_ref().map(|name| format!("*** Found your hostname ({name})"));
                self.name = Look::Done(found.clone());
                Some(text.unwrap_or_else(|| NO_NAME.to_owned()))
            }
            (_, Look::Asked(asked)) if asked == ticket => {
                let text = if found.is_some() { "*** Got Ident response" } else { NO_USER };
                self.user = Look::Done(found.clone());
                Some(text.to_owned())
            }
            _ => None,
        }
    }
    /// Goes on without what has not come in time. What the client is told.
    pub(crate) fn expire(&mut self, chat: &Chat, now: Moment) -> Vec<String> {
        if now < self.until {
            return Vec::new();
        }
        let mut said = Vec::new();
        for (look, text) in [(&mut self.name, NO_NAME), (&mut self.user, NO_USER)] {
            if look.is_asked() {
                *look = Look::Done(None);
                chat.counters.hit("lookup_time");
                said.push(text.to_owned());
            }
        }
        said
    }
    /// When that is; none where nothing is waited for.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        (self.name.is_asked() || self.user.is_asked()).then_some(self.until)
    }
    /// The name that was found.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.found()
    }
    /// The user that was found.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_shown() {
        for (text, shown) in [
            ("Host-9.Example.", Some("host-9.example")),
            ("localhost", Some("localhost")),
            ("192.0.2.1", None),
            ("::1", None),
            ("a b", None),
            ("a..b", None),
            ("-a.example", None),
            ("a_b.example", None),
            ("민수.example", None),
            ("", None),
        ] {
            assert_eq!(host_name(text).as_deref(), shown, "{text}");
        }
        assert_eq!(host_name(&"a".repeat(HOST_BYTES_MAX)).map(|name| name.len()), Some(HOST_BYTES_MAX));
        assert_eq!(host_name(&"a".repeat(HOST_BYTES_MAX + 1)), None);
    }
}
