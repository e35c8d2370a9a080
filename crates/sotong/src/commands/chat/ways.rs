//! How to join: as a browser is told, and as it is said at the start.

use sotong_certs::Fingerprint;
use sotong_chat::{Entrance, ListenerKind};
use sotong_net::endpoint::{Endpoint, Host, HostPort};

use crate::catalogue::{Catalogue, Lang, text};
use crate::commands::serve::{Ways, way_in};
use crate::config::Config;
use crate::console::Console;

/// The document that a browser gets, in all languages. Where the browser came to is put in when it has asked.
pub(super) fn page(config: &Config) -> Vec<String> {
    let of = |lang: Lang| {
        let catalogue = Catalogue::new(lang);
        let (network, room) = (config.server.network.0.clone(), config.server.lobby.0.clone());
        let (client, nc) = ("irssi -c {host} -p {port}", "nc {host} {port}");
        let socket = "sotong connect ws://{host}:{port}/";
        [
            text!(catalogue, "chat-page-what", network = network),
            String::new(),
            text!(catalogue, "chat-page-irc", command = client),
            text!(catalogue, "chat-page-ws", command = socket),
            text!(catalogue, "chat-page-nc", command = nc, room = room),
            String::new(),
        ]
    };
    Lang::ALL.into_iter().flat_map(of).collect()
}

/// What is spoken at a listener, and whether within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spoken {
    kind: ListenerKind,
    tls: Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    No,
    /// By those who want to.
    May,
    Must,
}

/// What is said at the start: a command for each way to come in, ready to be copied, and the one that opens the chat to
/// others where it is not. What is `said` comes first.
pub(super) fn spoken(said: String, entrances: &[Entrance], has_file: bool, console: &Console) -> Ways {
    let tls = |entrance: &Entrance| match &entrance.tls {
        None => Tls::No,
        Some(tls) if tls.required => Tls::Must,
        Some(_) => Tls::May,
    };
    let all: Vec<_> = entrances.iter().map(|entrance| Spoken { kind: entrance.kind, tls: tls(entrance) }).collect();
    let catalogue = Catalogue::new(console.catalogue.lang());
    Box::new(move |heard, pin| {
        let mut lines = vec![said.clone()];
        let is_private = heard.iter().all(|(_, at)| is_of_this_machine(at)) && all.iter().all(|at| at.tls == Tls::No);
        if is_private && !has_file {
            lines.push(text!(catalogue, "chat-open", command = "sotong chat '*:8888' --tls"));
        }
        let at = |number: u16| all.get(usize::from(number)).or(all.last()).copied();
        for command in commands(heard, at, pin) {
            // What begins with a slash is typed into a client.
            lines.push(match command.starts_with('/') {
                true => text!(catalogue, "chat-in-irssi", command = command),
                false => text!(catalogue, "serve-try", command = command),
            });
        }
        lines
    })
}

/// One command for each way, at the first address where it is open.
fn commands(heard: &[(u16, Endpoint)], at: impl Fn(u16) -> Option<Spoken>, pin: Option<Fingerprint>) -> Vec<String> {
    use ListenerKind::{Auto, Irc, Text, Web, WebSocket};
    let first = |kinds: &[ListenerKind], way: &dyn Fn(&Endpoint, Tls) -> Option<String>| {
        let mut all = heard.iter().filter_map(|(number, endpoint)| Some((endpoint, at(*number)?)));
        all.find_map(|(endpoint, spoken)| kinds.contains(&spoken.kind).then(|| way(endpoint, spoken.tls))?)
    };
    let client = first(&[Auto, Irc], &|at, tls| way_of_clients(at, tls != Tls::No, pin));
    let socket = first(&[Auto, WebSocket, Web], &|at, tls| way_of_sockets(at, tls != Tls::No, pin));
    let person = first(&[Auto, Text], &|at, tls| {
        let at = if tls == Tls::Must { at.clone().with_tls() } else { at.clone() };
        Some(way_in(&at, "room", pin))
    });
    [client, socket, person].into_iter().flatten().collect()
}

fn is_of_this_machine(at: &Endpoint) -> bool {
    match at {
        Endpoint::Unix(_) | Endpoint::TlsUnix(_) => true,
        Endpoint::Tcp(at) | Endpoint::Tls(at) | Endpoint::Udp(at) | Endpoint::Ws(at, _) | Endpoint::Wss(at, _) => {
            match &at.host {
                Host::Localhost => true,
                Host::V4(ip) => ip.is_loopback(),
                Host::V6(ip, _) => ip.is_loopback(),
                Host::All | Host::Name(_) => false,
            }
        }
    }
}

/// A command that reaches a chat with an IRC client, where the client can come this way. irssi's command line knows no TLS.
fn way_of_clients(at: &Endpoint, tls: bool, pin: Option<Fingerprint>) -> Option<String> {
    let (Endpoint::Tcp(at) | Endpoint::Tls(at)) = at else { return None };
    let host = match &at.host {
        Host::All => "localhost".to_owned(),
        Host::V6(ip, None) => ip.to_string(),
        host => host.to_string(),
    };
    let port = at.port;
    Some(match (tls, pin) {
        (false, _) => format!("irssi -c {host} -p {port}"),
        (true, None) => format!("/connect -tls {host} {port}"),
        (true, Some(pin)) => {
            format!("/connect -tls -notls_verify -tls_pinned_cert {} {host} {port}", pin.with_colons())
        }
    })
}

/// A command that reaches a chat by WebSocket.
fn way_of_sockets(at: &Endpoint, tls: bool, pin: Option<Fingerprint>) -> Option<String> {
    let (Endpoint::Tcp(at) | Endpoint::Tls(at)) = at else { return None };
    let host = match at {
        HostPort { host: Host::All, port } => format!("localhost:{port}"),
        at => at.to_string(),
    };
    let pin = pin.filter(|_| tls).map(|pin| format!("--pin {pin} ")).unwrap_or_default();
    let scheme = if tls { "wss" } else { "ws" };
    Some(format!("sotong connect {pin}{scheme}://{host}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_in_can_be_copied() {
        let spoken = |kind, tls| Spoken { kind, tls };
        let told = |all: &[(&str, Spoken)]| {
            let parse = |text: &str| text.parse::<Endpoint>().expect("an address");
            let heard: Vec<_> = all.iter().zip(0..).map(|((text, _), number)| (number, parse(text))).collect();
            commands(&heard, |number| all.get(usize::from(number)).map(|(_, spoken)| *spoken), None)
        };
        let (auto, irc) = (ListenerKind::Auto, ListenerKind::Irc);
        assert_eq!(
            told(&[("127.0.0.1:8888", spoken(auto, Tls::No))]),
            ["irssi -c 127.0.0.1 -p 8888", "sotong connect ws://127.0.0.1:8888/", "nc 127.0.0.1 8888"]
        );
        assert_eq!(
            told(&[("*:8888", spoken(auto, Tls::May))]),
            ["/connect -tls localhost 8888", "sotong connect wss://localhost:8888/", "nc localhost 8888"]
        );
        assert_eq!(
            told(&[("[::1]:6697", spoken(irc, Tls::Must)), ("unix:/tmp/c", spoken(ListenerKind::Text, Tls::No))]),
            ["/connect -tls ::1 6697", "nc -U /tmp/c"]
        );
        assert_eq!(
            told(&[(":80", spoken(ListenerKind::WebSocket, Tls::No)), (":81", spoken(ListenerKind::Text, Tls::Must))]),
            ["sotong connect ws://localhost:80/", "sotong connect tls://localhost:81"]
        );
    }
}
