//! `sotong completions SHELL`: the script a shell completes our flags with.

use crate::cli::Completions;
use crate::console::Console;
use crate::failure::Failure;
use crate::help;

pub(crate) fn run(args: &Completions, console: &Console) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(&console.catalogue), "sotong", &mut script);
    console.out(&String::from_utf8_lossy(&script))
}
