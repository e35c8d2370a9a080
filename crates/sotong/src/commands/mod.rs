//! One file a command; [`run`] chooses.

mod cert;
mod chat;
mod completions;
mod connect;
mod help;
mod joining;
mod listen;
mod man;
mod models;
mod password;
mod secure;
pub(crate) mod serve;
pub(crate) mod serve_tls;
mod show_cert;
mod web;
mod ws;

use std::process::ExitCode;

use sotong_classics::room::RoomService;
use sotong_classics::{ChargenService, DaytimeService, DiscardService, EchoService, TimeService};

use crate::cli::Command;
use crate::console::Console;
use crate::failure::Failure;

/// Runs the command to its end.
pub(crate) fn run(command: Command, console: &Console) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Echo(args) => serve::run("echo", &args, EchoService, console),
        Command::Discard(args) => serve::run("discard", &args, DiscardService, console),
        Command::Chargen(args) => serve::run("chargen", &args, ChargenService, console),
        Command::Daytime(args) => serve::run("daytime", &args, DaytimeService, console),
        Command::Time(args) => serve::run("time", &args, TimeService, console),
        Command::Room(args) => serve::run("room", &args.serve, RoomService::new(args.limits()), console),
        Command::Chat(args) => chat::run(args, console),
        Command::Web(args) => web::run(args, console),
        Command::Connect(args) => return connect::run(&args, console),
        Command::Listen(args) => return listen::run(&args, console),
        Command::Cert(args) => return cert::run(&args, console),
        Command::Models(args) => models::run(&args, console),
        Command::Completions(args) => completions::run(&args, console),
        Command::Man(args) => man::run(&args, console),
        Command::Help(args) => help::run(&args, console),
    };
    done.map(|()| ExitCode::SUCCESS)
}
