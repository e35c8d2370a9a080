//! What no client should send, on real sockets: each gets the standard's answer, and somebody in the room notices nothing.
use tests::{
    conn::Conn,
    http,
    irc::Client,
    runs::{Run, shared_runs},
    server::Server,
};

fn start(run: &Run) -> Server {
    Server::start(run.line("chat", &["127.0.0.1:0", "--no-flood-control"]))
}

/// Somebody in the lobby, to whom nothing may come of all this.
struct Bystander(Client);

impl Bystander {
    fn new(server: &Server) -> Self {
        Self(Client::enter(server.address(), "bystander", "message-tags server-time"))
    }
    /// Nothing has come but the answer.
    #[track_caller]
    fn noticed_nothing(&mut self, run: &Run) {
        self.0.say("PING still");
        let heard = self.0.hear();
        assert!(heard.ends_with(" PONG sotong.local :still"), "{run}: {heard}");
    }
}

fn registered(server: &Server, nick: &str) -> Client {
    let mut client = Client::dial(server.address());
    client.say(&format!("CAP REQ message-tags\r\nNICK {nick}\r\nUSER u 0 * :u\r\nCAP END"));
    client.hear_until(" 422 ");
    client
}

#[test]
fn thousands_in_a_line() {
    for run in shared_runs() {
        let server = start(&run);
        let mut bystander = Bystander::new(&server);
        let mut client = registered(&server, "odd");
        client.say("JOIN #own");
        client.hear_until(" 366 ");
        client.say(&format!("MODE #own {}\r\nPING done", "+b-b".repeat(120)));
        assert!(client.hear_until(" PONG ").len() < 100, "{run}: bounded");
        client.say(&format!("KICK #own {} :x\r\nPING done", "a,".repeat(240).trim_end_matches(',')));
        assert!(client.hear_until(" PONG ")[0].contains(" 407 odd "), "{run}");
        for line in 0..3 {
            let rooms: Vec<_> = (0..60).map(|number| format!("#{line}-{number}")).collect();
            client.say(&format!("JOIN {}", rooms.join(",")));
        }
        client.say("PING done");
        let heard = client.hear_until(" PONG ");
        let count = |number: &str| heard.iter().filter(|line| line.contains(number)).count();
        assert_eq!((count(" JOIN #"), count(" 405 odd ")), (99, 81), "{run}");
        bystander.noticed_nothing(&run);
        server.stop();
    }
}

#[test]
fn before_registration() {
    for run in shared_runs() {
        let server = start(&run);
        let mut bystander = Bystander::new(&server);
        let mut client = Client::dial(server.address());
        client.say("NICK odd\r\nJOIN #lobby\r\nPRIVMSG #lobby :x\r\nWHO #lobby");
        for _ in 0..3 {
            let heard = client.hear();
            assert!(heard.contains(" 451 "), "{run}: {heard}");
        }
        client.say("QUIT");
        let rest = client.rest();
        assert!(rest.contains("ERROR :"), "{run}: {rest:?}");
        // Endless AUTHENTICATE.
        let mut client = Client::dial(server.address());
        client.say("CAP LS 302\r\nNICK odd\r\nAUTHENTICATE PLAIN");
        for _ in 0..70 {
            client.say(&format!("AUTHENTICATE {}", "A".repeat(400)));
        }
        let rest = client.rest();
        assert!(rest.lines().count() < 200 && rest.contains("ERROR :"), "{run}: it ends: {rest:?}");
        bystander.noticed_nothing(&run);
        server.stop();
    }
}

#[test]
fn what_is_no_irc_at_all() {
    for run in shared_runs() {
        let server = start(&run);
        let mut bystander = Bystander::new(&server);
        // Half a TLS hello where there is no TLS: the alert handshake_failure (RFC 8446 §6).
        let mut hello = server.dial();
        hello.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]);
        hello.end();
        assert_eq!(hello.rest(), [0x15, 3, 1, 0, 2, 2, 40], "{run}");
        let mut post = server.dial();
        post.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nNICK x\r\nUSER x 0 * :x\r\nJOIN #lobby");
        assert_eq!(http::read(&mut post, true).status, 405, "{run}");
        let mut bare = server.dial();
        bare.send("GET / HTTP/1.1\nHost: x\n\n");
        assert_eq!(http::read(&mut bare, true).status, 400, "{run}");
        bystander.noticed_nothing(&run);
        server.stop();
    }
}

/// The code of the Close frame that ends a WebSocket, once `frames` have come.
fn close_code(server: &Server, frames: &[u8]) -> Option<u16> {
    let mut conn = upgraded(server, "").1;
    // It may have closed before all has come.
    let _ = std::io::Write::write_all(&mut conn, frames);
    let mut rest = &conn.rest()[..];
    loop {
        let (&first, &len) = (rest.first()?, rest.get(1)?);
        let (len, at) =
            if len == 126 { (usize::from(rest[2]) << 8 | usize::from(rest[3]), 4) } else { (len.into(), 2) };
        if first == 0x88 {
            return Some(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        }
        rest = rest.get(at + len..)?;
    }
}
fn upgraded(server: &Server, more: &str) -> (u16, Conn) {
    let mut conn = server.dial();
    let port = server.port();
    conn.send(format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
    ));
    let answer = http::read(&mut conn, false);
    (answer.status, conn)
}
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => frame.extend([0xfe, (len >> 8) as u8, len as u8]),
        len => frame.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
    }
    // The mask is four zeros.
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn frames_that_no_client_should_send() {
    for run in shared_runs() {
        let server = start(&run);
        let mut bystander = Bystander::new(&server);
        let endless: Vec<u8> = [frame(0x01, b"N"), frame(0x00, b"x").repeat(200)].concat();
        for (what, frames, code) in [
            ("unmasked", b"\x81\x04NICK".to_vec(), 1002),
            ("fragments without end", endless, 1008),
            ("oversized", frame(0x82, &vec![b'x'; 70_000]), 1009),
            ("compressed, where nothing is", frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), 1002),
            ("not UTF-8", frame(0x81, b"NICK \xff"), 1007),
        ] {
            assert_eq!(close_code(&server, &frames), Some(code), "{run}: {what}");
            bystander.noticed_nothing(&run);
        }
        assert_eq!(upgraded(&server, "Origin: https://evil.example\r\n").0, 403, "{run}");
        bystander.noticed_nothing(&run);
        server.stop();
    }
}

/// More than a line and its queue may hold: it is told once, and then the connection is over.
#[test]
fn a_line_without_end() {
    for run in shared_runs() {
        let server = start(&run);
        let mut bystander = Bystander::new(&server);
        let mut client = registered(&server, "odd");
        client.send([b'x'; 8_000]);
        client.say("\r\nPING done");
        assert!(client.hear_until(" PONG ")[0].contains(" 417 odd "), "{run}");
        client.send([b'x'; 100_000]);
        let rest = client.rest();
        assert!(rest.ends_with("ERROR :Closing link: localhost (Receive queue exceeded)\r\n"), "{run}: {rest}");
        bystander.noticed_nothing(&run);
        server.stop();
    }
}

#[test]
fn lines_that_are_none() {
    for run in shared_runs() {
        let server = start(&run);
        let mut bystander = Bystander::new(&server);
        let mut client = registered(&server, "odd");
        let long = [b"PRIVMSG #lobby :", &[b'x'; 600][..], b"\r\n"].concat();
        let tags = format!("@+a={} PRIVMSG #lobby :x\r\n", "t".repeat(5000));
        let rooms = format!("JOIN {}\r\n", "#,".repeat(200));
        let cases: [(&[u8], &str); 11] = [
            (&long, " 417 odd "),
            (tags.as_bytes(), " 417 odd "),
            (b"PRIVMSG #lobby :a\0b\r\n", " 400 odd "),
            (b"PRIVMSG #lobby :a\rQUIT :b\r\n", " 400 odd "),
            (b"@+a=\xff PRIVMSG #lobby :x\r\n", " INVALID_UTF8 :"),
            (b"PRIVMSG #lobby :\xed\xa0\x80\r\n", " INVALID_UTF8 :"),
            (b"NICK a\x01b\r\n", " 432 odd "),
            (b"NICK :two words\r\n", " 432 odd "),
            (b"TOPIC #lobby\r:x\r\n", " 400 odd "),
            (b"PRIVMSG a,b,c,d,e,f,g,h :x\r\n", " 407 odd "),
            (rooms.as_bytes(), " 403 odd "),
        ];
        for (bytes, expect) in cases {
            let shown = bytes[..bytes.len().min(40)].escape_ascii().to_string();
            client.send(bytes);
            client.say("PING done");
            let heard = client.hear_until(" PONG ");
            assert!(heard[0].contains(expect), "{run}: {shown}: {heard:?}");
            bystander.noticed_nothing(&run);
        }
        // A tag is escaped when it is told, too.
        client.say("@+a=one\\r\\nQUIT\\:x PRIVMSG odd :to myself");
        let heard = client.hear();
        assert!(heard.contains("+a=one\\r\\nQUIT\\:x") && heard.ends_with(" PRIVMSG odd :to myself"), "{run}: {heard}");
        client.say("QUIT");
        client.rest();
        bystander.noticed_nothing(&run);
        server.stop();
    }
}

/// Who begins a handshake and says no more is gone when its time is over; whoever is there before and after notices nothing.
#[test]
fn half_a_hello() {
    let mut all = Vec::new();
    for run in shared_runs() {
        let server = Server::start(run.line("chat", &["127.0.0.1:0", "--no-flood-control", "--tls"]));
        let bystander = Bystander::new(&server);
        let halves = [&b"\x16"[..], b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xxxxxxxx"]
            .map(|bytes| {
                let mut conn = server.dial();
                conn.send(bytes);
                conn
            });
        all.push((run, server, bystander, halves));
    }
    for (run, server, mut bystander, halves) in all {
        for mut half in halves {
            assert_eq!(half.rest(), b"", "{run}");
        }
        bystander.noticed_nothing(&run);
        server.stop();
    }
}
