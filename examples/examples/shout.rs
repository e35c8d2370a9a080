//! A service of one's own, run under two models: it says what it hears, louder.
//!
//! `cargo run -p examples --example shout` and, in another terminal, `nc 127.0.0.1 PORT`; Ctrl-C ends it.
use sotong::drivers::{Model, Options, serve_streams};
use sotong::net::listen::{Bound, listen};
use sotong::net::signals::{Stop, catch_signals};
use sotong::session::{Address, Close, Cx, Event, Host, Service, Session, Stream, Wants, Way};

#[derive(Clone)]
struct Shout;

impl Session for Shout {
    type Mail = std::convert::Infallible;
    fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                let count = input.bytes().len().min(cx.out.room());
                cx.out.put(&input.bytes()[..count].to_ascii_uppercase());
                input.take(count);
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
impl Stream for Shout {}
impl Service for Shout {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(Self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<std::convert::Infallible>) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::new()?;
    let _signals = catch_signals(&stop)?;
    std::thread::scope(|scope| {
        for model in [Model::Threads, Model::Epoll] {
            let bound = listen(&["127.0.0.1:0".parse()?], &Default::default())?;
            println!("{model}: listening on {}", bound[0].endpoint());
            let streams = bound.into_iter().filter_map(|bound| match bound {
                Bound::Stream(listener) => Some(listener),
                Bound::Datagrams(_) => None,
            });
            let (listeners, stop) = (streams.collect(), &stop);
            scope.spawn(move || serve_streams(model, Shout, listeners, Vec::new(), &Options::default(), stop));
        }
        Ok(())
    })
}
