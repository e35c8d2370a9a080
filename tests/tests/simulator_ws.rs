//! WebSocket at both ends under the simulated driver, plain and within TLS, with cuts, slow wires, full outputs, panics and
//! clock jumps.
//!
//! `SOTONG_SEEDS` and `SOTONG_SEED` as in `simulator.rs`; keys and signatures within TLS aside, a seed is one run.
use sotong_classics::EchoService;
use sotong_http::ws::{ClientOptions, Kind, ServerOptions, Speech, WebSocket, WsLimits};
use sotong_session::{
    Address, Checked, Close, Cx, End, Event, Host, Pace, Records, Service, Session, Stream, Wants, Way, Wire,
};
use sotong_sim::{Act, Failure, Outcome, Script, Setup, Sim};
use sotong_tls::{
    Tls, TlsLimits,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime},
        time_provider::TimeProvider,
        version::TLS13,
    },
};
use std::{convert::Infallible, sync::Arc, time::Duration};

const SEEDS: u64 = 200;
type Side = Box<dyn Stream<Mail = Infallible>>;

/// 2026-01-01.
#[derive(Debug)]
struct NewYear;
impl TimeProvider for NewYear {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600)))
    }
}

/// An echo of messages, and askers that reach it.
#[derive(Clone)]
struct Scene {
    tls: Option<(Arc<ServerConfig>, Arc<ClientConfig>)>,
    deflate: bool,
    limits: WsLimits,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let time = |usual: u64| Duration::from_secs(if seed.is_multiple_of(2) { 300 } else { usual });
        // The slowest wires bring 60 bytes a second: more than ten seconds for a handshake.
        let limits = WsLimits {
            upgrade: time(10),
            close: Some(time(10)),
            message_bytes_max: 1000,
            fragments_max: 20,
            ..WsLimits::default()
        };
        Self { tls: seed.is_multiple_of(3).then(configs), deflate: seed.is_multiple_of(5), limits }
    }
    fn server(&self, way: &Way) -> Result<Side, Close> {
        let echo = EchoService.open(&Way { wire: Wire::Records, ..way.clone() })?;
        let options = ServerOptions { deflate: self.deflate, limits: self.limits, ..ServerOptions::default() };
        let layer = WebSocket::server(Checked::new(echo), Arc::new(options));
        let Some((config, _)) = &self.tls else { return Ok(Box::new(layer)) };
        // What is whole is checked by the simulator, what is inside by itself.
        Ok(Box::new(Tls::server(Checked::new(layer).with_end_mark(), config.clone(), self.tls_limits())?))
    }
    fn client(&self, number: u32) -> Result<Side, Close> {
        let mut options = ClientOptions::new("sotong.test", "/").expect("a request");
        options.deflate = self.deflate;
        options.limits = self.limits;
        options.speech = Speech { says: [None, Some(Kind::Binary)][number as usize % 2], takes: None };
        let layer = WebSocket::client(Checked::new(Asker::new(number)), Arc::new(options));
        let Some((_, config)) = &self.tls else { return Ok(Box::new(layer)) };
        let name = "sotong.test".try_into().expect("a name");
        Ok(Box::new(Tls::client(Checked::new(layer).with_end_mark(), config.clone(), name, self.tls_limits())?))
    }
    fn tls_limits(&self) -> TlsLimits {
        TlsLimits { handshake: self.limits.upgrade, after_end: self.limits.close, ..TlsLimits::default() }
    }
}

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let provider = CryptoProvider { kx_groups: vec![ring::kx_group::X25519], ..ring::default_provider() };
    let (provider, time) = (Arc::new(provider), Arc::new(NewYear));
    let certificate = CertificateDer::from(include_bytes!("../../crates/sotong-tls/testdata/cert.der").as_slice());
    let key = PrivatePkcs8KeyDer::from(include_bytes!("../../crates/sotong-tls/testdata/key.der").as_slice());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("the test certificate");
    let server = ServerConfig::builder_with_details(provider.clone(), time.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .expect("the test key fits");
    let client = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&TLS13])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

impl Service for Scene {
    type Session = Side;
    fn open(&self, way: &Way) -> Result<Side, Close> {
        match &way.local {
            End::Simulated(0) => self.server(way),
            End::Simulated(number) => self.client(*number),
            other => unreachable!("{other} is not in a simulation"),
        }
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}

/// Says messages, some of them in fragments, half-closes, and checks that all of them come back.
struct Asker {
    messages: Vec<Vec<u8>>,
    said: usize,
    heard: usize,
}

impl Asker {
    fn new(number: u32) -> Self {
        let message = |at: u32| {
            let len = (number * 31 + at * 97) % 220;
            (0..len).map(|byte| ((number + at + byte) % if at.is_multiple_of(3) { 251 } else { 128 }) as u8).collect()
        };
        Self { messages: (0..number * 7 % 30).map(message).collect(), said: 0, heard: 0 }
    }
    fn say(&mut self, cx: &mut Cx<'_, Infallible>) {
        while self.said < self.messages.len() && !cx.out.is_full() {
            cx.out.put(&self.messages[self.said]);
            cx.out.cut();
            self.said += 1;
        }
        if self.said == self.messages.len() {
            cx.out.finish();
        }
    }
}

impl Session for Asker {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                assert!(way.ws.is_some() && way.wire == Wire::Records, "what was agreed on is told");
                self.say(cx);
            }
            Event::Drained => self.say(cx),
            Event::Input(mut input) => {
                let expected = self.messages.get(self.heard).map(Vec::as_slice);
                assert_eq!(Some(input.bytes()), expected, "each message comes back whole, in order");
                self.heard += 1;
                input.take_all();
            }
            Event::End => {
                let all = self.heard == self.messages.len() || self.said < self.messages.len();
                assert!(all, "a Close frame stands behind all that was to be said");
                cx.out.finish();
            }
            Event::Stop => return Err(Close::Stop),
            Event::Again | Event::Mail(_) | Event::Deadline | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { input: Pace::Always, deadline: None }
    }
}
impl Records for Asker {}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn scene(seed: u64) -> Result<Outcome, Failure> {
    let setup = Setup::new(seed);
    let is_calm = seed.is_multiple_of(2);
    let mut setup = if is_calm { setup.without_faults() } else { setup };
    setup.steps_max *= 10;
    let mut sim = Sim::new(setup, Scene::new(seed));
    let mut links = Vec::new();
    for _ in 0..sim.dice().between(1, 4) {
        let at = Duration::from_micros(sim.dice().between(0, 20_000));
        links.push(sim.connect_session(at));
    }
    let mut strangers = Vec::new();
    for _ in 0..sim.dice().between(0, 2) {
        let dice = sim.dice();
        let at = Duration::from_micros(dice.between(0, 20_000));
        // Half a request, or a whole one and rubbish behind it: the frame of an unmasked, or of an endless message.
        let mut words = REQUEST[..dice.one_of(&[3, 60, REQUEST.len()]).to_owned()].to_vec();
        words.extend_from_slice(dice.one_of(&[
            &b"\x81\x05Hello"[..],
            b"\x82\xff\x7f\0\0\0\0\0\0\0\0\0\0\0",
            b"\n\n",
            b"\xff",
        ]));
        strangers.push(sim.connect(at, Script::new([Act::Say(words), Act::HearEnd, Act::Fin])));
    }
    let outcome = sim.run()?;
    if seeds().1 {
        print!("{}", outcome.trace);
    }
    if is_calm {
        for link in links {
            let close = &outcome.of(link).close;
            assert_eq!(*close, Some(Close::Done), "both said all, and all was heard");
        }
    }
    for stranger in strangers {
        let close = outcome.of(stranger).close.clone();
        let is_refused = matches!(close, Some(Close::Protocol(_) | Close::Limit(_) | Close::Idle));
        assert!(is_refused || !is_calm && close != Some(Close::Done), "{close:?}");
    }
    Ok(outcome)
}

fn seeds() -> (std::ops::Range<u64>, bool) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SOTONG_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("SOTONG_SEEDS").unwrap_or(SEEDS), false),
    }
}

#[test]
fn web_socket_at_both_ends() {
    let (seeds, is_one) = seeds();
    for seed in seeds {
        println!(
            "replay: SOTONG_SEED={seed} cargo test -p tests --test simulator_ws web_socket_at_both_ends -- --nocapture"
        );
        match scene(seed) {
            Ok(_) => {}
            Err(failure) if is_one => panic!("{}{failure}", failure.trace),
            Err(failure) => panic!("{failure}"),
        }
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in seeds().0.step_by(10) {
        let [one, two] = [(); 2].map(|()| {
            let outcome = scene(seed).unwrap_or_else(|failure| panic!("{failure}"));
            let lines = outcome.trace.lines().iter().map(|line| (line.at, line.who, line.what, line.bytes));
            lines.collect::<Vec<_>>()
        });
        assert_eq!(one, two, "seed {seed}");
    }
}
