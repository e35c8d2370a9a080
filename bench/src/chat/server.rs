//! The chat servers that are measured.
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use super::coming::Lists;
use crate::server::{Cores, Running, StartError};

/// A chat server, by the name that stands in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The bare relay, to which all are compared.
    Relay,
    /// `sotong chat --model uring`.
    Uring,
    /// `sotong chat --model epoll`.
    Epoll,
    /// InspIRCd, as Debian has it.
    Inspircd,
    /// ngIRCd, as Debian has it.
    Ngircd,
}

impl Server {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 5] = [Self::Relay, Self::Uring, Self::Epoll, Self::Inspircd, Self::Ngircd];

    /// The name for `--servers`, in JSON and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Inspircd => "InspIRCd",
            Self::Ngircd => "ngIRCd",
        }
    }
    /// The server of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.name().eq_ignore_ascii_case(name))
    }
    /// Whether it is one of Sotong's models.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Uring | Self::Epoll)
    }
    pub(super) fn lists(self) -> Lists {
        if self == Self::Relay { Lists::Nothing } else { Lists::Names }
    }

    /// Starts it with its limits on how much one may say taken away. `folder` has our programs, `scratch` is for its files.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn start(self, folder: &Path, scratch: &Path, cores: Cores) -> Result<Running, StartError> {
        match self {
            Self::Relay => Running::launch(self.name(), Command::new(folder.join("plain-relay")), cores),
            Self::Uring | Self::Epoll => {
                let mut command = Command::new(folder.join("sotong"));
                let model = self.name();
                command.args(["chat", "tcp://127.0.0.1:0", "--lang", "en", "--no-flood-control", "--model", model]);
                Running::launch(model, command, cores)
            }
            Self::Inspircd => foreign("inspircd", scratch, cores, inspircd),
            Self::Ngircd => foreign("ngircd", scratch, cores, ngircd),
        }
    }
}

/// Starts a program of Debian's with a configuration written for it.
fn foreign(
    name: &str,
    scratch: &Path,
    cores: Cores,
    configure: impl Fn(u16, &Path) -> (String, Vec<&'static str>),
) -> Result<Running, StartError> {
    let program = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(name));
    let Some(program) = program.into_iter().find(|program| program.exists()) else {
        return Err(StartError::Impossible(format!("{name} is not installed (apt-get install {name})")));
    };
    let failed = |source| StartError::Start { program: name.to_owned(), source };
    let address = free_address().map_err(failed)?;
    let (text, flags) = configure(address.port(), scratch);
    let path: PathBuf = scratch.join(format!("{name}.conf"));
    fs::write(&path, text).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(flags).arg(path);
    Running::at(name, address, command, cores)
}

/// An address that nobody has, picked by the kernel: these programs cannot pick their own.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn inspircd(port: u16, scratch: &Path) -> (String, Vec<&'static str>) {
    let scratch = scratch.display();
    let text = format!(
        r##"<config format="xml">
<server name="irc.local" description="bench" network="Bench">
<admin name="b" nick="b" email="b@irc.local">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect name="all" allow="*" timeout="60" pingfreq="600" hardsendq="16777216" softsendq="16777216" recvq="1048576"
 threshold="1000000" commandrate="1000000000" fakelag="no" localmax="100000" globalmax="100000" maxconnwarn="no"
 resolvehostnames="no" useident="no" limit="100000" maxchans="100">
<performance softlimit="100000" somaxconn="4096" quietbursts="yes">
<dns server="127.0.0.1" timeout="1">
<options defaultmodes="nt">
<pid file="{scratch}/inspircd.pid">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{scratch}/inspircd.log">
"##
    );
    (text, vec!["--nofork", "--runasroot", "--config"])
}

fn ngircd(port: u16, scratch: &Path) -> (String, Vec<&'static str>) {
    let scratch = scratch.display();
    let text = format!(
        "[Global]\nName = irc.local\nInfo = bench\nNetwork = Bench\nListen = 127.0.0.1\nPorts = {port}\n\
         PidFile = {scratch}/ngircd.pid\n\
         [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxNickLength = 30\nMaxPenaltyTime = 0\n\
         PingTimeout = 600\nPongTimeout = 600\n\
         [Options]\nDNS = no\nIdent = no\nPAM = no\n"
    );
    (text, vec!["--nodaemon", "--config"])
}
