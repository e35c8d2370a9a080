//! Much data: from one end to the other byte for byte, and both ways at once.
use std::{
    io::{Read, Write},
    net::Shutdown,
    process::Stdio,
    thread,
};
use tests::process::{accept, command, listener, noise, start, start_with};

const MIB: usize = 1 << 20;
/// Prime, so that no buffer's size is a multiple of it and every moved piece shows.
const BLOCK: usize = 1_048_573;

/// Writes `total` bytes of the repeated block.
fn write_blocks(mut to: impl Write, block: &[u8], total: usize) {
    let mut left = total;
    while left > 0 {
        let count = left.min(block.len());
        to.write_all(&block[..count]).unwrap();
        left -= count;
    }
}

/// Reads to the end and compares with the repeated block; the bytes there were.
fn compare_blocks(mut from: impl Read, block: &[u8]) -> usize {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let count = from.read(&mut buffer).unwrap();
        if count == 0 {
            return total;
        }
        let mut got = &buffer[..count];
        while !got.is_empty() {
            let at = total % block.len();
            let same = got.len().min(block.len() - at);
            assert!(got[..same] == block[at..at + same], "a difference after {total} bytes");
            total += same;
            got = &got[same..];
        }
    }
}

#[test]
fn a_gibibyte_from_connect_to_listen_byte_for_byte() {
    const TOTAL: usize = 1 << 30;
    let block = noise(BLOCK, 11);
    let (from_listen, output) = std::io::pipe().unwrap();
    let mut listening = command(["listen", "127.0.0.1:0"]);
    let listening_running = start_with(listening.stdin(Stdio::null()).stdout(output));
    drop(listening);
    let mut connect = start(["connect", &listening_running.address()]);
    let (input, sent) = (connect.take_stdin(), block.clone());
    let writer = thread::spawn(move || write_blocks(input, &sent, TOTAL));
    assert_eq!(compare_blocks(from_listen, &block), TOTAL);
    writer.join().unwrap();
    assert_eq!(connect.wait().code(), Some(0));
    assert_eq!(listening_running.wait().code(), Some(0));
}

/// Spliced and, because of the log, through buffers.
#[test]
fn sixty_four_mebibytes_both_ways_at_once_through_an_echo() {
    for args in [&[][..], &["-o", "/dev/null"]] {
        let (listener, address) = listener();
        thread::spawn(move || {
            let stream = accept(&listener);
            std::io::copy(&mut &stream, &mut &stream).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let block = noise(BLOCK, 12);
        let (from_connect, output) = std::io::pipe().unwrap();
        let mut connect = command([&["connect", address.as_str()], args].concat());
        let mut running = start_with(connect.stdin(Stdio::piped()).stdout(output));
        drop(connect);
        let (input, sent) = (running.take_stdin(), block.clone());
        let writer = thread::spawn(move || write_blocks(input, &sent, 64 * MIB));
        assert_eq!(compare_blocks(from_connect, &block), 64 * MIB, "{args:?}");
        writer.join().unwrap();
        assert_eq!(running.wait().code(), Some(0));
    }
}

/// Neither side waits for the other: each sends everything before it would have to read anything.
#[test]
fn sixty_four_mebibytes_each_way_between_connect_and_listen() {
    let (there, back) = (noise(BLOCK, 13), noise(BLOCK, 14));
    let (from_listen, listen_output) = std::io::pipe().unwrap();
    let (from_connect, connect_output) = std::io::pipe().unwrap();
    let mut listening = command(["listen", "127.0.0.1:0"]);
    let mut listening_running = start_with(listening.stdin(Stdio::piped()).stdout(listen_output));
    let mut connect = command(["connect", &listening_running.address()]);
    let mut connect_running = start_with(connect.stdin(Stdio::piped()).stdout(connect_output));
    drop((listening, connect));
    thread::scope(|scope| {
        let (to_connect, to_listen) = (connect_running.take_stdin(), listening_running.take_stdin());
        let (there, back) = (&there, &back);
        scope.spawn(move || write_blocks(to_connect, there, 64 * MIB));
        scope.spawn(move || write_blocks(to_listen, back, 64 * MIB));
        let received = scope.spawn(move || compare_blocks(from_listen, there));
        assert_eq!(compare_blocks(from_connect, back), 64 * MIB);
        assert_eq!(received.join().unwrap(), 64 * MIB);
    });
    assert_eq!((connect_running.wait().code(), listening_running.wait().code()), (Some(0), Some(0)));
}
