//! `sotong man [DIR]`: manual pages, from the same definition as the flags.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use crate::catalogue::{Catalogue, text};
use crate::cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::help;

/// Prints the page of `sotong` itself, or writes one page a command into a folder.
pub(crate) fn run(args: &cli::Man, console: &Console) -> Result<(), Failure> {
    let command = help::command(&console.catalogue);
    let Some(folder) = &args.folder else {
        return console
            .out(&page("sotong", &command, &console.catalogue).map_err(|fault| unwritten("stdout", &fault))?);
    };
    fs::create_dir_all(folder).map_err(|fault| unwritten(folder, &fault))?;
    for of in help::every(&command) {
        let name = name(of);
        let file = folder.join(format!("{name}.1"));
        let written = page(&name, of, &console.catalogue).and_then(|page| fs::write(&file, page));
        written.map_err(|fault| unwritten(&file, &fault))?;
    }
    Ok(())
}

fn name(command: &Command) -> String {
    match help::key(command) {
        "sotong" => "sotong".to_owned(),
        sub => format!("sotong-{sub}"),
    }
}

/// One page: clap_mangen renders the parts, the headings and the examples are the catalogue's.
fn page(name: &str, command: &Command, catalogue: &Catalogue) -> io::Result<String> {
    let man = Man::new(command.clone());
    // Without a date, which would change with each build; clap_mangen leaves its place out, and the version takes it.
    let title = format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH \"{name}\" 1 \"\" \"sotong {}\" \"\"\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut page = title.into_bytes();
    headed(&mut page, &text!(catalogue, "heading-man-name"), |part| man.render_name_section(part))?;
    headed(&mut page, &text!(catalogue, "heading-man-synopsis"), |part| man.render_synopsis_section(part))?;
    headed(&mut page, &text!(catalogue, "heading-man-description"), |part| man.render_description_section(part))?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        headed(&mut page, &text!(catalogue, "heading-commands").to_uppercase(), |part| {
            man.render_subcommands_section(part)
        })?;
    }
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if let Some(examples) = help::examples(command, catalogue) {
        let heading = text!(catalogue, "heading-examples");
        page += &format!(".SH \"{}\"\n.nf\n", heading.trim_end_matches(':').to_uppercase());
        for line in examples.lines() {
            page += &format!("{}\n", line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq"));
        }
        page += ".fi\n";
    }
    Ok(page)
}

/// A part with its heading, the first line `.SH …`, in the reader's language.
fn headed(
    page: &mut Vec<u8>,
    heading: &str,
    render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut part = Vec::new();
    render(&mut part)?;
    let part = String::from_utf8_lossy(&part);
    let body = part.split_once(".SH ").and_then(|(_, part)| part.split_once('\n')).map_or("", |(_, body)| body);
    page.extend_from_slice(format!(".SH \"{heading}\"\n{body}").as_bytes());
    Ok(())
}

fn unwritten(what: impl AsRef<Path>, fault: &io::Error) -> Failure {
    Failure::Write { what: what.as_ref().display().to_string(), why: fault.kind() }
}
