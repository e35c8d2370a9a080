//! The smallest server that a browser takes: HTTPS, and one answer for everybody.
//!
//! `cargo run -p examples --example hello_https -- CERT.pem KEY.pem [PORT]`, then
//! `curl --cacert CERT.pem https://localhost:10023/`; Ctrl-C ends it.
use sotong::certs::{IdentityFiles, Reloadable, ServerTls};
use sotong::drivers::{Model, Options, serve_streams};
use sotong::net::listen::{Bound, listen};
use sotong::net::signals::{Stop, catch_signals};
use sotong::session::{Address, Close, Cx, Event, Host, Service, Session, Stream, Wants, Way};
use sotong::tls::{Secure, TlsLimits};
use std::sync::Arc;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, World!";

/// Reads a request's head, and answers.
#[derive(Clone)]
struct Hello;

impl Session for Hello {
    type Mail = std::convert::Infallible;
    fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
        match event {
            // What is not taken is shown again with more.
            Event::Input(mut input) => {
                if input.bytes().windows(4).any(|four| four == b"\r\n\r\n") {
                    input.take_all();
                    cx.out.put(ANSWER);
                    return Err(Close::Done);
                }
                if input.bytes().len() > 16 << 10 {
                    return Err(Close::Limit("head_bytes_max"));
                }
            }
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Hello {}
impl Service for Hello {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(Self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<std::convert::Infallible>) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(cert), Some(key)) = (args.next(), args.next()) else {
        return Err("give the files of the certificate and of its key".into());
    };
    let port = args.next().unwrap_or_else(|| "10023".to_owned());
    let files = IdentityFiles { cert: cert.into(), key: Some(key.into()) };
    let tls = Reloadable::new(ServerTls { identities: vec![files], ..ServerTls::default() })?;

    let stop = Stop::new()?;
    let _signals = catch_signals(&stop)?;
    let bound = listen(&[format!("tls://localhost:{port}").parse()?], &Default::default())?;
    println!("listening on {}", bound[0].endpoint());
    let listeners = bound.into_iter().filter_map(|bound| match bound {
        Bound::Stream(listener) => Some(listener),
        Bound::Datagrams(_) => None,
    });
    let service = Secure::new(Hello, Arc::new(tls.current()), TlsLimits::default());
    serve_streams(Model::Epoll, service, listeners.collect(), Vec::new(), &Options::default(), &stop)?;
    Ok(())
}
