//! Every classic service, under every model, on every wire: the right bytes, ends in order, and each address heard.
use sotong::drivers::Model;
use std::{
    net::UdpSocket,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};
use tests::{
    conn::{Conn, Folder, abstract_unix, datagram, udp},
    process::noise,
    runs::{Run, concurrent_runs, runs},
    server::Server,
    tls::CERT,
};

const HELLO: &str = "안녕하세요, 서버!";

/// A service on each wire that streams have.
fn each_stream(service: &str, check: impl Fn(&Run, &Server, &str)) {
    each_stream_of(&runs(), service, check);
}

fn each_stream_of(runs: &[Run], service: &str, check: impl Fn(&Run, &Server, &str)) {
    let folder = Folder::new();
    for (number, run) in runs.iter().enumerate() {
        let (path, name) = (folder.unix(&format!("{number}.sock")), abstract_unix());
        let secure = format!("tls+{}", folder.unix(&format!("{number}.tls")));
        let asked = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", &path, &name, &secure, "--cert", CERT];
        let server = Server::start(run.line(service, &asked));
        assert_eq!(server.addresses()[2..], [path, name, secure]);
        for address in server.addresses() {
            check(run, &server, address);
        }
        server.stop();
    }
}

/// A service on UDP.
fn each_udp(service: &str, check: impl Fn(&Run, &UdpSocket)) {
    for run in runs() {
        let server = Server::start(run.line(service, &["udp://127.0.0.1:0"]));
        check(&run, &udp(server.address()));
        server.stop();
    }
}

#[test]
fn echo_says_back_every_byte_and_then_ends() {
    let noise = noise(3 << 20, 7);
    each_stream("echo", |run, _, address| {
        let mut peer = Conn::dial(address);
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes(), "{run} {address}");
        let mut sender = peer.twin();
        thread::scope(|scope| {
            scope.spawn(|| {
                sender.send(&noise);
                sender.end();
            });
            assert!(peer.rest() == noise, "{run} {address}: the bytes differ");
        });
    });
}

#[test]
fn echo_gives_each_of_many_peers_its_own() {
    each_stream_of(&concurrent_runs(), "echo", |run, _, address| {
        let mut peers: Vec<_> = (0..50).map(|_| Conn::dial(address)).collect();
        for round in 0..3 {
            for (number, peer) in peers.iter_mut().enumerate() {
                peer.send(format!("{number:4} in round {round}"));
            }
            for (number, peer) in peers.iter_mut().enumerate().rev() {
                let expect = format!("{number:4} in round {round}");
                assert_eq!(String::from_utf8(peer.get(expect.len())).as_ref(), Ok(&expect), "{run} {address}");
            }
        }
    });
}

#[test]
fn discard_takes_everything_and_says_nothing() {
    let noise = noise(1 << 20, 8);
    each_stream("discard", |run, _, address| {
        let mut peer = Conn::dial(address);
        peer.send(&noise);
        peer.end();
        assert_eq!(peer.rest(), b"", "{run} {address}");
    });
}

#[test]
fn chargen_follows_the_pattern_until_its_peer_leaves() {
    each_stream("chargen", |run, _, address| {
        let mut peer = Conn::dial(address);
        // RFC 864: lines of 72 of the 95 printable characters, each begun one character further.
        let line = |number: usize| (0..72).map(move |place| b' ' + ((number + place) % 95) as u8).chain(*b"\r\n");
        let expect: Vec<u8> = (0..4000).flat_map(line).collect();
        assert!(peer.get(expect.len()) == expect, "{run} {address}: another pattern");
    });
}

#[test]
fn daytime_and_time_tell_the_clock_and_end() {
    let unix = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    each_stream("time", |run, _, address| {
        let before = unix();
        let answer = Conn::dial(address).rest();
        let seconds = u32::from_be_bytes(answer.try_into().expect("32 bits"));
        let told = u64::from(seconds) - 2_208_988_800;
        assert!((before..=unix()).contains(&told), "{run} {address}: {told} at {before}");
    });
    each_stream("daytime", |run, _, address| {
        let answer = String::from_utf8(Conn::dial(address).rest()).expect("text");
        assert!(is_daytime(&answer), "{run} {address}: {answer:?}");
    });
}

/// `2026-11-22T11:22:33Z` and the end of the line.
fn is_daytime(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00Z\r\n"
}

#[test]
fn a_datagram_gets_the_answer_of_its_service() {
    each_udp("echo", |run, peer| {
        for record in [HELLO.as_bytes(), b"", &noise(8_000, 1), &noise(60_000, 2)] {
            peer.send(record).expect("sent");
            assert!(datagram(peer) == record, "{run}: {} bytes", record.len());
        }
    });
    each_udp("chargen", |run, peer| {
        peer.send(&[b'x'; 100]).expect("sent");
        assert_eq!(datagram(peer).len(), 100, "{run}: never more than came");
    });
    each_udp("daytime", |run, peer| {
        peer.send(b"").expect("sent");
        assert!(is_daytime(&String::from_utf8_lossy(&datagram(peer))), "{run}");
    });
    each_udp("time", |run, peer| {
        peer.send(b"").expect("sent");
        assert_eq!(datagram(peer).len(), 4, "{run}");
    });
}

/// More bytes at once than an output holds before it is full: each record is answered all the same.
#[test]
fn a_burst_of_large_datagrams_loses_none() {
    each_udp("echo", |run, peer| {
        let records: Vec<Vec<u8>> = (0..5).map(|number| vec![number; 20_000]).collect();
        for round in 0..20 {
            for record in &records {
                peer.send(record).expect("sent");
            }
            for record in &records {
                assert!(datagram(peer) == *record, "{run}: round {round}");
            }
        }
    });
}

#[test]
fn discard_answers_no_datagram() {
    for run in runs() {
        let mut server = Server::start(run.line("discard", &["udp://127.0.0.1:0", "-vv"]));
        let peer = udp(server.address());
        peer.send(HELLO.as_bytes()).expect("sent");
        server.line(&["received", HELLO]);
        peer.set_nonblocking(true).expect("an option");
        assert_eq!(peer.recv(&mut [0; 9]).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock), "{run}");
        let done = server.stop();
        assert!(!done.stderr.contains(" sent "), "{run}: {}", done.stderr);
    }
}

#[test]
fn many_udp_peers_each_get_their_own() {
    for run in runs() {
        let server = Server::start(run.line("echo", &["udp://127.0.0.1:0"]));
        let peers: Vec<_> = (0..100).map(|_| udp(server.address())).collect();
        for round in 0..3 {
            for (number, peer) in peers.iter().enumerate() {
                peer.send(format!("{number} in round {round}").as_bytes()).expect("sent");
            }
            for (number, peer) in peers.iter().enumerate() {
                assert_eq!(datagram(peer), format!("{number} in round {round}").as_bytes(), "{run}");
            }
        }
        server.stop();
    }
}

/// Whether this machine has IPv6.
fn has_ipv6() -> bool {
    UdpSocket::bind("[::1]:0").is_ok()
}

#[test]
fn each_way_to_write_an_address_is_heard() {
    let (v4, v6) = ("127.0.0.1", "[::1]");
    for run in runs() {
        for (asked, heard) in [
            ("127.0.0.1:0", &[v4][..]),
            ("[::1]:0", &[v6]),
            ("localhost:0", &[v4, v6]),
            (":0", &[v4, v6]),
            ("*:0", &[v4, v6]),
            ("[::]:0", &[v4, v6]),
            ("0.0.0.0:0", &[v4]),
        ] {
            if !has_ipv6() && asked.contains("::") {
                eprintln!("no IPv6 here: {asked} is left out");
                continue;
            }
            for scheme in ["", "tcp://", "udp://"] {
                let server = Server::start(run.line("echo", &[&format!("{scheme}{asked}")]));
                for host in heard.iter().filter(|host| **host == v4 || has_ipv6()) {
                    let at = format!("{host}:{}", server.port());
                    if scheme == "udp://" {
                        let peer = udp(&at);
                        peer.send(HELLO.as_bytes()).expect("sent");
                        assert_eq!(datagram(&peer), HELLO.as_bytes(), "{run} {scheme}{asked} at {at}");
                    } else {
                        assert_eq!(Conn::dial(&at).echoed(HELLO), HELLO.as_bytes(), "{run} {scheme}{asked} at {at}");
                    }
                }
                let both = matches!(asked, "localhost:0" | ":0") && has_ipv6();
                assert_eq!(server.addresses().len(), if both { 2 } else { 1 }, "{asked}: {:?}", server.addresses());
                let ports: Vec<_> =
                    server.addresses().iter().map(|at| at.rsplit_once(':').expect("a port").1).collect();
                assert!(ports.iter().all(|port| *port == server.port() && *port != "0"), "one port, told: {ports:?}");
                server.stop();
            }
        }
    }
}

#[test]
fn several_addresses_are_served_at_once() {
    let folder = Folder::new();
    for (number, run) in concurrent_runs().iter().enumerate() {
        let (path, name) = (folder.unix(&number.to_string()), abstract_unix());
        let asked = ["127.0.0.1:0", "127.0.0.1:0", "udp://127.0.0.1:0", &path, &name];
        let server = Server::start(run.line("echo", &asked));
        let schemes: Vec<_> = server.addresses().iter().map(|at| at.split(':').next().expect("a scheme")).collect();
        assert_eq!(schemes, ["tcp", "tcp", "udp", "unix", "unix"], "{run}");
        // All are open together, so that none is served only because another is not.
        let streams = server.addresses().iter().filter(|at| !at.starts_with("udp"));
        let mut peers: Vec<_> = streams.map(|at| Conn::dial(at)).collect();
        let record = udp(&server.addresses()[2]);
        for _ in 0..2 {
            for peer in &mut peers {
                assert_eq!(peer.echoed(HELLO), HELLO.as_bytes(), "{run}");
            }
            record.send(HELLO.as_bytes()).expect("sent");
            assert_eq!(datagram(&record), HELLO.as_bytes(), "{run}");
        }
        server.stop();
    }
}

#[test]
fn connections_are_shared_out_evenly_among_workers() {
    // Of processes each accepts for itself, nearly evenly: see tests/processes.rs.
    for run in runs().into_iter().filter(|run| run.workers == Some(2) && run.model != Model::Processes) {
        let mut server = Server::start(run.line("echo", &["127.0.0.1:0", "-v"]));
        let peers: Vec<_> = (0..40)
            .map(|_| {
                let mut peer = server.dial();
                peer.echoed("x");
                peer
            })
            .collect();
        for _ in &peers {
            server.line(&["opened"]);
        }
        // A connection's name begins with its worker.
        let first = server.count(&["opened", "conn=0."]);
        assert_eq!(first, 20, "{run}");
        drop(peers);
        server.stop();
    }
}

#[test]
fn what_was_asked_before_an_end_is_answered_after_it() {
    each_stream("echo", |run, _, address| {
        let mut peer = Conn::dial(address);
        peer.send("last words");
        peer.end();
        assert_eq!(peer.rest(), b"last words", "{run} {address}");
    });
}

#[test]
fn why_a_connection_ended_is_told() {
    for run in runs() {
        let mut server = Server::start(run.line("echo", &["127.0.0.1:0", "-v"]));
        let mut ended = server.dial();
        ended.send(HELLO);
        ended.end();
        ended.rest();
        server.line(&["closed", "bytes_in=24 bytes_out=24", "reason=done"]);
        let mut reset = server.dial();
        reset.echoed(HELLO);
        reset.reset();
        server.line(&["closed", "bytes_in=24 bytes_out=24", "reason=reset"]);
        let mut open = server.dial();
        open.echoed("x");
        let done = server.stop();
        assert!(done.stderr.contains("reason=stop"), "{run}: {}", done.stderr);
    }
}
