//! The `sotong` command.

mod access_log;
mod catalogue;
mod certificate;
mod cli;
mod commands;
mod config;
mod console;
mod early;
mod failure;
mod help;
mod logging;
mod particle;
mod payload;
mod program;
mod reporter;
mod secrets;
mod stderr_log;
mod units;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::catalogue::{Catalogue, text};
use crate::cli::Cli;
use crate::console::Console;
use crate::failure::{Failure, code};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let early = early::read(&args);
    let mut console = Console::new(Catalogue::new(early.lang), early.color, early.log_format);
    let result = match Cli::try_parse_from(&args) {
        Ok(cli) => {
            console.quiet = cli.global.quiet;
            logging::start(cli.global.verbose, cli.global.quiet, cli.global.log_format);
            commands::run(cli.command, &console)
        }
        Err(_) => {
            logging::start(0, false, early.log_format);
            unparsed(&args, &console)
        }
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            console.fail(&failure);
            if matches!(failure, Failure::Usage(_)) {
                console.say(&text!(console.catalogue, "try-help", command = early::command(&args)));
            }
            ExitCode::from(failure.code())
        }
    }
}

/// A command line without a command in it: help, version, or a mistake. Read a second time with the catalogue's words
/// in place, which the working case need not pay for.
fn unparsed(args: &[OsString], console: &Console) -> Result<ExitCode, Failure> {
    let mut command = help::command(&console.catalogue);
    let Err(error) = command.try_get_matches_from_mut(args) else {
        unreachable!("words change nothing about what parses")
    };
    if let Some(fault) = usage::read(&error) {
        return Err(Failure::Usage(fault));
    }
    let help = error.render().ansi().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        console.err(&help);
        return Ok(ExitCode::from(code::USAGE));
    }
    console.out(&help).map(|()| ExitCode::SUCCESS)
}
