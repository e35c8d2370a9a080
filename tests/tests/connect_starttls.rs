//! `sotong connect --starttls …` against servers in Python that speak each protocol's dialog and then TLS by OpenSSL.
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};
use tests::{
    process::{Done, run, start},
    tls::CERT,
    tool::{Tool, tool},
};

/// Each line of a dialog: what is expected (`<`), what is said (`>`). The last thing said is the agreement, behind which
/// `inject` says more in the same piece, and `refuse` says no in its place.
const SERVER: &str = r#"
import socket, ssl, sys
protocol, mode, cert = sys.argv[1:]
LDAP = b'\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037'
dialogs = {
    'smtp': ([('>', b'220-mail.test\r\n220 ready\r\n'), ('<', b'EHLO [127.0.0.1]\r\n'),
              ('>', b'250-mail.test\r\n250-STARTTLS\r\n250 8BITMIME\r\n'), ('<', b'STARTTLS\r\n')],
             b'220 go ahead\r\n', b'454 not now\r\n'),
    'imap': ([('>', b'* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n'), ('<', b's1 STARTTLS\r\n')],
             b's1 OK begin\r\n', b's1 NO not now\r\n'),
    'pop3': ([('>', b'+OK ready\r\n'), ('<', b'STLS\r\n')], b'+OK begin\r\n', b'-ERR not now\r\n'),
    'irc': ([('<', b'STARTTLS\r\n'), ('>', b':irc.test NOTICE * :wait\r\n')],
            b':irc.test 670 * :begin\r\n', b':irc.test 691 * :not now\r\n'),
    'xmpp': ([('<', b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                    b"xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"),
              ('>', b"<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams'>"
                    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"),
              ('<', b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")],
             b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"<failure xmlns='x'/></stream:stream>"),
    'postgres': ([('<', b'\0\0\0\x08\x04\xd2\x16\x2f')], b'S', b'N'),
    'ldap': ([('<', LDAP)], b'\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00',
             b'\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00'),
}
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
plain, _ = listener.accept()
plain.settimeout(30)
steps, agrees, refuses = dialogs[protocol]
for way, words in steps:
    if way == '>':
        plain.sendall(words)
        continue
    heard = b''
    while len(heard) < len(words):
        piece = plain.recv(len(words) - len(heard))
        assert piece, heard
        heard += piece
    assert heard == words, heard
if mode == 'refuse':
    plain.sendall(refuses)
    assert plain.recv(1) == b''
    sys.exit(0)
plain.sendall(agrees + (b'* a stranger\r\n' if mode == 'inject' else b''))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert)
if mode == 'inject':
    # Nothing more may be said to one who takes a stranger's words for a server's.
    rest = plain.recv(65536)
    assert rest == b'', rest
    sys.exit(0)
tls = context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
heard = b''
while piece := tls.recv(65536):
    heard += piece
tls.sendall(heard[::-1])
tls.unwrap()
"#;

const PROTOCOLS: [&str; 7] = ["smtp", "imap", "pop3", "irc", "xmpp", "postgres", "ldap"];

/// A server of one connection, and where it listens.
fn server(python: Tool, protocol: &str, mode: &str) -> (Child, String) {
    let mut server = python
        .command(["-c", SERVER, protocol, mode, CERT])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (server, format!("localhost:{}", port.trim()))
}

fn connect(address: &str, protocol: &str) -> Done {
    run(["connect", "-4", "--starttls", protocol, "--ca", CERT, address], b"through")
}

#[test]
fn each_protocol_leads_to_tls() {
    let Some(python) = tool("python3") else { return };
    for protocol in PROTOCOLS {
        let (mut server, address) = server(python, protocol, "agree");
        let done = connect(&address, protocol);
        assert_eq!(
            (done.code(), done.stdout.as_slice(), done.stderr.as_str()),
            (Some(0), &b"hguorht"[..], ""),
            "{protocol}"
        );
        assert!(server.wait().unwrap().success(), "{protocol}");
    }
}

/// Words in the same piece as the agreement came before TLS: whoever is on the way can have put them there.
#[test]
fn words_behind_the_agreement_end_it() {
    let Some(python) = tool("python3") else { return };
    for protocol in PROTOCOLS {
        let (mut server, address) = server(python, protocol, "inject");
        let done = connect(&address, protocol);
        assert_eq!((done.code(), done.stdout.len()), (Some(76), 0), "{protocol}: {}", done.stderr);
        assert!(done.stderr.contains("said more behind its answer to STARTTLS"), "{protocol}: {}", done.stderr);
        assert!(server.wait().unwrap().success(), "{protocol}");
    }
}

#[test]
fn a_server_that_does_not_agree_is_not_spoken_to_in_plain_text() {
    let Some(python) = tool("python3") else { return };
    for protocol in PROTOCOLS {
        let (mut server, address) = server(python, protocol, "refuse");
        let done = connect(&address, protocol);
        assert_eq!((done.code(), done.stdout.len()), (Some(76), 0), "{protocol}: {}", done.stderr);
        assert!(done.stderr.contains("TLS") && done.stderr.lines().count() == 1, "{protocol}: {}", done.stderr);
        assert!(server.wait().unwrap().success(), "{protocol}: nothing came");
    }
}

#[test]
fn a_certificate_is_looked_at_and_checked_behind_the_dialog() {
    let Some(python) = tool("python3") else { return };
    let (mut looked_at, address) = server(python, "smtp", "agree");
    let shown = start(["connect", "-4", "--starttls", "smtp", "--show-cert", "--ca", CERT, &address]).wait();
    assert_eq!(shown.code(), Some(0), "{}", shown.stderr);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("SHA-256"));
    let _ = looked_at.wait();
    let (mut refused, address) = server(python, "imap", "agree");
    let args = ["connect", "-4", "--starttls", "imap", "--ca", CERT, "--servername", "mail.example.org", &address];
    let done = run(args, b"secret");
    assert_eq!(done.code(), Some(77), "{}", done.stderr);
    assert!(done.stderr.contains("not for mail.example.org"), "{}", done.stderr);
    let _ = refused.wait();
}

/// A server that says nothing is left in time.
#[test]
fn a_silent_server_is_left_after_the_time_limit() {
    let (listener, address) = tests::process::listener();
    let running = start(["connect", "--starttls", "smtp", "-w", "0.4", "--ca", CERT, &address]);
    let _silent = tests::process::accept(&listener);
    let done = running.wait();
    assert_eq!(done.code(), Some(75), "{}", done.stderr);
}
