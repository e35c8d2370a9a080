//! Plain echo with a thread a connection, blocking, nothing of Sotong.
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
};

use bench::peer::{self, Wire};

const BUFFER_BYTES: usize = 16 << 10;
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

fn main() -> io::Result<()> {
    let wire = peer::wire()?;
    let socket = peer::open("plain-threads", wire)?;
    match wire {
        Wire::Tcp => tcp(&socket.into()),
        Wire::Udp => udp(&socket.into()),
    }
}

fn tcp(listener: &TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => drop(thread::Builder::new().spawn(move || echo(stream))?),
            Err(fault) if fault.kind() == ErrorKind::ConnectionAborted => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; BUFFER_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}

fn udp(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // What cannot be received or sent is lost, as datagrams may be.
        if let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], from);
        }
    }
}
