//! An echo server inside a Tokio program that has something else to do as well: it counts the seconds.
//!
//! `cargo run -p examples --example guest` and, in another terminal, `sotong connect 127.0.0.1:PORT`; Ctrl-C ends it.
use sotong::classics::EchoService;
use sotong::drivers::{Options, serve_async};
use sotong::net::listen::listen;
use sotong::net::signals::{Stop, catch_signals};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::new()?;
    let _signals = catch_signals(&stop)?;
    let bound = listen(&["127.0.0.1:0".parse()?], &Default::default())?;
    println!("listening on {}", bound[0].endpoint());

    // A task like any other: it takes turns with the rest, `stop` ends it politely, and aborting it at once.
    let server = tokio::spawn(serve_async(EchoService, bound, Options::default(), stop.clone()));

    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while !stop.is_stopping() {
        seconds.tick().await;
        println!("still here");
    }
    let report = server.await??;
    println!("served {} connections", report.counters.opened);
    Ok(())
}
