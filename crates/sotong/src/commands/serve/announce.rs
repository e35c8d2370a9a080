//! What a server says at its start: where it listens, and commands that reach it.

use sotong_certs::Fingerprint;
use sotong_net::endpoint::{Endpoint, Host, HostPort, UnixName};
use sotong_net::listen::Bound;

use super::Server;
use crate::catalogue::text;
use crate::cli::Model;
use crate::failure;

impl Server<'_> {
    /// One line an address. What stands between spaces and begins with a scheme is the address: scripts may rely on it,
    /// in every language, and on the event `listening` of the JSON log.
    pub(super) fn announce(&self) {
        let (console, model) = (self.console, self.model);
        let workers = self.args.workers;
        for bound in &self.bound {
            let address = bound.endpoint().to_string();
            if !console.speaks() {
                let pid = std::process::id();
                tracing::info!(service = self.name, address, model = model.name(), workers, pid, "listening");
                continue;
            }
            let (service, name) = (self.name, model.name());
            console.say(&if model.has_workers() {
                text!(
                    console.catalogue,
                    "serve-listening",
                    service = service,
                    address = address,
                    model = name,
                    workers = workers
                )
            } else {
                text!(console.catalogue, "serve-listening-threads", service = service, address = address, model = name)
            });
        }
        for tls in &self.tls {
            tls.announce(console);
        }
        if self.args.model == Model::Auto {
            self.announce_choice();
        }
        let pin = self.tls.iter().find_map(|tls| tls.pin());
        if let Some(ways) = &self.ways {
            let heard: Vec<_> = self.bound.iter().map(|bound| (bound.number(), bound.endpoint())).collect();
            return ways(&heard, pin).iter().for_each(|line| console.say(line));
        }
        // The first address, and the first with TLS, whose certificate a client may have to be told to trust.
        let mut tried = Vec::new();
        let own = self.tls.iter().find_map(|tls| tls.own_file()).filter(|_| self.name == "web");
        for endpoint in self.bound.iter().map(Bound::endpoint) {
            if !tried.contains(&endpoint.is_tls()) && (tried.is_empty() || endpoint.is_tls()) {
                tried.push(endpoint.is_tls());
                let mut command = way_in(&endpoint, self.name, pin);
                if let Some(own) = own.filter(|_| endpoint.is_tls()) {
                    command = command.replacen("curl ", &format!("curl --cacert {} ", own.display()), 1);
                }
                console.say(&text!(console.catalogue, "serve-try", command = command));
            }
        }
    }

    /// Which model was chosen, and why.
    fn announce_choice(&self) {
        let (console, model) = (self.console, self.model.name());
        if !console.speaks() {
            let missing = self.missing.map(|missing| missing.to_string()).unwrap_or_default();
            tracing::info!(service = self.name, model, missing, "model chosen");
            return;
        }
        console.say(&match self.missing {
            None => text!(console.catalogue, "serve-auto", model = model),
            Some(why) => {
                let why = failure::missing(&console.catalogue, why);
                text!(console.catalogue, "serve-auto-instead", model = model, why = why)
            }
        });
    }
}

/// A command that reaches the server and can be copied.
pub(crate) fn way_in(at: &Endpoint, service: &str, pin: Option<Fingerprint>) -> String {
    if service == "web" {
        return way_to_web(at);
    }
    let pin = pin.map(|pin| format!("--pin {pin} ")).unwrap_or_default();
    match at {
        Endpoint::Tcp(HostPort { host: Host::All, port }) if service == "room" => format!("nc localhost {port}"),
        Endpoint::Tcp(HostPort { host: Host::V6(ip, None), port }) if service == "room" => format!("nc {ip} {port}"),
        Endpoint::Tcp(HostPort { host, port }) if service == "room" => format!("nc {host} {port}"),
        Endpoint::Unix(UnixName::Path(path)) if service == "room" => format!("nc -U {}", path.display()),
        Endpoint::Tcp(HostPort { host: Host::All, port }) => format!("sotong connect :{port}"),
        Endpoint::Tcp(to) => format!("sotong connect {to}"),
        Endpoint::Udp(HostPort { host: Host::All, port }) => format!("sotong connect udp://:{port}"),
        Endpoint::Tls(HostPort { host: Host::All, port }) => format!("sotong connect {pin}tls://:{port}"),
        Endpoint::Ws(HostPort { host: Host::All, port }, path) => format!("sotong connect ws://:{port}{path}"),
        Endpoint::Wss(HostPort { host: Host::All, port }, path) => format!("sotong connect {pin}wss://:{port}{path}"),
        Endpoint::Tls(_) | Endpoint::TlsUnix(_) | Endpoint::Wss(..) => format!("sotong connect {pin}{at}"),
        Endpoint::Udp(_) | Endpoint::Unix(_) | Endpoint::Ws(..) => format!("sotong connect {at}"),
    }
}

fn way_to_web(at: &Endpoint) -> String {
    let host = |at: &HostPort| match at {
        HostPort { host: Host::All, port } => format!("localhost:{port}"),
        at => at.to_string(),
    };
    match at {
        Endpoint::Tcp(at) => format!("curl http://{}/", host(at)),
        Endpoint::Tls(at) => format!("curl https://{}/", host(at)),
        Endpoint::Unix(UnixName::Path(path)) => format!("curl --unix-socket {} http://localhost/", path.display()),
        Endpoint::TlsUnix(UnixName::Path(path)) => format!("curl --unix-socket {} https://localhost/", path.display()),
        Endpoint::Unix(UnixName::Abstract(name)) => format!("curl --abstract-unix-socket {name} http://localhost/"),
        Endpoint::TlsUnix(UnixName::Abstract(name)) => format!("curl --abstract-unix-socket {name} https://localhost/"),
        Endpoint::Udp(_) | Endpoint::Ws(..) | Endpoint::Wss(..) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_can_be_copied() {
        let way = |address: &str, service| way_in(&address.parse().expect("an address"), service, None);
        assert_eq!(way("127.0.0.1:12345", "echo"), "sotong connect 127.0.0.1:12345");
        assert_eq!(way("*:7", "echo"), "sotong connect :7");
        assert_eq!(way("udp://[::1]:7", "time"), "sotong connect udp://[::1]:7");
        assert_eq!(way("unix:/tmp/e", "echo"), "sotong connect unix:/tmp/e");
        assert_eq!(way("127.0.0.1:8888", "room"), "nc 127.0.0.1 8888");
        assert_eq!(way("[::1]:8888", "room"), "nc ::1 8888");
        assert_eq!(way("*:8888", "room"), "nc localhost 8888");
        assert_eq!(way("unix:/tmp/r", "room"), "nc -U /tmp/r");
        assert_eq!(way("unix:@room", "room"), "sotong connect unix:@room");
    }
}
