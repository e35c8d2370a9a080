//! `sotong help [COMMAND]`: what `--help` prints, for those who write it this way round.

use clap::Command;

use crate::cli::Help;
use crate::console::Console;
use crate::failure::{Failure, Usage};
use crate::help;
use crate::usage;

pub(crate) fn run(args: &Help, console: &Console) -> Result<(), Failure> {
    let mut command = help::command(&console.catalogue);
    let mut of = &mut command;
    for name in &args.command {
        if of.find_subcommand(name).is_none() {
            return Err(Failure::Usage(unknown(of, name)));
        }
        of = of.find_subcommand_mut(name).unwrap_or_else(|| unreachable!("it was found"));
    }
    console.out(&of.render_long_help().ansi().to_string())
}

/// The mistake as `sotong NAME` would have it, with the command that may be meant.
fn unknown(command: &mut Command, name: &str) -> Usage {
    if !command.has_subcommands() {
        return Usage::UnexpectedValue { value: name.to_owned() };
    }
    let found = command.try_get_matches_from_mut(["sotong", "--", name]).err().as_ref().and_then(usage::read);
    match found {
        Some(found @ Usage::UnknownCommand { .. }) => found,
        _ => Usage::UnknownCommand { command: name.to_owned(), like: None },
    }
}
