//! The configuration of `sotong chat`: a file of TOML, checked before anything of it is used.
//!
//! Each section is declared once, in [`sections`]: what is read, what the example shows and which range a value has come
//! from there.

mod example;
pub(crate) mod fault;
pub(crate) mod mapping;
mod section;
mod sections;
mod setting;
pub(crate) mod sts;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

pub(crate) use self::example::example;
#[cfg(test)]
pub(crate) use self::example::messages;
use self::fault::{Fault, Faults, Why};
use self::section::{Section, Table, Value, has, likest, place};
pub(crate) use self::sections::{Accounts, History, Limits, Listen, Metadata, Oper, Server, Sts, Webirc};
use self::sections::{AlwaysOnChoice, HashCostChoice, Top};
use self::setting::{Located, Reader};
use crate::failure::{Failure, ReadProblem};
use crate::units::BadValue;

/// Bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Listeners of a file; each takes a descriptor, or two.
const LISTENERS_MAX: usize = 64;
/// Gateways of a file; a client that comes by one is compared with all from there.
const GATEWAYS_MAX: usize = 16;
/// Operators of a file.
const OPERATORS_MAX: usize = 256;
/// Bytes of a message of the day, from whichever source.
const MOTD_BYTES_MAX: usize = 16 << 10;

/// What stands in a configuration file, and the defaults of what does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Config {
    pub(crate) top: Top,
    pub(crate) server: Server,
    pub(crate) listen: Vec<Listen>,
    pub(crate) accounts: Accounts,
    pub(crate) history: History,
    pub(crate) metadata: Metadata,
    pub(crate) sts: Sts,
    pub(crate) limits: Limits,
    pub(crate) webirc: Vec<Webirc>,
    pub(crate) oper: Vec<Oper>,
    /// The message of the day, by lines, from the file that is named or the text.
    pub(crate) motd: Vec<String>,
    /// Whether something is said of the history, which takes effect with a later version.
    pub(crate) says_history: bool,
}

/// The headings of a file: tables, and those that may stand several times.
const TABLES: [&str; 6] = ["server", "accounts", "history", "metadata", "sts", "limits"];
const LISTS: [&str; 3] = ["listen", "webirc", "oper"];
/// Limits that hold from a start to the next.
const STARTED: [&str; 8] = [
    "send_queue_low_bytes",
    "send_queue_high_bytes",
    "send_queue_bytes",
    "memory_bytes",
    "stall_time",
    "drain_time",
    "connections",
    "tls_handshake_time",
];

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or everything that is wrong with what it says.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let failed = |fault: io::Error| Failure::Read { path: name.clone(), why: ReadProblem::Io(fault.kind()) };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
        let absolute = std::path::absolute(path).map_err(failed)?;
        let folder = absolute.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let config = Self::parse(&text, &folder);
        config.and_then(|config| config.check_files(&text).map(|()| config)).map_err(|mut all| {
            all.sort_by_key(|fault| fault.span.start);
            Failure::Config(Box::new(Faults { file: name.clone(), text, all }))
        })
    }

    /// Whether the certificates and keys that it names can be read at all: here it is known on which line they are named.
    fn check_files(&self, text: &str) -> Result<(), Vec<Fault>> {
        let document = DeTable::parse(text).map_err(|_| Vec::new())?;
        let listen = document.get_ref().iter().find(|(key, _)| key.get_ref() == "listen").map(|(_, value)| value);
        let Some(DeValue::Array(items)) = listen.map(toml::Spanned::get_ref) else { return Ok(()) };
        let mut faults = Vec::new();
        for (item, listen) in items.iter().zip(&self.listen) {
            let DeValue::Table(table) = item.get_ref() else { continue };
            for (key, file) in [("tls_cert", &listen.tls_cert), ("tls_key", &listen.tls_key)] {
                if let Some(path) = file.given()
                    && let Err(fault) = File::open(path)
                {
                    let why = Why::File { path: path.display().to_string(), why: fault.kind() };
                    faults.push(Fault { span: place(table, key).unwrap_or(item.span()), why });
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The settings of a file read anew that differ from those of the start, and cannot change before the next.
    pub(crate) fn needs_start(&self, started: &Self) -> Vec<&'static str> {
        let (now, then) = (self, started);
        let all = [
            ("data_dir", now.top != then.top),
            ("name", now.server.name != then.server.name),
            ("network", now.server.network != then.server.network),
            ("[[listen]]", now.listen != then.listen),
            ("password_hash_cost", now.accounts.password_hash_cost != then.accounts.password_hash_cost),
        ];
        let all = all.into_iter().filter(|(_, differs)| *differs).map(|(setting, _)| setting);
        // Those of the driver, which are fixed when it begins.
        let (now, then) = (&now.limits, &then.limits);
        let is_other = |key: &&str| Section::written(now, key) != Section::written(then, key);
        all.chain(STARTED.into_iter().filter(is_other)).collect()
    }

    /// The same with all of these as they were at the start.
    pub(crate) fn since(mut self, started: &Self) -> Self {
        self.top = started.top.clone();
        self.server.name = started.server.name.clone();
        self.server.network = started.server.network.clone();
        self.listen.clone_from(&started.listen);
        self.accounts.password_hash_cost = started.accounts.password_hash_cost;
        let Limits {
            send_queue_low_bytes,
            send_queue_high_bytes,
            send_queue_bytes,
            memory_bytes,
            stall_time,
            drain_time,
            connections,
            tls_handshake_time,
            ..
        } = started.limits.clone();
        self.limits = Limits {
            send_queue_low_bytes,
            send_queue_high_bytes,
            send_queue_bytes,
            memory_bytes,
            stall_time,
            drain_time,
            connections,
            tls_handshake_time,
            ..self.limits
        };
        self
    }

    /// Reads the text of a file that lies in `folder`.
    fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Fault>> {
        let document = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            vec![Fault { span, why: Why::Syntax(error.message().lines().next().unwrap_or("").to_owned()) }]
        })?;
        let mut reader = Reader { folder, faults: Vec::new() };
        let mut config = Self { top: Top { data_dir: Located::new("data", folder) }, ..Self::default() };
        for (key, value) in document.get_ref() {
            config.take(key.get_ref(), key.span(), value, &mut reader);
        }
        config.take_motd(document.get_ref(), &mut reader);
        config.check_sts(document.get_ref(), &mut reader);
        if reader.faults.is_empty() { Ok(config) } else { Err(reader.faults) }
    }

    /// Takes what stands at the top of the file: a setting, or a section.
    fn take(&mut self, key: &str, at: Range<usize>, value: &Value<'_>, reader: &mut Reader<'_>) {
        if Top::KEYS.contains(&key) {
            return self.top.set(key, value, reader);
        }
        if let Some(name) = LISTS.into_iter().find(|name| *name == key) {
            return self.take_list(name, at, value, reader);
        }
        let Some(name) = TABLES.into_iter().find(|name| *name == key) else {
            let why = match value.get_ref() {
                DeValue::Table(_) | DeValue::Array(_) => {
                    let known: Vec<_> = TABLES.into_iter().chain(LISTS).collect();
                    Why::UnknownSection { name: key.to_owned(), like: likest(key, &known) }
                }
                _ => Why::UnknownKey { section: "", key: key.to_owned(), like: likest(key, Top::KEYS) },
            };
            return reader.fault(at, why);
        };
        let DeValue::Table(table) = value.get_ref() else {
            let written = format!("[{name}]");
            return reader.fault(at, Why::NoSection { written });
        };
        match name {
            "server" => self.server = section::read(name, table, at, reader),
            "accounts" => self.accounts = section::read(name, table, at, reader),
            "history" => {
                self.says_history = true;
                self.history = section::read(name, table, at, reader);
            }
            "metadata" => self.metadata = section::read(name, table, at, reader),
            "sts" => self.sts = section::read(name, table, at, reader),
            _ => {
                let before = reader.faults.len();
                self.limits = section::read(name, table, at, reader);
                reader.faults[before..].iter_mut().for_each(|fault| say_why_not_off(fault, table));
                self.check_limits(table, reader);
            }
        }
    }

    /// Takes a section that may stand several times.
    fn take_list(&mut self, name: &'static str, at: Range<usize>, value: &Value<'_>, reader: &mut Reader<'_>) {
        let DeValue::Array(items) = value.get_ref() else {
            return reader.fault(at, Why::NoSection { written: format!("[[{name}]]") });
        };
        let (most, key) = match name {
            "listen" => (LISTENERS_MAX, "address"),
            "webirc" => (GATEWAYS_MAX, "allowed_from"),
            _ => (OPERATORS_MAX, "name"),
        };
        let mut seen = BTreeMap::new();
        for (number, item) in items.iter().enumerate() {
            let DeValue::Table(table) = item.get_ref() else {
                reader.fault(item.span(), Why::NoSection { written: format!("[[{name}]]") });
                continue;
            };
            if number >= most {
                reader.fault(item.span(), Why::TooMany { name, most });
                return;
            }
            let says = match name {
                "listen" => {
                    let listen: Listen = section::read(name, table, item.span(), reader);
                    check_listener(&listen, table, reader);
                    let picks = listen.address.0.as_ref().is_some_and(picks_port);
                    let says = section::Section::written(&listen, key).filter(|_| !picks);
                    self.listen.push(listen);
                    says
                }
                "webirc" => {
                    let faults = reader.faults.len();
                    let gateway: Webirc = section::read(name, table, item.span(), reader);
                    let is_open = gateway.password.0.is_empty() && gateway.certificate.0.is_none();
                    check_proof(is_open && reader.faults.len() == faults, name, table, item.span(), reader);
                    self.webirc.push(gateway);
                    // Two of them may come from one place.
                    None
                }
                _ => {
                    let faults = reader.faults.len();
                    let oper: Oper = section::read(name, table, item.span(), reader);
                    let is_open = oper.password.0.is_empty() && oper.certificate.0.is_none();
                    check_proof(is_open && reader.faults.len() == faults, name, table, item.span(), reader);
                    let says = section::Section::written(&oper, key);
                    self.oper.push(oper);
                    says
                }
            };
            if let Some(says) = says
                && seen.insert(says.clone(), ()).is_some()
            {
                reader.fault(place(table, key).unwrap_or(item.span()), Why::Twice { value: says });
            }
        }
    }

    fn check_limits(&self, table: &Table<'_>, reader: &mut Reader<'_>) {
        let limits = &self.limits;
        let (low, high) = (limits.send_queue_low_bytes.0, limits.send_queue_high_bytes.0);
        let high_of_all = limits.memory_bytes.0;
        let (target, head) = (limits.http_target_bytes.0, limits.http_head_bytes.0);
        for (is_wrong, key, other) in [
            (
                limits.ping_after.or_none() >= limits.cut_after.or_none() && !limits.ping_after.0.is_zero(),
                "ping_after",
                "cut_after",
            ),
            (low >= high, "send_queue_low_bytes", "send_queue_high_bytes"),
            (high >= limits.send_queue_bytes.0, "send_queue_high_bytes", "send_queue_bytes"),
            (high_of_all != 0 && limits.send_queue_bytes.0 >= high_of_all, "send_queue_bytes", "memory_bytes"),
            (target >= head, "http_target_bytes", "http_head_bytes"),
        ] {
            // The other one where it alone has been written: it is that one that does not fit the default.
            let at = place(table, key).or_else(|| place(table, other)).unwrap_or(0..0);
            match is_wrong && !has(table, key) {
                true => reader.fault(at, Why::MustBeMore { other: key }),
                false if is_wrong => reader.fault(at, Why::MustBeLess { other }),
                false => {}
            }
        }
    }

    /// The message of the day comes from the text or from a file, not from both.
    fn take_motd(&mut self, document: &Table<'_>, reader: &mut Reader<'_>) {
        let server = document.iter().find(|(key, _)| key.get_ref() == "server");
        let Some(DeValue::Table(server)) = server.map(|(_, value)| value.get_ref()) else { return };
        let text = match (self.server.motd_file.given(), self.server.motd.0.as_str()) {
            (None, text) => text.to_owned(),
            (Some(_), text) if !text.is_empty() => {
                let at = place(server, "motd_file").unwrap_or(0..0);
                return reader.fault(at, Why::Conflict { other: "motd" });
            }
            (Some(path), _) => match motd(path) {
                Ok(text) => text,
                Err(fault) => {
                    let at = place(server, "motd_file").unwrap_or(0..0);
                    return reader.fault(at, Why::File { path: path.display().to_string(), why: fault.kind() });
                }
            },
        };
        if text.len() > MOTD_BYTES_MAX {
            let at = place(server, "motd").or_else(|| place(server, "motd_file")).unwrap_or(0..0);
            return reader.fault(at, Why::TooLong { most: MOTD_BYTES_MAX });
        }
        self.motd = text.lines().map(str::to_owned).collect();
    }
}

/// The text of a message of the day.
///
/// # Errors
/// As the system reports them, and where it is too long.
pub(crate) fn motd(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOTD_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > MOTD_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

/// Whoever may do more than others proves who he is, by a password or by a certificate.
fn check_proof(is_open: bool, name: &'static str, table: &Table<'_>, at: Range<usize>, reader: &mut Reader<'_>) {
    if is_open {
        let at = place(table, "password").unwrap_or(at);
        reader.fault(at, Why::Missing { section: name, key: "password" });
    }
}

/// Whoever writes 0 for a limit wants none: why that cannot be had here.
fn say_why_not_off(fault: &mut Fault, table: &Table<'_>) {
    let says_zero = |value: &Value<'_>| match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()) == Ok(0),
        DeValue::String(text) => text.parse::<crate::units::Size>().is_ok_and(|size| size.0 == 0),
        _ => false,
    };
    let value = table.values().find(|value| value.span() == fault.span);
    fault.why = match &fault.why {
        Why::Range { low, high } if value.is_some_and(says_zero) => Why::NotOff { low: *low, high: *high },
        Why::Value(BadValue::NoTime) => Why::TimeNotOff,
        _ => return,
    };
}

/// A certificate and its key come together, and what is heard on it is one thing.
fn check_listener(listen: &Listen, table: &Table<'_>, reader: &mut Reader<'_>) {
    if listen.tls_key.given().is_some() && listen.tls_cert.given().is_none() {
        let at = place(table, "tls_key").unwrap_or(0..0);
        reader.fault(at, Why::Needs { other: "tls_cert" });
    }
    debug_assert!(has(table, "address") || listen.address.0.is_none());
}

/// Whether the system picks the port, so that two listeners of one address are two.
fn picks_port(endpoint: &sotong_net::endpoint::Endpoint) -> bool {
    endpoint.to_string().ends_with(":0")
}

#[cfg(test)]
mod tests;

impl AlwaysOnChoice {
    pub(crate) fn of_chat(self) -> sotong_chat::AlwaysOn {
        match self {
            Self::Off => sotong_chat::AlwaysOn::Off,
            Self::OptIn => sotong_chat::AlwaysOn::OptIn,
            Self::OptOut => sotong_chat::AlwaysOn::OptOut,
            Self::Mandatory => sotong_chat::AlwaysOn::Mandatory,
        }
    }
}

impl HashCostChoice {
    pub(crate) fn of_chat(self) -> sotong_chat::HashCost {
        match self {
            Self::Default => sotong_chat::HashCost::Default,
            Self::Test => sotong_chat::HashCost::Test,
        }
    }
}
