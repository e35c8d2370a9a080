//! `sotong help [COMMAND]`: what `--help` prints, for those who write it this way round.

use crate::cli::Help;
use crate::console::Console;
use crate::failure::{Failure, Usage};
use crate::help;

pub(crate) fn run(args: &Help, console: &Console) -> Result<(), Failure> {
    let mut command = help::command(&console.catalogue);
    let of = match &args.command {
        None => &mut command,
        Some(name) => match command.find_subcommand_mut(name) {
            Some(found) => found,
            None => return Err(Failure::Usage(Usage::UnknownCommand { command: name.clone(), like: None })),
        },
    };
    console.out(&of.render_long_help().ansi().to_string())
}
