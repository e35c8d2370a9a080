//! How to join: as it is said at the start, and as a browser is told. Both come from [`Places::ways`].

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use sotong_certs::Fingerprint;
use sotong_chat::{Entrance, ListenerKind, Visit};
use sotong_net::endpoint::{Endpoint, Host, HostPort};
use sotong_net::own::own_address;

use crate::catalogue::{Catalogue, Lang, text};
use crate::commands::serve::{Ways, way_in};
use crate::config::Config;
use crate::console::Console;
use crate::program;

/// Where a chat listens if nobody says where.
const DEFAULT_PORT: u16 = 8888;

/// Where a chat is listened to, and how: known once it is.
pub(super) struct Places {
    /// What is spoken at each listener, by its number.
    spoken: Vec<Spoken>,
    /// The addresses, each with the number of its listener.
    heard: OnceLock<Vec<(u16, Endpoint)>>,
    /// This machine's address in its network.
    own: Option<IpAddr>,
}

/// What is spoken at a listener, whether within TLS, and who comes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spoken {
    kind: ListenerKind,
    tls: Tls,
    /// Nobody comes by himself: a proxy brings all.
    is_proxied: bool,
    /// Of the certificate that is shown there, where nobody vouches for it.
    pin: Option<Fingerprint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    No,
    /// By those who want to.
    May,
    Must,
}

/// What somebody joins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Client,
    Socket,
    Terminal,
}

impl Places {
    /// Of these listeners; the fingerprints are those of certificates that nobody vouches for.
    pub(super) fn new(entrances: &[Entrance], pins: &[Option<Fingerprint>]) -> Self {
        let tls = |entrance: &Entrance| match &entrance.tls {
            None => Tls::No,
            Some(tls) if tls.required => Tls::Must,
            Some(_) => Tls::May,
        };
        let all = entrances.iter().zip(pins.iter().copied().chain(std::iter::repeat(None)));
        let spoken = |(entrance, pin): (&Entrance, _)| Spoken {
            kind: entrance.kind,
            tls: tls(entrance),
            is_proxied: entrance.proxy,
            pin,
        };
        Self { spoken: all.map(spoken).collect(), heard: OnceLock::new(), own: own_address() }
    }
    fn at(&self, number: u16) -> Option<&Spoken> {
        self.spoken.get(usize::from(number)).or(self.spoken.last())
    }
    fn heard(&self) -> &[(u16, Endpoint)] {
        self.heard.get().map_or(&[], Vec::as_slice)
    }

    /// One command for each way to join, at the first address where it is open; a browser's own listener is its first.
    fn ways(&self, visit: Option<&Visit<'_>>) -> Vec<(With, String)> {
        use ListenerKind::{Auto, Irc, Text, Web, WebSocket};
        let mut all: Vec<_> = self
            .heard()
            .iter()
            .filter_map(|(number, at)| {
                let at = match visit {
                    Some(_) => seen(*number, at, visit)?,
                    None => for_others(at, self.own),
                };
                Some((*number, at, self.at(*number)?))
            })
            .filter(|(_, _, spoken)| !spoken.is_proxied)
            .collect();
        all.sort_by_key(|(number, ..)| visit.is_some_and(|visit| visit.listener != *number));
        let first = |kinds: &[ListenerKind], way: &dyn Fn(&Endpoint, &Spoken) -> Option<String>| {
            let mut open = all.iter().filter(|(_, _, spoken)| kinds.contains(&spoken.kind));
            open.find_map(|(_, at, spoken)| way(at, spoken))
        };
        let client = first(&[Auto, Irc], &way_of_clients);
        let socket = first(&[Auto, WebSocket, Web], &way_of_sockets);
        let person = first(&[Auto, Text], &|at, Spoken { tls, pin, .. }| {
            let at = if *tls == Tls::Must { at.clone().with_tls() } else { at.clone() };
            Some(way_in(&at, "room", *pin))
        });
        let all = [(With::Client, client), (With::Socket, socket), (With::Terminal, person)];
        all.into_iter().filter_map(|(with, way)| Some((with, way?))).collect()
    }
}

/// An address that can be sent to others: where all addresses of this machine are listened to, the one by which those of its
/// network reach it.
fn for_others(at: &Endpoint, own: Option<IpAddr>) -> Endpoint {
    let of = |to: &HostPort| match (&to.host, own) {
        (Host::All, Some(IpAddr::V4(ip))) => HostPort { host: Host::V4(ip), port: to.port },
        (Host::All, Some(IpAddr::V6(ip))) => HostPort { host: Host::V6(ip, None), port: to.port },
        _ => to.clone(),
    };
    match at {
        Endpoint::Tcp(to) => Endpoint::Tcp(of(to)),
        Endpoint::Tls(to) => Endpoint::Tls(of(to)),
        other => other.clone(),
    }
}

/// An address as a browser reaches it, if it does: its own listener's is the one that it asked for, and where all of this
/// machine's addresses are listened to, the host is. What is for this machine alone, others are not told.
fn seen(number: u16, at: &Endpoint, visit: Option<&Visit<'_>>) -> Option<Endpoint> {
    let Some(visit) = visit else { return Some(at.clone()) };
    let asked = asked(visit);
    let is_own = number == visit.listener && !visit.is_proxied;
    let is_here = asked.as_ref().is_some_and(|asked| Endpoint::Tcp(asked.clone()).is_local());
    if at.is_local() && !is_own && !is_here {
        return None;
    }
    let of = |to: &HostPort| match (&asked, &to.host) {
        (Some(asked), _) if is_own => asked.clone(),
        (Some(asked), Host::All) => HostPort { port: to.port, ..asked.clone() },
        _ => to.clone(),
    };
    Some(match at {
        Endpoint::Tcp(to) => Endpoint::Tcp(of(to)),
        Endpoint::Tls(to) => Endpoint::Tls(of(to)),
        other => other.clone(),
    })
}

/// What a browser asked for, as an address.
fn asked(visit: &Visit<'_>) -> Option<HostPort> {
    let host = if visit.host.contains(':') { format!("[{}]", visit.host) } else { visit.host.to_owned() };
    match format!("tcp://{host}:{}", visit.port).parse() {
        Ok(Endpoint::Tcp(at)) => Some(at),
        _ => None,
    }
}

/// The document that a browser gets, in all languages.
pub(super) fn page(config: &Config, places: &Arc<Places>) -> sotong_chat::Ways {
    let (network, room) = (config.server.network.0.clone(), config.server.lobby.0.clone());
    let places = Arc::clone(places);
    sotong_chat::Ways::new(move |visit| {
        let is_proxied = visit.is_proxied || places.at(visit.listener).is_some_and(|spoken| spoken.is_proxied);
        let ways = places.ways(Some(&Visit { is_proxied, ..*visit }));
        let of = |lang: Lang| {
            let catalogue = Catalogue::new(lang);
            let mut lines = vec![text!(catalogue, "chat-page-what", network = network.clone()), String::new()];
            if is_proxied {
                lines.push(text!(catalogue, "chat-page-proxy"));
                lines.extend((!ways.is_empty()).then(|| text!(catalogue, "chat-page-direct")));
            }
            for (with, command) in &ways {
                let command = command.clone();
                lines.push(match with {
                    With::Client if command.starts_with('/') => {
                        text!(catalogue, "chat-page-irssi", command = command)
                    }
                    With::Client => text!(catalogue, "chat-page-irc", command = command),
                    With::Socket => text!(catalogue, "chat-page-ws", command = command),
                    With::Terminal => text!(catalogue, "chat-page-nc", command = command, room = room.clone()),
                });
            }
            lines.push(String::new());
            lines
        };
        let lines: Vec<String> = Lang::ALL.into_iter().flat_map(of).collect();
        lines.join("\n")
    })
}

/// What is said at the start: a command for each way to come in, ready to be copied, and the one that opens the chat to
/// others where it is not. What is `said` comes first.
pub(super) fn spoken(said: String, places: &Arc<Places>, has_file: bool, console: &Console) -> Ways {
    let catalogue = Catalogue::new(console.catalogue.lang());
    let places = Arc::clone(places);
    Box::new(move |heard, _| {
        let is_first = places.heard.set(heard.to_vec()).is_ok();
        debug_assert!(is_first, "it is told once");
        let mut lines = vec![said.clone()];
        let program = program::called();
        let is_private = heard.iter().all(|(_, at)| at.is_local()) && places.spoken.iter().all(|at| at.tls == Tls::No);
        if is_private && !has_file {
            let port = heard.iter().find_map(|(_, at)| match at {
                Endpoint::Tcp(at) | Endpoint::Tls(at) => Some(at.port),
                _ => None,
            });
            let command = format!("{program} chat '*:{}' --tls", port.unwrap_or(DEFAULT_PORT));
            lines.push(text!(catalogue, "chat-open", command = command));
        }
        let proxied = heard.iter().filter(|(number, _)| places.at(*number).is_some_and(|at| at.is_proxied));
        lines.extend(proxied.map(|(_, at)| text!(catalogue, "chat-proxied", address = at.to_string())));
        for (_, command) in places.ways(None) {
            // What begins with a slash is typed into a client.
            let is_typed = command.starts_with('/');
            let own = command.strip_prefix("sotong ").map(|rest| format!("{program} {rest}"));
            let command = own.unwrap_or(command);
            lines.push(match is_typed {
                true => text!(catalogue, "chat-in-irssi", command = command),
                false => text!(catalogue, "serve-try", command = command),
            });
        }
        lines
    })
}

/// A command that reaches a chat with an IRC client, where the client can come this way. irssi's command line knows no TLS.
fn way_of_clients(at: &Endpoint, Spoken { tls, pin, .. }: &Spoken) -> Option<String> {
    let (Endpoint::Tcp(at) | Endpoint::Tls(at)) = at else { return None };
    let host = match &at.host {
        Host::All => "localhost".to_owned(),
        Host::V6(ip, None) => ip.to_string(),
        host => host.to_string(),
    };
    let port = at.port;
    Some(match (tls, pin) {
        (Tls::No, _) => format!("irssi -c {host} -p {port}"),
        (Tls::May | Tls::Must, None) => format!("/connect -tls {host} {port}"),
        (Tls::May | Tls::Must, Some(pin)) => {
            format!("/connect -tls -notls_verify -tls_pinned_cert {} {host} {port}", pin.with_colons())
        }
    })
}

/// A command that reaches a chat by WebSocket.
fn way_of_sockets(at: &Endpoint, Spoken { tls, pin, .. }: &Spoken) -> Option<String> {
    let (Endpoint::Tcp(at) | Endpoint::Tls(at)) = at else { return None };
    let host = match at {
        HostPort { host: Host::All, port } => format!("localhost:{port}"),
        at => at.to_string(),
    };
    let pin = pin.filter(|_| *tls != Tls::No).map(|pin| format!("--pin {pin} ")).unwrap_or_default();
    let scheme = if *tls == Tls::No { "ws" } else { "wss" };
    Some(format!("sotong connect {pin}{scheme}://{host}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(kind: ListenerKind, tls: Tls) -> Spoken {
        Spoken { kind, tls, is_proxied: false, pin: None }
    }
    fn places(all: &[(&str, Spoken)]) -> Places {
        let parse = |text: &str| text.parse::<Endpoint>().expect("an address");
        let heard: Vec<_> = all.iter().zip(0..).map(|((text, _), number)| (number, parse(text))).collect();
        Places { spoken: all.iter().map(|(_, spoken)| *spoken).collect(), heard: OnceLock::from(heard), own: None }
    }
    fn commands(places: &Places, visit: Option<Visit<'_>>) -> Vec<String> {
        places.ways(visit.as_ref()).into_iter().map(|(_, command)| command).collect()
    }
    use ListenerKind::{Auto, Irc, Text, Web, WebSocket};

    #[test]
    fn each_way_in_can_be_copied() {
        let told = |all: &[(&str, Spoken)]| commands(&places(all), None);
        assert_eq!(
            told(&[("127.0.0.1:8888", spoken(Auto, Tls::No))]),
            ["irssi -c 127.0.0.1 -p 8888", "sotong connect ws://127.0.0.1:8888/", "nc 127.0.0.1 8888"]
        );
        assert_eq!(
            told(&[("*:8888", spoken(Auto, Tls::May))]),
            ["/connect -tls localhost 8888", "sotong connect wss://localhost:8888/", "nc localhost 8888"]
        );
        assert_eq!(
            told(&[("[::1]:6697", spoken(Irc, Tls::Must)), ("unix:/tmp/c", spoken(Text, Tls::No))]),
            ["/connect -tls ::1 6697", "nc -U /tmp/c"]
        );
        assert_eq!(
            told(&[(":80", spoken(WebSocket, Tls::No)), (":81", spoken(Text, Tls::Must))]),
            ["sotong connect ws://localhost:80/", "sotong connect tls://localhost:81"]
        );
        // Who comes by himself to where a proxy is expected is not let in.
        let proxied = Spoken { is_proxied: true, ..spoken(Auto, Tls::No) };
        assert_eq!(told(&[(":1", proxied), (":2", spoken(Text, Tls::No))]), ["nc localhost 2"]);
    }

    #[test]
    fn what_is_open_to_all_is_told_by_an_address_that_others_can_use() {
        let own = Some(IpAddr::from([192, 0, 2, 7]));
        let all = [("*:8888", spoken(Auto, Tls::May)), ("127.0.0.1:23", spoken(Text, Tls::No))];
        let told = commands(&Places { own, ..places(&all) }, None);
        assert_eq!(told, ["/connect -tls 192.0.2.7 8888", "sotong connect wss://192.0.2.7:8888/", "nc 192.0.2.7 8888"]);
        let own = Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7]));
        let told = for_others(&"tls://*:6697".parse().expect("an address"), own).to_string();
        assert_eq!(told, "tls://[2001:db8::7]:6697");
    }

    #[test]
    fn certificates_are_those_of_each_listener() {
        let pin: Fingerprint = "ab".repeat(32).parse().expect("a fingerprint");
        let own = Spoken { pin: Some(pin), ..spoken(Irc, Tls::Must) };
        let told = commands(&places(&[(":1", own), (":2", spoken(WebSocket, Tls::Must))]), None);
        assert_eq!(told[0], format!("/connect -tls -notls_verify -tls_pinned_cert {} localhost 1", pin.with_colons()));
        assert_eq!(told[1], "sotong connect wss://localhost:2/", "somebody vouches for this one");
    }

    #[test]
    fn a_browser_is_told_what_it_can_reach() {
        let visit = |listener, host, port| Visit { listener, host, port, is_proxied: false };
        let all = [
            ("*:80", spoken(Web, Tls::No)),
            ("127.0.0.1:6667", spoken(Irc, Tls::No)),
            ("tls://*:6697", spoken(Irc, Tls::Must)),
            ("192.0.2.1:23", spoken(Text, Tls::No)),
            ("unix:/tmp/c", spoken(Text, Tls::No)),
        ];
        let places = places(&all);
        assert_eq!(
            commands(&places, Some(visit(0, "chat.example", 8080))),
            ["/connect -tls chat.example 6697", "sotong connect ws://chat.example:8080/", "nc 192.0.2.1 23"]
        );
        assert_eq!(
            commands(&places, Some(visit(0, "localhost", 80))),
            ["irssi -c 127.0.0.1 -p 6667", "sotong connect ws://localhost:80/", "nc 192.0.2.1 23"]
        );
        assert_eq!(
            commands(&places, Some(visit(0, "2001:db8::1", 80)))[..2],
            ["/connect -tls 2001:db8::1 6697", "sotong connect ws://[2001:db8::1]:80/"]
        );
        // What a proxy was asked for is where the proxy is; the rest of us is where it is.
        let proxied = Visit { is_proxied: true, ..visit(0, "chat.example", 443) };
        assert_eq!(
            commands(&places, Some(proxied)),
            ["/connect -tls chat.example 6697", "sotong connect ws://chat.example:80/", "nc 192.0.2.1 23"]
        );
        // Its own listener comes first.
        let two = super::tests::places(&[("*:1", spoken(Auto, Tls::No)), ("tls://*:2", spoken(Auto, Tls::Must))]);
        assert_eq!(
            commands(&two, Some(visit(1, "x", 443))),
            ["/connect -tls x 443", "sotong connect wss://x:443/", "sotong connect tls://x:443"]
        );
    }
}
