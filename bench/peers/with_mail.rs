//! Sotong's echo as a session that could get mail: what a model costs where mail is possible. `echo-with-mail MODEL tcp`.
use std::error::Error;

use sotong::{
    drivers::{Model, Options, serve_streams},
    net::{
        listen::{Bound, listen},
        signals::{Stop, catch_signals},
    },
    session::{Address, Close, Cx, Event, Host, Service, Session, Stream, Wants, Way},
};

#[derive(Clone)]
struct Echo;

impl Session for Echo {
    type Mail = u64;
    fn handle(&mut self, event: Event<'_, u64>, cx: &mut Cx<'_, u64>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                let count = input.bytes().len().min(cx.out.room());
                cx.out.put(&input.bytes()[..count]);
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
impl Stream for Echo {}
impl Service for Echo {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(Self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<u64>) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let model: Model = std::env::args().nth(1).ok_or("usage: echo-with-mail MODEL tcp")?.parse()?;
    let stop = Stop::new()?;
    let _signals = catch_signals(&stop)?;
    let bound = listen(&["127.0.0.1:0".parse()?], &Default::default())?;
    eprintln!("echo-with-mail: listening on {}", bound[0].endpoint());
    let streams = bound.into_iter().filter_map(|bound| match bound {
        Bound::Stream(listener) => Some(listener),
        Bound::Datagrams(_) => None,
    });
    let options = Options { workers: 1, ..Options::default() };
    serve_streams(model, Echo, streams.collect(), Vec::new(), &options, &stop)?;
    Ok(())
}
