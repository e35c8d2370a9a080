//! Plain echo over tokio as its own documentation would write it: `plain-tokio multi|current tcp|udp`.
use std::io;

use bench::peer::{self, Wire};
use socket2::Socket;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Builder,
};

const BUFFER_BYTES: usize = 16 << 10;
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// What tokio takes by default on two cores; pinned to one of them it would count one.
const WORKERS: usize = 2;

fn main() -> io::Result<()> {
    let wire = peer::wire()?;
    let (name, mut builder) = match std::env::args().nth(1).as_deref() {
        Some("multi") => ("plain-tokio-multi", Builder::new_multi_thread()),
        Some("current") => ("plain-tokio-current", Builder::new_current_thread()),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: plain-tokio multi|current tcp|udp")),
    };
    let socket = peer::open(name, wire)?;
    socket.set_nonblocking(true)?;
    builder.worker_threads(WORKERS).enable_io().build()?.block_on(async {
        match wire {
            // Spawned, so that it runs where the connections do.
            Wire::Tcp => tokio::spawn(tcp(socket)).await?,
            Wire::Udp => tokio::spawn(udp(socket)).await?,
        }
    })
}

async fn tcp(socket: Socket) -> io::Result<()> {
    let listener = TcpListener::from_std(socket.into())?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(echo(stream))),
            Err(fault) if fault.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(fault) => return Err(fault),
        }
    }
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

async fn udp(socket: Socket) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket.into())?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // What cannot be received or sent is lost, as datagrams may be.
        if let Ok((count, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..count], from).await;
        }
    }
}
