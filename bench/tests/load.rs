//! The load sees what a server does wrong.
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use bench::{
    load::{Hog, LoadError, Shape, Tally, churn, datagrams, play},
    proc::Tree,
};

const LENGTH: Duration = Duration::from_millis(50);
static RUN_ON: AtomicBool = AtomicBool::new(false);

/// A server in this process; each connection is handled by `handle`, on a thread of its own.
fn serve(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> (SocketAddr, Tree) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    (address, Tree::new(std::process::id()))
}

/// Echoes what `change` makes of each piece; the count is of the bytes before it.
fn echo(mut stream: TcpStream, change: impl Fn(usize, &mut Vec<u8>)) {
    let mut buffer = vec![0; 16 << 10];
    let mut before = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut piece = buffer[..count].to_vec();
        change(before, &mut piece);
        before += count;
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
}

fn shape(connections: usize, depth: usize, message_bytes: usize) -> Shape {
    Shape { connections, depth, message_bytes }
}

fn played(server: (SocketAddr, Tree), shape: Shape) -> Result<Tally, LoadError> {
    play(server, shape, Hog::Absent, LENGTH, &RUN_ON).map(|(tally, _)| tally)
}

#[test]
fn every_shape_is_played_with_a_server_that_is_right() {
    let server = serve(|stream| echo(stream, |_, _| {}));
    for shape in [shape(1, 1, 64), shape(20, 1, 64), shape(5, 32, 64), shape(5, 1, 16 << 10), shape(2, 4, 300 << 10)] {
        let tally = played(server, shape).unwrap_or_else(|fault| panic!("{shape:?}: {fault}"));
        assert!(tally.messages > 0 && tally.p50 <= tally.p99 && tally.elapsed >= LENGTH, "{shape:?}: {tally:?}");
    }
    assert!(churn(server, 10, LENGTH, &RUN_ON).unwrap().messages > 0);
}

#[test]
fn answers_in_small_pieces_are_put_together() {
    let server = serve(|mut stream| {
        let mut byte = [0; 7];
        while let Ok(count @ 1..) = stream.read(&mut byte) {
            if stream.write_all(&byte[..count]).is_err() {
                break;
            }
        }
    });
    assert!(played(server, shape(3, 4, 64)).unwrap().messages > 0);
}

#[test]
fn a_wrong_byte_is_seen() {
    let server = serve(|stream| {
        echo(stream, |before, piece| {
            if before > 6400 {
                piece[0] ^= 1;
            }
        });
    });
    assert!(matches!(played(server, shape(2, 1, 64)), Err(LoadError::Wrong { .. })));
}

#[test]
fn bytes_that_come_twice_are_seen() {
    let server = serve(|stream| {
        echo(stream, |before, piece| {
            if before > 6400 {
                piece.extend_from_within(..);
            }
        });
    });
    assert!(matches!(played(server, shape(2, 1, 64)), Err(LoadError::Wrong { .. })));
}

#[test]
fn a_connection_that_ends_is_seen() {
    let server = serve(|stream| {
        let mut whole = [0; 64];
        let mut stream = stream;
        for _ in 0..10 {
            stream.read_exact(&mut whole).unwrap();
            stream.write_all(&whole).unwrap();
        }
    });
    let fault = played(server, shape(2, 1, 64)).unwrap_err();
    assert!(matches!(fault, LoadError::Closed { .. } | LoadError::System { .. }), "{fault}");
}

#[test]
fn a_hog_fills_what_the_server_gives_it_and_the_others_play_on() {
    let server = serve(|stream| echo(stream, |_, _| {}));
    let (tally, most) = play(server, shape(5, 1, 64), Hog::Present, LENGTH, &RUN_ON).unwrap();
    assert!(tally.messages > 0 && most.proportional > 0);
}

#[test]
fn datagrams_are_sent_anew_and_compared() {
    let start = |answer: fn(u64, &mut [u8]) -> bool| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            for turn in 0.. {
                let Ok((count, from)) = socket.recv_from(&mut buffer) else { break };
                if answer(turn, &mut buffer[..count]) {
                    let _ = socket.send_to(&buffer[..count], from);
                }
            }
        });
        (address, Tree::new(std::process::id()))
    };
    let lossy = start(|turn, _| turn % 3 != 0);
    assert!(datagrams(lossy, 4, LENGTH, &RUN_ON).unwrap().messages > 0);
    let wrong = start(|turn, bytes| {
        bytes[20] ^= u8::from(turn > 50);
        true
    });
    assert!(matches!(datagrams(wrong, 4, LENGTH, &RUN_ON), Err(LoadError::Wrong { .. })));
}
