//! What `connect` and `listen` share: the flags of both made into a pump, and a pump's report made into an exit code.

use std::fs::File;
use std::io::{self, Stderr};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use sotong_net::dial::Retry;
use sotong_net::pump::{Act, Dump, Fault, Flow, FlowEnd, Form, Limits, Passed, Report, Rules, Source, Tap, Then};
use sotong_net::resolve::Family;
use sotong_net::signals::{CaughtSignals, Stage, Stop, catch_signals};
use sotong_session::Wire;

use crate::cli::Way;
use crate::failure::{Failure, JoinFailure};
use crate::payload::Payload;

/// How long a UDP peer may be silent after the end of the input before it has nothing more to say; `-w` overrides it.
pub(super) const UDP_QUIET: Duration = Duration::from_secs(1);

/// The flags of both ends, and where what goes by is shown.
pub(super) struct Joining<'a> {
    pub(super) args: &'a Way,
    log: Option<Dump<File>>,
    hex: Option<Dump<Stderr>>,
}

impl<'a> Joining<'a> {
    /// Opens the log, before anything is connected.
    pub(super) fn new(args: &'a Way) -> Result<Self, Failure> {
        let log = match &args.log {
            Some(path) => match File::create(path) {
                Ok(file) => Some(Dump::new(Form::Raw, file)),
                Err(fault) => {
                    return Err(Failure::Write { what: path.display().to_string(), why: fault.kind() });
                }
            },
            None => None,
        };
        Ok(Self { args, log, hex: args.hex.then(|| Dump::new(Form::Hex, io::stderr())) })
    }

    /// What is done to the bytes to `peer`, and to those from it.
    pub(super) fn flows(&self, peer: &str) -> (Flow, Flow) {
        let to = Flow { crlf: self.args.crlf, tap: self.tap(">", "sent", peer) };
        let from = Flow { crlf: false, tap: self.tap("<", "received", peer) };
        (to, from)
    }

    pub(super) fn family(&self) -> Family {
        match (self.args.ipv4, self.args.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        }
    }

    pub(super) fn retry(&self) -> Retry {
        Retry { times: self.args.retry, ..Retry::default() }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.args.timeout.map(|span| span.0)
    }

    /// `-w` as the limit of silence.
    pub(super) fn limits(&self) -> Limits {
        Limits { idle: self.timeout(), ..Limits::default() }
    }

    fn tap(&self, mark: &'static str, direction: &'static str, peer: &str) -> Option<Tap> {
        let log = self.log.as_ref().map(|log| log.tap(mark));
        let hex = self.hex.as_ref().map(|hex| hex.tap(mark));
        let trace = tracing::enabled!(tracing::Level::TRACE).then(|| {
            let peer = peer.to_owned();
            Box::new(move |bytes: &[u8]| {
                let Payload { text, hex, left_out } = Payload::new(bytes);
                tracing::trace!(peer, bytes = bytes.len(), text, hex, left_out, "{direction}");
                Ok(())
            }) as Tap
        });
        let mut taps: Vec<Tap> = [log, hex, trace].into_iter().flatten().collect();
        match taps.len() {
            0 | 1 => taps.pop(),
            _ => Some(Box::new(move |bytes| taps.iter_mut().try_for_each(|tap| tap(bytes)))),
        }
    }
}

/// Catches the signals: the first lets the ends finish, the second leaves at once, after `last` has run.
pub(super) fn catch(last: impl FnOnce() + Send + 'static) -> Result<(Stop, CaughtSignals), Failure> {
    let setup = |fault: io::Error| Failure::Join(JoinFailure::Setup(fault));
    let stop = Stop::new().map_err(setup)?;
    let caught = catch_signals(&stop).map_err(setup)?;
    let leaving = stop.clone();
    let leave = move || {
        if leaving.wait_for(Stage::Leaving, None) {
            last();
            std::process::exit(i32::from(signal_code(&leaving)));
        }
    };
    thread::Builder::new().name("leave".to_owned()).spawn(leave).map_err(setup)?;
    Ok((stop, caught))
}

/// The exit code of a signal, as shells count.
pub(super) fn signal_code(stop: &Stop) -> u8 {
    stop.signal().and_then(|number| u8::try_from(128 + number).ok()).unwrap_or(0)
}

/// When our own end is done: a person who types has nothing to finish once the peer has ended, a file or a program has.
pub(super) fn own_rules(source: &Source) -> Rules {
    let after_b_ended = if source.is_terminal() { Then::Finish } else { Then::GoOn };
    Rules { after_b_ended, after_back_broke: Then::Finish }
}

/// Logs the end of a connection.
pub(super) fn log_closed(peer: &str, sent: &Passed, received: &Passed, time: Duration) {
    tracing::debug!(
        peer,
        bytes_in = received.bytes,
        bytes_out = sent.bytes,
        seconds = time.as_secs_f64(),
        sent = %sent.end,
        received = %received.end,
        "closed",
    );
}

/// Which side of a pump is the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

/// How a conversation with `peer` ended, whose connection is `side` of the pump.
///
/// A peer that ended, and input that nobody takes after that, are fine: so are a reader of ours who has left, and silence
/// over UDP. A reset, a time limit and a failed call are not.
pub(super) fn verdict(
    report: &Report,
    side: Side,
    wire: Wire,
    peer: &str,
    timeout: Option<Duration>,
    stop: &Stop,
) -> Result<ExitCode, Failure> {
    let ends = [report.forth.end, report.back.end];
    if ends.contains(&FlowEnd::Stopped) {
        return Ok(ExitCode::from(signal_code(stop)));
    }
    let peer = || peer.to_owned();
    for (flow, end) in ends.into_iter().enumerate() {
        if let FlowEnd::Failed(why) = end {
            return Err(Failure::Join(fault(why, (flow == 0) == (side == Side::B), peer())));
        }
    }
    if ends.contains(&FlowEnd::PeerReset) {
        return Err(Failure::Join(JoinFailure::Reset { peer: peer() }));
    }
    let received = if side == Side::B { report.back.bytes } else { report.forth.bytes };
    let unanswered = wire == Wire::Records && ends.contains(&FlowEnd::Quiet) && received == 0;
    match timeout {
        Some(time_max) if unanswered || ends.contains(&FlowEnd::Idle) => {
            Err(Failure::Join(JoinFailure::Idle { peer: peer(), time_max }))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// `outward`: the direction that writes to the connection.
fn fault(why: Fault, outward: bool, peer: String) -> JoinFailure {
    match (why.act, outward) {
        (Act::Log, _) => JoinFailure::Log(why),
        (Act::Read, true) => JoinFailure::Input(why),
        (Act::Write, false) => JoinFailure::Output(why),
        (Act::Read, false) | (Act::Write, true) => JoinFailure::Connection { peer, why },
    }
}
