//! `sotong help [COMMAND]`: what `--help` prints, for those who write it this way round.

use clap::Command;

use crate::cli::Help;
use crate::console::Console;
use crate::failure::{Failure, Usage};
use crate::help;
use crate::usage;

pub(crate) fn run(args: &Help, console: &Console) -> Result<(), Failure> {
    let mut command = help::command(&console.catalogue);
    let of = match &args.command {
        None => &mut command,
        Some(name) if command.find_subcommand(name).is_none() => {
            return Err(Failure::Usage(unknown(&mut command, name)));
        }
        Some(name) => command.find_subcommand_mut(name).unwrap_or_else(|| unreachable!("it was found")),
    };
    console.out(&of.render_long_help().ansi().to_string())
}

/// The mistake as `sotong NAME` would have it, with the command that may be meant.
fn unknown(command: &mut Command, name: &str) -> Usage {
    let found = command.try_get_matches_from_mut(["sotong", "--", name]).err().as_ref().and_then(usage::read);
    match found {
        Some(found @ Usage::UnknownCommand { .. }) => found,
        _ => Usage::UnknownCommand { command: name.to_owned(), like: None },
    }
}
