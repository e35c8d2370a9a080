//! Each protocol's dialog as a script: what the server says, what it is answered, and what ends it.
use super::*;
use crate::testing::{Probe, Seen};
use proptest::prelude::*;
use sotong_session::rig::Rig;

/// What the server says, and what the client says to it.
type Script = &'static [(&'static [u8], &'static [u8])];

const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
const XMPP_STREAM: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>";
const XMPP_ASK: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// Dialogs that end in agreement; the first line is what the client says by itself.
const AGREED: [(Upgrade, Script); 9] = [
    (
        Upgrade::Smtp,
        &[
            (b"", b""),
            (b"220-mail.example.org\r\n220 at your service\r\n", b"EHLO [127.0.0.1]\r\n"),
            (b"250-mail.example.org\r\n250-SIZE 1000\r\n250-starttls\r\n250 8BITMIME\r\n", b"STARTTLS\r\n"),
            (b"220 go ahead\r\n", b""),
        ],
    ),
    (
        Upgrade::Imap,
        &[
            (b"", b""),
            (b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", b"s1 STARTTLS\r\n"),
            (b"* CAPABILITY IMAP4rev1\r\ns1 ok begin\r\n", b""),
        ],
    ),
    (Upgrade::Pop3, &[(b"", b""), (b"+OK ready\r\n", b"STLS\r\n"), (b"+OK\r\n", b"")]),
    (
        Upgrade::Irc,
        &[
            (b"", b"STARTTLS\r\n"),
            (b":irc.example.org NOTICE * :*** Looking up\r\n", b""),
            (b":irc 670 * :go\r\n", b""),
        ],
    ),
    (
        Upgrade::Xmpp,
        &[
            (b"", XMPP_STREAM),
            (
                b"<?xml version='1.0'?><stream:stream id='1' xmlns:stream='x'><stream:features>\
                  <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
                XMPP_ASK,
            ),
            (b" <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b""),
        ],
    ),
    (
        Upgrade::Xmpp,
        &[
            (b"", XMPP_STREAM),
            (b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>", XMPP_ASK),
            (b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>", b""),
        ],
    ),
    (Upgrade::Postgres, &[(b"", b"\0\0\0\x08\x04\xd2\x16\x2f"), (b"S", b"")]),
    (Upgrade::Ldap, &[(b"", LDAP_REQUEST), (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", b"")]),
    (
        Upgrade::Ldap,
        &[
            (b"", LDAP_REQUEST),
            (b"\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00", b""),
        ],
    ),
];

fn rig(upgrade: Upgrade) -> Rig<StartTls<Probe>> {
    Rig::stream(StartTls::new(Probe::echo(), upgrade, "example.org", StartTlsLimits::default()))
}

fn inner(rig: &Rig<StartTls<Probe>>) -> &Probe {
    &rig.session().inner
}

/// The client's words in a local address of the rig are those of a simulated end.
fn run(upgrade: Upgrade, script: Script, cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Rig<StartTls<Probe>> {
    let mut rig = rig(upgrade);
    rig.open();
    for (server, client) in script {
        for piece in cut(server) {
            assert!(inner(&rig).seen.is_empty(), "{upgrade:?}: nothing goes in before the server has agreed");
            rig.input(&piece);
        }
        assert_eq!(rig.close(), None, "{upgrade:?}");
        let sent = rig.sent();
        assert_eq!(sent, *client, "{upgrade:?}: {:?}", String::from_utf8_lossy(&sent));
    }
    rig
}

#[test]
fn each_dialog_leads_to_the_session_inside() {
    let whole = |bytes: &[u8]| if bytes.is_empty() { vec![] } else { vec![bytes.to_vec()] };
    let bytewise = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect();
    for (upgrade, script) in AGREED {
        for mut rig in [run(upgrade, script, whole), run(upgrade, script, bytewise)] {
            assert_eq!(inner(&rig).seen.len(), 1, "{upgrade:?}");
            assert!(matches!(inner(&rig).seen[0], Seen::Open(_)));
            rig.input(b"hello");
            assert_eq!(rig.sent(), b"hello");
            rig.end();
            rig.gone(Close::Done);
            assert_eq!(inner(&rig).taken(), b"hello");
            assert_eq!(inner(&rig).seen.last(), Some(&Seen::Gone(Close::Done)));
        }
    }
}

#[test]
fn words_behind_the_agreement_are_a_strangers() {
    for (upgrade, script) in AGREED {
        let mut rig = rig(upgrade);
        rig.open();
        let (last, before) = script.split_last().expect("a script");
        for (server, _) in before.iter().filter(|(server, _)| !server.is_empty()) {
            rig.input(server);
        }
        rig.input(&[last.0, b"* injected\r\n"].concat());
        let expect = Close::Protocol("the server said more behind its answer to STARTTLS".into());
        assert_eq!(rig.close(), Some(&expect), "{upgrade:?}");
        assert!(inner(&rig).seen.is_empty());
    }
}

#[test]
fn a_server_that_does_not_agree_is_told_by_its_words() {
    for (upgrade, server, words) in [
        (Upgrade::Smtp, &b"554 no service\r\n"[..], "it said \"554 no service\""),
        (Upgrade::Smtp, b"22\r\n", "it said \"22\""),
        (Upgrade::Smtp, b"220_x\r\n", "it said"),
        (Upgrade::Smtp, b"220 x\r\n500 what\r\n", "it said \"500 what\""),
        (Upgrade::Smtp, b"220 x\r\n250-x\r\n250 HELP\r\n", "does not offer STARTTLS"),
        (Upgrade::Smtp, b"220 x\r\n250 STARTTLS\r\n454 no key\r\n", "it said \"454 no key\""),
        (Upgrade::Imap, b"* BYE busy\r\n", "it said \"* BYE busy\""),
        (Upgrade::Imap, b"* OK\r\ns1 BAD what\r\n", "it said \"s1 BAD what\""),
        (Upgrade::Imap, b"* OK\r\ns12 OK\r\n", "it said"),
        (Upgrade::Imap, b"* OK\r\n+ more\r\n", "it said"),
        (Upgrade::Pop3, b"-ERR busy\r\n", "it said \"-ERR busy\""),
        (Upgrade::Pop3, b"+OK\r\n-ERR no\r\n", "it said \"-ERR no\""),
        (Upgrade::Pop3, b"+OKAY\r\n", "it said"),
        (Upgrade::Irc, b":irc 421 * STARTTLS :Unknown command\r\n", "it said \":irc 421"),
        (Upgrade::Irc, b"ERROR :go away\r\n", "it said \"ERROR"),
        (Upgrade::Xmpp, b"<stream:features></stream:features>", "does not offer STARTTLS"),
        (Upgrade::Xmpp, b"<stream:error><host-unknown/></stream:error>", "host-unknown"),
        (
            Upgrade::Xmpp,
            b"<stream:features>urn:ietf:params:xml:ns:xmpp-tls</stream:features><failure/>",
            "it said \"<failure/>",
        ),
        (Upgrade::Postgres, b"N", "does not offer TLS"),
        (Upgrade::Postgres, b"E\0\0\0\x0aFATAL", "it said \"E"),
        (Upgrade::Ldap, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x35\x04\x00\x04\x00", "it said"),
        (Upgrade::Ldap, b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00", "it said"),
        (Upgrade::Ldap, b"\x30\xff", "it said"),
        (Upgrade::Ldap, b"SSH-2.0", "it said \"SSH-2.0\""),
    ] {
        let mut rig = rig(upgrade);
        rig.open();
        rig.input(server);
        let said = rig.close().map(ToString::to_string).unwrap_or_default();
        assert!(said.contains(words), "{upgrade:?} {:?}: {said}", String::from_utf8_lossy(server));
        assert!(inner(&rig).seen.is_empty());
    }
}

#[test]
fn a_dialog_has_limits() {
    let long = [b'x'; 5000];
    for upgrade in [Upgrade::Smtp, Upgrade::Imap, Upgrade::Pop3, Upgrade::Irc, Upgrade::Xmpp] {
        let mut rig = rig(upgrade);
        rig.open();
        rig.input(&long);
        assert_eq!(rig.close(), Some(&Close::Limit("line_bytes_max")), "{upgrade:?}");
    }
    let mut endless = rig(Upgrade::Irc);
    endless.open();
    for _ in 0..70 {
        endless.input(&[&[b'x'; 999][..], b"\n"].concat());
    }
    assert_eq!(endless.close(), Some(&Close::Limit("dialog_bytes_max")));
    let mut silent = rig(Upgrade::Smtp);
    silent.open();
    silent.advance(Duration::from_secs(29));
    assert_eq!(silent.close(), None);
    silent.advance(Duration::from_secs(1));
    assert_eq!(silent.close(), Some(&Close::Idle));
}

#[test]
fn what_ends_before_tls_does_not_go_inward() {
    let mut left = rig(Upgrade::Smtp);
    left.open();
    left.end();
    assert!(matches!(left.close(), Some(Close::Protocol(_))));
    let mut stopped = rig(Upgrade::Smtp);
    stopped.open();
    stopped.mail(&1);
    stopped.stop();
    assert_eq!(stopped.close(), Some(&Close::Stop));
    assert!(inner(&stopped).seen.is_empty());
}

#[test]
fn a_domain_cannot_leave_its_attribute() {
    let limits = StartTlsLimits::default();
    let mut rig = Rig::stream(StartTls::new(Probe::echo(), Upgrade::Xmpp, "a'><x>&", limits));
    rig.open();
    let said = String::from_utf8(rig.sent()).expect("text");
    assert!(said.contains("to='a&apos;>&lt;x>&amp;'"), "{said}");
}

proptest! {
    #[test]
    fn cuts_change_nothing(at in 0usize..9, cuts in prop::collection::vec(1usize..20, 1..20)) {
        let (upgrade, script) = AGREED[at];
        let rig = run(upgrade, script, |bytes| {
            let (mut pieces, mut rest, mut next) = (Vec::new(), bytes, cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at((*next.next().expect("some")).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = more;
            }
            pieces
        });
        prop_assert_eq!(inner(&rig).seen.len(), 1);
    }
    #[test]
    fn whatever_a_server_says_is_answered_or_refused(at in 0usize..9, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut rig = rig(AGREED[at].0);
        rig.open();
        if !bytes.is_empty() {
            rig.input(&bytes);
        }
    }
}
