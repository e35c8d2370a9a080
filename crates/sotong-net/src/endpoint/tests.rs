//! Every form and every mistake.
use super::*;
use proptest::prelude::*;

fn parsed(text: &str) -> Result<String, EndpointError> {
    text.parse::<Endpoint>().map(|endpoint| endpoint.to_string())
}

#[test]
fn every_form_is_read_and_written_in_full() {
    for (text, full) in [
        ("tcp://example.org:80", "tcp://example.org:80"),
        ("TCP://example.org:80/", "tcp://example.org:80"),
        ("udp://127.0.0.1:53", "udp://127.0.0.1:53"),
        ("example.org:80", "tcp://example.org:80"),
        ("localhost:80", "tcp://localhost:80"),
        ("LocalHost:80", "tcp://localhost:80"),
        (":80", "tcp://localhost:80"),
        (":0", "tcp://localhost:0"),
        ("udp://:80", "udp://localhost:80"),
        ("*:80", "tcp://*:80"),
        ("udp://*:65535", "udp://*:65535"),
        ("0.0.0.0:80", "tcp://0.0.0.0:80"),
        ("[::]:80", "tcp://[::]:80"),
        ("[::1]:80", "tcp://[::1]:80"),
        ("[0:0:0:0:0:0:0:1]:80", "tcp://[::1]:80"),
        ("[fe80::1%lo]:80", "tcp://[fe80::1%lo]:80"),
        ("[::ffff:1.2.3.4]:80", "tcp://[::ffff:1.2.3.4]:80"),
        ("tcp:80", "tcp://tcp:80"),
        ("소통.example:80", "tcp://소통.example:80"),
        ("my_host:80", "tcp://my_host:80"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
        ("unix:////run/x.sock", "unix:/run/x.sock"),
        ("unix:x.sock", "unix:x.sock"),
        ("unix:./@x", "unix:./@x"),
        ("unix:@name", "unix:@name"),
        ("unix:@/in/a:b", "unix:@/in/a:b"),
        ("unix:소켓", "unix:소켓"),
        ("tls://example.org:443/", "tls://example.org:443"),
        ("TLS://:443", "tls://localhost:443"),
        ("tls://*:443", "tls://*:443"),
        ("tls:443", "tcp://tls:443"),
        ("tls+unix:///run/x.sock", "tls+unix:/run/x.sock"),
        ("tls+unix:@name", "tls+unix:@name"),
        ("ws://example.org:8080/chat?room=1", "ws://example.org:8080/chat?room=1"),
        ("ws://example.org", "ws://example.org:80"),
        ("WSS://example.org/", "wss://example.org:443"),
        ("wss://[::1]?a", "wss://[::1]:443/?a"),
        ("ws://:0/방", "ws://localhost:0/방"),
        ("ws://*:80/a:b@c", "ws://*:80/a:b@c"),
        ("ws:80", "tcp://ws:80"),
    ] {
        assert_eq!(parsed(text).as_deref(), Ok(full), "{text}");
        assert_eq!(parsed(full).as_deref(), Ok(full), "{full}");
    }
}

#[test]
fn every_mistake_has_its_own_answer() {
    use EndpointError as E;
    let long = "a".repeat(108);
    for (text, error) in [
        ("", E::Empty),
        ("tcp://", E::Empty),
        ("ssl://h:1", E::UnknownScheme { scheme: "ssl".into(), like: Some(Scheme::Tls) }),
        ("tls+tcp://h:1", E::UnknownScheme { scheme: "tls+tcp".into(), like: None }),
        ("tls:h:1", E::MissingSlashes { scheme: Scheme::Tls, rest: "h:1".into() }),
        ("tls+unix:", E::EmptyUnixName),
        ("tpc://h:1", E::UnknownScheme { scheme: "tpc".into(), like: Some(Scheme::Tcp) }),
        ("tcp6://h:1", E::UnknownScheme { scheme: "tcp6".into(), like: Some(Scheme::Tcp) }),
        ("UPD://h:1", E::UnknownScheme { scheme: "UPD".into(), like: Some(Scheme::Udp) }),
        ("unx:/tmp/a", E::UnknownScheme { scheme: "unx".into(), like: Some(Scheme::Unix) }),
        ("http://h:1", E::UnknownScheme { scheme: "http".into(), like: None }),
        ("tcp:h:1", E::MissingSlashes { scheme: Scheme::Tcp, rest: "h:1".into() }),
        ("example.org", E::MissingPort { host: "example.org".into() }),
        ("example.org:", E::MissingPort { host: "example.org".into() }),
        ("[::1]", E::MissingPort { host: "[::1]".into() }),
        ("[::1]:", E::MissingPort { host: "[::1]".into() }),
        ("8080", E::PortAlone { port: 8080 }),
        ("h:65536", E::BadPort { port: "65536".into() }),
        ("80000", E::BadPort { port: "80000".into() }),
        ("h:-1", E::BadPort { port: "-1".into() }),
        ("h:+80", E::BadPort { port: "+80".into() }),
        ("h:http", E::BadPort { port: "http".into() }),
        ("h:80:90", E::BadPort { port: "80:90".into() }),
        ("[]:80", E::EmptyHost),
        ("::1", E::UnbracketedIpv6 { text: "::1".into() }),
        ("fe80::1%eth0:80", E::UnbracketedIpv6 { text: "fe80::1%eth0:80".into() }),
        ("tcp://::1:80", E::UnbracketedIpv6 { text: "::1:80".into() }),
        ("[::1:80", E::BadIpv6 { text: "[::1:80".into() }),
        ("[::g]:80", E::BadIpv6 { text: "::g".into() }),
        ("[::1%]:80", E::BadIpv6 { text: "::1%".into() }),
        ("[127.0.0.1]:80", E::BadIpv6 { text: "127.0.0.1".into() }),
        ("[::1]80", E::BadIpv6 { text: "[::1]80".into() }),
        ("127.0.0.256:80", E::BadIpv4 { text: "127.0.0.256".into() }),
        ("127.1:80", E::BadIpv4 { text: "127.1".into() }),
        ("a b:80", E::BadHost { host: "a b".into(), bad: ' ' }),
        ("user@h:80", E::BadHost { host: "user@h".into(), bad: '@' }),
        ("tcp://h:80/index", E::AfterPort { text: "/index".into() }),
        ("example.org:/x", E::AfterPort { text: "/x".into() }),
        ("./sock", E::BarePath { path: "./sock".into() }),
        ("/tmp/sock", E::BarePath { path: "/tmp/sock".into() }),
        ("unix:", E::EmptyUnixName),
        ("unix:@", E::EmptyUnixName),
        ("unix://", E::EmptyUnixName),
        ("unix://run/x", E::UnixHost { path: "run/x".into() }),
        ("unix:a\0b", E::NulInUnixName),
        ("ws://", E::Empty),
        ("ws:h:1", E::MissingSlashes { scheme: Scheme::Ws, rest: "h:1".into() }),
        ("wsss://h", E::UnknownScheme { scheme: "wsss".into(), like: Some(Scheme::Wss) }),
        ("ws://h/a b", E::BadPath { path: "/a b".into(), bad: ' ' }),
        ("ws://h/a#b", E::BadPath { path: "/a#b".into(), bad: '#' }),
        ("ws://h:80#b", E::BadPath { path: "#b".into(), bad: '#' }),
        ("ws://h/a\r\nb", E::BadPath { path: "/a\r\nb".into(), bad: '\r' }),
    ] {
        assert_eq!(parsed(text), Err(error), "{text}");
    }
    assert_eq!(parsed(&format!("unix:{long}")), Err(E::UnixNameTooLong { bytes: 108 }));
    assert_eq!(parsed(&format!("unix:@{long}")), Err(E::UnixNameTooLong { bytes: 108 }));
    assert!(parsed(&format!("unix:{}", &long[1..])).is_ok());
    assert!(parsed(&format!("ws://h/{}", "a".repeat(1023))).is_ok());
    assert_eq!(parsed(&format!("ws://h/{}", "a".repeat(1024))), Err(E::PathTooLong { bytes: 1025 }));
    assert_eq!(parsed(&format!("{}:1", "a".repeat(254))), Err(E::HostTooLong { bytes: 254 }));
}

#[test]
fn defaults_fill_in_what_is_open() {
    let defaults = Defaults { scheme: Scheme::Udp, port: Some(7) };
    let read = |text| Endpoint::parse(text, defaults).map(|endpoint| endpoint.to_string());
    assert_eq!(read("host").as_deref(), Ok("udp://host:7"));
    assert_eq!(read("[::1]").as_deref(), Ok("udp://[::1]:7"));
    assert_eq!(read("tcp://*").as_deref(), Ok("tcp://*:7"));
    assert_eq!(read("host:9").as_deref(), Ok("udp://host:9"));
    assert_eq!(read("99"), Err(EndpointError::PortAlone { port: 99 }));
}

#[test]
fn what_can_only_be_listened_on_is_not_dialled() {
    let check = |text: &str| text.parse::<Endpoint>().unwrap().check_dial();
    assert_eq!(check("*:80"), Err(EndpointError::DialAll));
    assert_eq!(check("udp://:0"), Err(EndpointError::DialPortZero));
    assert_eq!(check(":80"), Ok(()));
    assert_eq!(check("unix:x"), Ok(()));
    assert_eq!(check("tls://*:80"), Err(EndpointError::DialAll));
}

#[test]
fn the_message_names_the_known_schemes() {
    let message = parsed("tpc://h:1").unwrap_err().to_string();
    assert_eq!(
        message,
        "unknown scheme \"tpc\": known are tcp, udp, unix, tls, tls+unix, ws and wss; did you mean tcp?"
    );
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_so_that_it_reads_the_same(
        text in prop_oneof![
            any::<String>(),
            "(tcp://|udp://|unix:|tls://|tls\\+unix:|ws://|wss://|)[a-z0-9.:*%@/\\[\\]-]{0,20}(:[0-9]{1,5})?",
        ]
    ) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
        }
    }
    #[test]
    fn every_socket_address_is_an_endpoint(address in any::<SocketAddr>()) {
        let endpoint = Endpoint::Tcp(HostPort::of(address));
        prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
    }
}

#[test]
fn what_is_spoken_goes_with_a_socket_as_a_word() {
    for text in ["tcp://h:1", "unix:x", "tls://h:1", "tls+unix:x", "ws://h:1/a?b", "wss://h:1", "ws://h:1"] {
        let endpoint: Endpoint = text.parse().unwrap();
        let plain = endpoint.clone().plain();
        assert!(matches!(plain, Endpoint::Tcp(_) | Endpoint::Unix(_)));
        assert_eq!(plain.with_spoken(&endpoint.spoken()), Some(endpoint));
    }
    assert_eq!("udp://h:1".parse::<Endpoint>().unwrap().with_spoken("tls"), None);
    assert_eq!("unix:x".parse::<Endpoint>().unwrap().with_spoken("ws/"), None);
    assert_eq!("h:1".parse::<Endpoint>().unwrap().with_spoken("gopher"), None);
}
