//! `sotong completions SHELL`: the script a shell completes our flags with.

use clap::Command;
use clap_complete::Shell;

use crate::cli::Completions;
use crate::console::Console;
use crate::failure::Failure;
use crate::help;

pub(crate) fn run(args: &Completions, console: &Console) -> Result<(), Failure> {
    let mut command = help::command(&console.catalogue);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "sotong", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if args.shell == Shell::Fish {
        script += &fish_positionals(&command);
    }
    console.out(&script)
}

/// What clap_complete leaves out for fish: the values that an argument without a flag may have.
fn fish_positionals(command: &Command) -> String {
    let lines = command.get_subcommands().flat_map(|sub| {
        let choices = sub.get_positionals().map(|arg| {
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(" ")
        });
        let of = sub.get_name();
        choices.filter(|choices| !choices.is_empty()).map(move |choices| {
            format!("complete -c sotong -n \"__fish_sotong_using_subcommand {of}\" -f -a \"{choices}\"\n")
        })
    });
    lines.collect()
}
