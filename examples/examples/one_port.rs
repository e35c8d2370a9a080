//! One port for everybody: TLS, HTTP and plain lines, told apart by a client's first bytes, within TLS once more.
//!
//! `cargo run -p examples --example one_port -- CERT.pem KEY.pem [PORT]`, then each of
//! `nc localhost 10024`, `curl http://localhost:10024/`, `curl --cacert CERT.pem https://localhost:10024/` and
//! `openssl s_client -quiet -CAfile CERT.pem -connect localhost:10024`; Ctrl-C ends it.
use sotong::certs::{IdentityFiles, Reloadable, ServerTls};
use sotong::classics::Echo;
use sotong::drivers::{Model, Options, serve_streams};
use sotong::http::{App, Fields, Http, HttpLimits, Next, Reply, Request, Status};
use sotong::layers::{Choice, Chooser, Handover, Sniff, SniffLimits};
use sotong::net::listen::{Bound, listen};
use sotong::net::signals::{Stop, catch_signals};
use sotong::session::{Address, Close, Host, Service, Stream, Way};
use sotong::tls::{Front, Secure, TlsLimits};
use std::{convert::Infallible, sync::Arc};

/// Answers every request in the same way.
struct Page;

impl App for Page {
    type Mail = Infallible;
    fn request(&mut self, _: &Request<'_>, reply: &mut Reply<'_, '_, Infallible>) -> Next {
        reply.whole(Status::OK, &[&Fields::new()], b"Lines are welcome here, too.\n")
    }
    fn body_end(&mut self, _: &mut Reply<'_, '_, Infallible>) -> Next {
        Next::Done
    }
}

/// Requests for the page, anything else for an echo.
#[derive(Clone)]
struct HttpOrLines;

/// Chooses for one client.
struct Choose {
    way: Way,
}

const METHODS: [&[u8]; 5] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS "];

impl Chooser for Choose {
    type Mail = Infallible;
    fn choose(&self, first: &[u8]) -> Choice<Infallible> {
        if METHODS.iter().any(|method| first.starts_with(method)) {
            Choice::Chosen(Box::new(Http::new(Page, HttpLimits::default())))
        } else if METHODS.iter().any(|method| method.starts_with(first)) {
            Choice::NeedMore
        } else {
            Choice::Chosen(self.silent())
        }
    }
    fn silent(&self) -> Box<dyn Stream<Mail = Infallible>> {
        Box::new(Echo::new(&self.way))
    }
}

impl Service for HttpOrLines {
    type Session = Handover<Sniff<Choose>>;
    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        Ok(Handover::new(Sniff::new(Choose { way: way.clone() }, SniffLimits::default())))
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(cert), Some(key)) = (args.next(), args.next()) else {
        return Err("give the files of the certificate and of its key".into());
    };
    let port = args.next().unwrap_or_else(|| "10024".to_owned());
    let files = IdentityFiles { cert: cert.into(), key: Some(key.into()) };
    let tls = Reloadable::new(ServerTls { identities: vec![files], ..ServerTls::default() })?;

    let stop = Stop::new()?;
    let _signals = catch_signals(&stop)?;
    let bound = listen(&[format!("localhost:{port}").parse()?], &Default::default())?;
    println!("listening on {}", bound[0].endpoint());
    let listeners = bound.into_iter().filter_map(|bound| match bound {
        Bound::Stream(listener) => Some(listener),
        Bound::Datagrams(_) => None,
    });
    let service = Front::new(Secure::new(HttpOrLines, Arc::new(tls.current()), TlsLimits::default()));
    serve_streams(Model::Epoll, service, listeners.collect(), Vec::new(), &Options::default(), &stop)?;
    Ok(())
}
