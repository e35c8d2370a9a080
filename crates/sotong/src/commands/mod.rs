//! One file a command; [`run`] chooses.

mod completions;
mod help;
mod man;

use crate::cli::Command;
use crate::console::Console;
use crate::failure::Failure;

/// Runs the command to its end.
pub(crate) fn run(command: Command, console: &Console) -> Result<(), Failure> {
    match command {
        Command::Completions(args) => completions::run(&args, console),
        Command::Man(args) => man::run(&args, console),
        Command::Help(args) => help::run(&args, console),
        _ => Ok(()),
    }
}
