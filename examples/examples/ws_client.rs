//! A WebSocket client that echoes what its server says: what Autobahn's suite asks of clients.
//!
//! `cargo run -p examples --example ws_client -- ws://127.0.0.1:9001` asks a server for its cases, one connection each.
use sotong::drivers::{Model, Options, reach};
use sotong::http::ws::{ClientOptions, MaybeWs, WebSocket, WsLimits};
use sotong::net::{dial::dial, endpoint::Endpoint, signals::Stop};
use sotong::session::{Address, Close, Cx, Event, Host, Limits, Marks, Records, Service, Session, Stream, Wants, Way};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// Echoes messages, or keeps the last one.
#[derive(Clone)]
struct Client {
    options: Arc<ClientOptions>,
    kept: Option<Arc<Mutex<String>>>,
}

impl Session for Client {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                if let Some(kept) = &self.kept {
                    *kept.lock().expect("no panic") = String::from_utf8_lossy(input.bytes()).into_owned();
                } else {
                    cx.out.put(input.bytes());
                    cx.out.cut();
                }
                input.take_all();
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
impl Stream for Client {}
impl Records for Client {}

impl Service for Client {
    type Session = MaybeWs<Self>;
    fn open(&self, _: &Way) -> Result<Self::Session, Close> {
        Ok(MaybeWs::Ws(Box::new(WebSocket::client(self.clone(), self.options.clone()))))
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}

/// One connection, from its beginning to its end.
fn run(at: &str, target: &str, kept: Option<Arc<Mutex<String>>>) -> Result<(), Box<dyn std::error::Error>> {
    let endpoint: Endpoint = at.parse()?;
    let host = endpoint.host_port().ok_or("ws://HOST:PORT")?.to_string();
    let mut options = ClientOptions::new(&host, target)?;
    options.deflate = true;
    options.limits = WsLimits { message_bytes_max: 32 << 20, fragments_max: 1 << 20, ..WsLimits::default() };
    let client = Client { options: Arc::new(options), kept };
    // The suite's messages are longer than what is queued for a peer otherwise.
    let limits = Limits { marks: Marks { hard: 64 << 20, ..Marks::default() }, ..Limits::default() };
    let options = Options { workers: 1, limits, ..Options::default() };
    reach(Model::Epoll, client, vec![dial(&endpoint, &Default::default())?], &options, &Stop::new()?)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().nth(1).ok_or("give the server's address, as ws://127.0.0.1:9001")?;
    let count = Arc::new(Mutex::new(String::new()));
    run(&at, "/getCaseCount", Some(count.clone()))?;
    let count: u32 = count.lock().expect("no panic").trim().parse()?;
    for case in 1..=count {
        run(&at, &format!("/runCase?case={case}&agent=sotong"), None)?;
    }
    run(&at, "/updateReports?agent=sotong", None)?;
    println!("{count} cases");
    Ok(())
}
