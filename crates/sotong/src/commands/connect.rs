//! `sotong connect`: the pipe between a terminal and a socket.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use sotong_drivers::bridge::Bridge;
use sotong_net::dial::{DIAL_TIME_MAX, DialOptions, dial_retrying, parse_source};
use sotong_net::dial_error::DialError;
use sotong_net::endpoint::{Endpoint, Host};
use sotong_net::probe::{PROBE_UDP_TIME_MAX, Probe, probe};
use sotong_net::pump::{End, FlowEnd, Limits, Pump, Sink, Source, Then};
use sotong_net::resolve::Family;
use sotong_net::signals::Stop;
use sotong_net::socket::Socket;
use sotong_session::{Way, Wire};

use super::joining::{Joining, Side, UDP_QUIET, catch, log_closed, own_rules, signal_code, verdict};
use super::secure::Layers;
use super::{secure, show_cert, ws};
use crate::catalogue::text;
use crate::cli::Connect;
use crate::console::Console;
use crate::failure::{Failure, JoinFailure, code};

/// Ports that `-z` looks at in one run: more is a survey, not a check.
const PORTS_MAX: usize = 1024;

/// Joins standard input and output to an address, or looks whether anybody is there.
pub(crate) fn run(args: &Connect, console: &Console) -> Result<ExitCode, Failure> {
    let joining = Joining::new(&args.way)?;
    let client = Client { args, console, joining };
    if args.check { client.check() } else { client.join() }
}

struct Client<'a> {
    args: &'a Connect,
    console: &'a Console,
    joining: Joining<'a>,
}

impl Client<'_> {
    fn join(&self) -> Result<ExitCode, Failure> {
        let to = parse(&self.args.address)?;
        let secure = secure::Client::new(&self.args.tls, &to, self.joining.timeout())?;
        let ws = ws::Client::new(&self.args.ws, &self.args.way, &to)?;
        if self.args.tls.insecure {
            self.console.warn("certificate not checked", |catalogue| text!(catalogue, "connect-insecure"));
        }
        let (stop, _caught) = catch(|| {})?;
        let Some(socket) = self.dial(&to, &stop)? else { return Ok(ExitCode::from(signal_code(&stop))) };
        let (wire, way) = (socket.wire(), socket.way());
        let peer = way.as_ref().map_or_else(|_| to.to_string(), |way| way.remote.to_string());
        let local = way.as_ref().map_or_else(|_| String::new(), |way| way.local.to_string());
        tracing::debug!(peer, local, "opened");
        if secure.is_some() || ws.is_some() {
            return self.cross((secure.as_ref(), ws.as_ref()), socket, way.map_err(setup)?, &stop);
        }
        let (forth, back) = self.joining.flows(&peer);
        let source = self.source().map_err(setup)?;
        let rules = own_rules(&source);
        let own = End::new(source, Sink::stdout().map_err(setup)?);
        let pump = Pump::new(own, End::socket(socket.into()).map_err(setup)?);
        let pump = pump.forth(forth).back(back).rules(rules).limits(self.limits(wire));
        let report = pump.run(Some(stop.draining_fd())).map_err(setup)?;
        log_closed(&peer, &report.forth, &report.back, report.time);
        if report.back.tls_alert {
            let peer = || peer.clone();
            self.console
                .warn("spoken to in plain text", |catalogue| text!(catalogue, "connect-speaks-tls", peer = peer()));
        }
        verdict(&report, Side::B, wire, &peer, self.joining.timeout(), &stop)
    }

    /// The same with TLS, WebSocket or both in between.
    fn cross(
        &self,
        (secure, ws): (Option<&secure::Client>, Option<&ws::Client>),
        socket: Socket,
        way: Way,
        stop: &Stop,
    ) -> Result<ExitCode, Failure> {
        let peer = way.remote.to_string();
        let (forth, back) = self.joining.flows(&peer);
        // Of one that is only looked at nothing is read or printed, and standard input is left alone.
        let looks = self.args.tls.show_cert;
        let source = if looks { Source::bytes(Vec::new()) } else { self.source().map_err(setup)? };
        let sink = if looks { Sink::stdout_kept() } else { Sink::stdout() };
        let mut rules = own_rules(&source);
        if ws.is_some() {
            // Who has closed a WebSocket hears nothing more.
            rules.after_b_ended = Then::Finish;
        }
        let bridge = Bridge::new(End::new(source, sink.map_err(setup)?), socket, way).flows(forth, back);
        let bridge = bridge.rules(rules).limits(self.limits(Wire::Stream));
        let layer = ws.map(ws::Client::layers);
        let within = move |passing| -> Layers {
            match layer {
                Some(layer) => layer(passing),
                None => Box::new(passing),
            }
        };
        let stop_fd = Some(stop.draining_fd());
        let crossed = match secure {
            Some(secure) => bridge.run(secure.layers(within), stop_fd),
            None => bridge.run(move |passing| Ok(within(passing)), stop_fd),
        };
        let crossed = crossed.map_err(setup)?;
        let report = secure::report(&crossed, &peer);
        let was_stopped = [report.forth.end, report.back.end].contains(&FlowEnd::Stopped);
        if let Some(secure) = secure.filter(|_| looks && !was_stopped) {
            let shown = show_cert::Shown { crossed: &crossed, secure, peer: &peer, json: self.args.tls.json };
            self.console.out(&shown.text(&self.console.catalogue))?;
        }
        // Before its handshake succeeded it was TLS.
        let ws = ws.filter(|_| secure.is_none() || crossed.tls.is_some());
        let failure = ws.and_then(|ws| ws.failure(&crossed, &peer));
        let failure = failure.or_else(|| secure?.failure(&crossed, &peer)).filter(|_| !was_stopped);
        match failure {
            Some(failure) => Err(Failure::Join(failure)),
            None => verdict(&report, Side::B, Wire::Stream, &peer, self.joining.timeout(), stop),
        }
    }

    fn source(&self) -> io::Result<Source> {
        match &self.args.message {
            Some(text) => Ok(Source::bytes(format!("{text}\n").into_bytes())),
            None => Source::stdin(),
        }
    }

    fn limits(&self, wire: Wire) -> Limits {
        // A datagram socket has no end of its own.
        let quiet = (wire == Wire::Records).then(|| self.joining.timeout().unwrap_or(UDP_QUIET));
        Limits { quiet, ..self.joining.limits() }
    }

    /// `None` if it was stopped before there was a connection.
    fn dial(&self, to: &Endpoint, stop: &Stop) -> Result<Option<Socket>, Failure> {
        let options = self.options(to, DIAL_TIME_MAX, stop)?;
        let dialled = dial_retrying(to, &options, self.joining.retry(), |why, attempt, wait| {
            tracing::debug!(%why, attempt, seconds = wait.as_secs_f64(), "retrying");
        });
        match dialled {
            Ok(socket) => Ok(Some(socket)),
            Err(DialError::Stopped) => Ok(None),
            Err(why) => Err(Failure::Join(JoinFailure::Dial { why, time_max: options.time_max })),
        }
    }

    fn options(&self, to: &Endpoint, time_max: Duration, stop: &Stop) -> Result<DialOptions, Failure> {
        let source = match &self.args.way.source {
            Some(text) => match parse_source(text) {
                Ok(source) => Some(source),
                Err(why) => return Err(Failure::Address { text: text.clone(), why }),
            },
            None => None,
        };
        let family = match (self.joining.family(), to) {
            // Nobody says which of the two has a listener before something was sent to the wrong one; most have only this.
            (Family::Any, Endpoint::Udp(at)) if at.host == Host::Localhost && !self.args.check && source.is_none() => {
                Family::V4
            }
            (family, _) => family,
        };
        Ok(DialOptions {
            family,
            source,
            time_max: self.joining.timeout().unwrap_or(time_max),
            keepalive: self.args.way.keepalive.map(|span| span.0),
            stop: Some(stop.clone()),
        })
    }

    /// Looks at every port: one that is open is enough for a 0; one that is silent leaves it open whether it is.
    fn check(&self) -> Result<ExitCode, Failure> {
        let targets = targets(&self.args.address)?;
        let (stop, _caught) = catch(|| {})?;
        let (mut open, mut silent) = (false, false);
        for to in &targets {
            let time_max = if matches!(to, Endpoint::Udp(_)) { PROBE_UDP_TIME_MAX } else { DIAL_TIME_MAX };
            let options = self.options(to, time_max, &stop)?;
            let (state, line) = match probe(to, &options) {
                Ok(Probe::Open(_)) => ("open", text!(self.console.catalogue, "check-open", at = to.to_string())),
                Ok(Probe::Closed) => ("closed", text!(self.console.catalogue, "check-closed", at = to.to_string())),
                Ok(Probe::NoAnswer) => {
                    ("no answer", text!(self.console.catalogue, "check-no-answer", at = to.to_string()))
                }
                Err(DialError::Stopped) => return Ok(ExitCode::from(signal_code(&stop))),
                Err(why) => return Err(Failure::Join(JoinFailure::Dial { why, time_max: options.time_max })),
            };
            open |= state == "open";
            silent |= state == "no answer";
            if self.console.speaks() {
                self.console.say(&line);
            } else {
                tracing::info!(address = %to, state, "checked");
            }
        }
        Ok(match (open, silent) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::from(code::NO_ANSWER),
            (false, false) => ExitCode::from(code::UNAVAILABLE),
        })
    }
}

fn setup(fault: io::Error) -> Failure {
    Failure::Join(JoinFailure::Setup(fault))
}

fn parse(text: &str) -> Result<Endpoint, Failure> {
    text.parse().map_err(|why| Failure::Address { text: text.to_owned(), why })
}

/// The address, or one for each port of a range such as `localhost:20-25`.
fn targets(text: &str) -> Result<Vec<Endpoint>, Failure> {
    let range = text.rsplit_once(':').and_then(|(host, ports)| {
        let (first, last) = ports.split_once('-')?;
        Some((host, first.parse::<u16>().ok()?, last.parse::<u16>().ok()?))
    });
    let Some((host, first, last)) = range else { return Ok(vec![parse(text)?]) };
    let ports = first..=last;
    if ports.is_empty() || ports.len() > PORTS_MAX {
        return Err(Failure::Join(JoinFailure::Ports { text: text.to_owned(), most: PORTS_MAX }));
    }
    ports.map(|port| parse(&format!("{host}:{port}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, Lang};
    use crate::units::Span;

    #[test]
    fn help_tells_the_time_limits_that_are_in_force_without_a_flag() {
        for lang in [Lang::En, Lang::Ko] {
            let help = Catalogue::new(lang).find("arg-timeout").expect("there");
            for limit in [DIAL_TIME_MAX, PROBE_UDP_TIME_MAX, UDP_QUIET] {
                assert!(help.contains(&format!("{}", Span(limit))), "{limit:?}: {help}");
            }
        }
    }

    fn ports(text: &str) -> Option<Vec<String>> {
        targets(text).ok().map(|targets| targets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_range_is_an_address_for_each_port() {
        assert_eq!(ports("h:20-22"), Some(vec!["tcp://h:20".into(), "tcp://h:21".into(), "tcp://h:22".into()]));
        assert_eq!(ports("udp://[::1]:7-7"), Some(vec!["udp://[::1]:7".into()]));
        assert_eq!(ports("h:1-1024").map(|ports| ports.len()), Some(1024));
        assert_eq!(ports("unix:/tmp/a-b"), Some(vec!["unix:/tmp/a-b".into()]));
        for wrong in ["h:22-20", "h:0-65535", "h:1-70000", "h:a-b", "h:-5"] {
            assert_eq!(ports(wrong), None, "{wrong}");
        }
    }
}
