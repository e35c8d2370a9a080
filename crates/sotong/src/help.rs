//! Puts the words of the catalogue into the command's definition.
//!
//! The words are found by name: `about-echo` for a command, `about-cert-new` for one below another, `details-echo` for what `--help` adds to it, `examples-echo`
//! for its examples, `arg-echo-model` for an argument of that command or `arg-model` for one that means the same
//! everywhere, `heading-limits` for a group.

use clap::builder::PossibleValuesParser;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Arg, Command, CommandFactory};

use crate::catalogue::{Catalogue, text};
use crate::cli::Cli;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The whole command with its words.
pub(crate) fn command(catalogue: &Catalogue) -> Command {
    let header = STYLES.get_header();
    let template = format!(
        "{{about-with-newline}}\n{header}{}{header:#} {{usage}}\n\n{{all-args}}{{after-help}}",
        text!(catalogue, "heading-usage")
    );
    let mut command = with_long_help(Cli::command().styles(STYLES));
    // Global arguments reach the subcommands here, so that each is worded where it is shown.
    command.build();
    let names = every(&command).into_iter().skip(1).map(|of| of.get_name().to_owned());
    let names = PossibleValuesParser::new(names);
    // Only for completions: what is no command is told by `commands::help`, in the same words as anywhere.
    let naming = |arg: Arg| if arg.get_id() == "command" { arg.value_parser(names.clone()) } else { arg };
    let command = command.mut_subcommand("help", |help| help.mut_args(&naming));
    worded(command, catalogue, &template)
}

/// A build looks which commands have a longer help, and the words come behind it: they all have one, so that `--help` is
/// what `sotong help` prints.
fn with_long_help(command: Command) -> Command {
    command.long_about("").mut_subcommands(with_long_help)
}

/// The command and all those below it, which `Command::build` has named.
pub(crate) fn every(command: &Command) -> Vec<&Command> {
    std::iter::once(command).chain(command.get_subcommands().flat_map(every)).collect()
}

/// What the catalogue calls a command: `sotong`, `echo`, `cert-new`.
pub(crate) fn key(command: &Command) -> &str {
    let name = command.get_display_name().unwrap_or(command.get_name());
    name.strip_prefix("sotong-").unwrap_or(name)
}

fn worded(command: Command, catalogue: &Catalogue, template: &str) -> Command {
    let name = key(&command).to_owned();
    let mut command = command
        .about(word(catalogue, &format!("about-{name}")))
        .help_template(template.to_owned())
        .subcommand_help_heading(text!(catalogue, "heading-commands"));
    let takes = |unit: &str| {
        let names = command.get_arguments().filter_map(Arg::get_value_names).flatten();
        names.into_iter().any(|name| name == unit)
    };
    let units =
        (command.has_subcommands() || takes("TIME") || takes("BYTES")).then(|| text!(catalogue, "details-units"));
    let about = word(catalogue, &format!("about-{name}"));
    let parts: Vec<_> = std::iter::once(about).chain(catalogue.find(&format!("details-{name}"))).chain(units).collect();
    command = command.long_about(unwrapped(&parts.join("\n\n")));
    if let Some(examples) = examples(&command, catalogue) {
        let header = STYLES.get_header();
        let heading = text!(catalogue, "heading-examples");
        let lines: String = examples.lines().map(|line| format!("\n  {line}")).collect();
        command = command.after_help(format!("{header}{heading}{header:#}{lines}"));
    }
    command = command.mut_args(|arg| worded_arg(arg, catalogue, &name));
    let usage = command.render_usage().ansi().to_string();
    // clap writes "Usage:" and "[OPTIONS]" itself.
    let usage = usage.split_once(' ').map_or(usage.as_str(), |(_, rest)| rest);
    command = command.override_usage(usage.replace("[OPTIONS]", &text!(catalogue, "usage-options")));
    command.mut_subcommands(|sub| worded(sub, catalogue, template))
}

/// Lines that can be typed as they stand.
pub(crate) fn examples(command: &Command, catalogue: &Catalogue) -> Option<String> {
    catalogue.find(&format!("examples-{}", key(command)))
}

fn worded_arg(arg: Arg, catalogue: &Catalogue, command: &str) -> Arg {
    let name = arg.get_id().as_str().replace('_', "-");
    let own = catalogue.find(&format!("arg-{command}-{name}"));
    let mut help = own.unwrap_or_else(|| word(catalogue, &format!("arg-{name}")));
    if arg.get_action().takes_values() {
        // clap's own notes are English; these stand in for them.
        let choices: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        if !choices.is_empty() {
            help = format!("{help} {}", text!(catalogue, "help-choices", choices = choices.join(", ")));
        }
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if !defaults.is_empty() {
            help = format!("{help} {}", text!(catalogue, "help-default", value = defaults.join(" ")));
        }
    }
    let group = match arg.get_help_heading() {
        Some(group) => word(catalogue, &format!("heading-{group}")),
        None if arg.is_positional() => text!(catalogue, "heading-arguments"),
        None => text!(catalogue, "heading-options"),
    };
    let hidden = arg.get_action().takes_values();
    arg.help(help).help_heading(group).hide_default_value(hidden).hide_possible_values(hidden)
}

/// Lines of the catalogue's file are joined to paragraphs; blank lines part them.
fn unwrapped(text: &str) -> String {
    let paragraphs: Vec<_> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    paragraphs.join("\n\n")
}

/// A word whose id is made at run time. A test holds that the catalogue has each.
fn word(catalogue: &Catalogue, id: &str) -> String {
    let found = catalogue.find(id);
    debug_assert!(found.is_some(), "the catalogue lacks {id}");
    found.unwrap_or_else(|| id.to_owned())
}
