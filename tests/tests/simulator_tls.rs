//! TLS at both ends under the simulated driver, with cuts, slow wires, full outputs, panics and clock jumps.
//!
//! A seed gives the same run every time, keys and signatures aside: everything in a handshake has one length, since the
//! certificate is Ed25519, the key exchange X25519, the time fixed, and the configurations are fresh for each seed.
//! `SOTONG_SEEDS` and `SOTONG_SEED` as in `simulator.rs`.
use sotong_classics::{ChargenService, EchoService};
use sotong_session::{Address, Checked, Close, Cx, End, Event, Host, Pace, Service, Session, Stream, Wants, Way};
use sotong_sim::{Act, Failure, Outcome, Script, Setup, Sim};
use sotong_tls::{
    Tls, TlsLimits,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime},
        time_provider::TimeProvider,
        version::{TLS12, TLS13},
    },
};
use std::{convert::Infallible, sync::Arc, time::Duration};

const SEEDS: u64 = 200;

/// 2026-01-01.
#[derive(Debug)]
struct NewYear;
impl TimeProvider for NewYear {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600)))
    }
}

/// An echo behind TLS, and askers that reach it over TLS.
#[derive(Clone)]
struct Secure {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    handshake: Duration,
    /// The server speaks without end, and who has heard enough leaves; else it echoes.
    speaks: bool,
}

impl Secure {
    fn new(seed: u64) -> Self {
        let provider = CryptoProvider { kx_groups: vec![ring::kx_group::X25519], ..ring::default_provider() };
        let (provider, time) = (Arc::new(provider), Arc::new(NewYear));
        let version = if seed.is_multiple_of(3) { &TLS12 } else { &TLS13 };
        let certificate = CertificateDer::from(include_bytes!("../../crates/sotong-tls/testdata/cert.der").as_slice());
        let key = PrivatePkcs8KeyDer::from(include_bytes!("../../crates/sotong-tls/testdata/key.der").as_slice());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("the test certificate");
        let mut server = ServerConfig::builder_with_details(provider.clone(), time.clone())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .expect("the test key fits");
        let mut client = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        if seed.is_multiple_of(5) {
            // Tiny records, and handshake messages over many of them.
            (server.max_fragment_size, client.max_fragment_size) = (Some(50), Some(64));
        }
        // The slowest wires bring 60 bytes a second: more than ten seconds for a handshake.
        let handshake = Duration::from_secs(if seed.is_multiple_of(2) { 300 } else { 10 });
        Self { server: Arc::new(server), client: Arc::new(client), handshake, speaks: seed % 8 > 5 }
    }
}

enum Side {
    Echo(Tls<Checked<<EchoService as Service>::Session>>),
    Asker(Tls<Checked<Asker>>),
    Chargen(Tls<Checked<<ChargenService as Service>::Session>>),
    Listener(Tls<Checked<Listener>>),
}

impl Service for Secure {
    type Session = Side;
    fn open(&self, way: &Way) -> Result<Side, Close> {
        let limits = TlsLimits { handshake: self.handshake, ..TlsLimits::default() };
        match &way.local {
            End::Simulated(0) if self.speaks => {
                Tls::server(Checked::new(ChargenService.open(way)?), self.server.clone(), limits).map(Side::Chargen)
            }
            End::Simulated(0) => {
                Tls::server(Checked::new(EchoService.open(way)?), self.server.clone(), limits).map(Side::Echo)
            }
            End::Simulated(number) if self.speaks => {
                let name = "sotong.test".try_into().expect("a name");
                let listener = Listener { heard: Vec::new(), enough: (number * 97 % 3_000) as usize };
                Tls::client(Checked::new(listener), self.client.clone(), name, limits).map(Side::Listener)
            }
            End::Simulated(number) => {
                let name = "sotong.test".try_into().expect("a name");
                let to_say = (0..number * 97 % 3_000).map(|at| (at % 251) as u8).collect();
                let asker = Asker { to_say, said: 0, heard: 0 };
                Tls::client(Checked::new(asker), self.client.clone(), name, limits).map(Side::Asker)
            }
            other => unreachable!("{other} is not in a simulation"),
        }
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}

impl Session for Side {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match self {
            Self::Echo(side) => side.handle(event, cx),
            Self::Asker(side) => side.handle(event, cx),
            Self::Chargen(side) => side.handle(event, cx),
            Self::Listener(side) => side.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match self {
            Self::Echo(side) => side.wants(),
            Self::Asker(side) => side.wants(),
            Self::Chargen(side) => side.wants(),
            Self::Listener(side) => side.wants(),
        }
    }
}
impl Stream for Side {}

/// Says something, half-closes, and checks that it comes back.
struct Asker {
    to_say: Vec<u8>,
    said: usize,
    heard: usize,
}

impl Session for Asker {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(_) | Event::Drained => {
                let count = cx.out.room().min(self.to_say.len() - self.said);
                cx.out.put(&self.to_say[self.said..self.said + count]);
                self.said += count;
                if self.said == self.to_say.len() {
                    cx.out.finish();
                }
            }
            Event::Input(mut input) => {
                let expected = self.to_say.get(self.heard..self.heard + input.bytes().len());
                assert_eq!(Some(input.bytes()), expected, "an echo says what it heard, in order");
                self.heard += input.bytes().len();
                input.take_all();
            }
            Event::End => {
                assert!(
                    self.heard == self.to_say.len() || self.said < self.to_say.len(),
                    "an end mark stands behind all that was to be said"
                );
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
impl Stream for Asker {}

/// Leaves when it has heard enough.
struct Listener {
    heard: Vec<u8>,
    enough: usize,
}

impl Session for Listener {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                self.heard.extend_from_slice(input.bytes());
                input.take_all();
                // RFC 864: lines of 72 of the 95 printable characters, each begun one character further.
                let line = |number: usize| (0..72).map(move |at| b' ' + ((number + at) % 95) as u8).chain(*b"\r\n");
                let pattern = (0..).flat_map(line).take(self.heard.len());
                assert!(self.heard.iter().copied().eq(pattern), "the pattern, without a gap");
                if self.heard.len() >= self.enough {
                    return Err(Close::Done);
                }
            }
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Open(_) | Event::Drained | Event::Again | Event::Mail(_) | Event::Deadline | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Listener {}

fn scene(seed: u64) -> Result<Outcome, Failure> {
    let setup = Setup::new(seed);
    let is_calm = seed.is_multiple_of(2);
    let mut setup = if is_calm { setup.without_faults() } else { setup };
    // A byte that is echoed alone, since there is room for no more, is a record of its own.
    setup.steps_max *= 10;
    let mut sim = Sim::new(setup, Secure::new(seed));
    let mut links = Vec::new();
    for _ in 0..sim.dice().between(1, 4) {
        let at = Duration::from_micros(sim.dice().between(0, 20_000));
        links.push(sim.connect_session(at));
    }
    let mut strangers = Vec::new();
    for _ in 0..sim.dice().between(0, 2) {
        let dice = sim.dice();
        let at = Duration::from_micros(dice.between(0, 20_000));
        // What looks like a record at first, an HTTP request, or anything.
        let mut words = dice.one_of(&[&b"\x16\x03\x01\x00\x10"[..], b"GET / HTTP/1.1\r\n", b"\x15\x03", b""]).to_vec();
        words.extend((0..dice.size(200)).map(|_| dice.between(0, 255) as u8));
        strangers.push(sim.connect(at, Script::new([Act::Say(words), Act::HearEnd, Act::Fin])));
    }
    let outcome = sim.run()?;
    if seeds().1 {
        print!("{}", outcome.trace);
    }
    if is_calm {
        for link in links {
            let close = &outcome.of(link).close;
            // Who has heard enough of one who speaks without end leaves in the middle of a word.
            let left = seed % 8 > 5 && matches!(close, Some(Close::Reset | Close::Truncated));
            assert!(left || *close == Some(Close::Done), "both said all, and all was heard: {close:?}");
        }
    }
    for stranger in strangers {
        let close = outcome.of(stranger).close.clone();
        let is_refused = matches!(close, Some(Close::Protocol(_) | Close::Idle));
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
fn tls_at_both_ends() {
    let (seeds, is_one) = seeds();
    for seed in seeds {
        println!("replay: SOTONG_SEED={seed} cargo test -p tests --test simulator_tls tls_at_both_ends -- --nocapture");
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
            // Keys differ, and with them every byte that is encrypted; nothing else does.
            let lines = outcome.trace.lines().iter().map(|line| (line.at, line.who, line.what, line.bytes));
            lines.collect::<Vec<_>>()
        });
        assert_eq!(one, two, "seed {seed}");
    }
}
