//! `sotong cert`: a local authority, what it issues, and what certificates say.

mod ca;
mod check;
mod new;

use std::process::ExitCode;

use sotong_certs::{authority_folder, data_folder, read_chain, records, unix_now};

use crate::catalogue::text;
use crate::certificate;
use crate::cli::cert::{Cert, CertCommand, CertList, CertShow};
use crate::console::Console;
use crate::failure::Failure;

pub(crate) fn run(args: &Cert, console: &Console) -> Result<ExitCode, Failure> {
    let done = match &args.command {
        CertCommand::New(args) => new::run(args, console),
        CertCommand::Ca(args) => ca::run(args, console),
        CertCommand::List(args) => list(args, console),
        CertCommand::Show(args) => show(args, console),
        CertCommand::Check(args) => return check::run(args, console),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What was issued, the last to end first.
fn list(args: &CertList, console: &Console) -> Result<(), Failure> {
    let records = records(&authority_folder(&data_folder()?))?;
    let now = unix_now();
    if args.json {
        let lines = records.iter().map(|record| {
            let mut object = certificate::object(&record.facts, now);
            object["file"] = record.file.to_string_lossy().into();
            object["there"] = record.is_there().into();
            format!("{object}\n")
        });
        return console.out(&lines.collect::<String>());
    }
    if records.is_empty() {
        console.say(&text!(console.catalogue, "cert-list-empty"));
    }
    let lines = records.iter().map(|record| {
        let names = match &record.facts.names[..] {
            [] => record.facts.common_name.clone().unwrap_or_default(),
            names => names.join(", "),
        };
        let left = certificate::left(&console.catalogue, &record.facts, now);
        let file = record.file.display();
        let gone = if record.is_there() {
            String::new()
        } else {
            format!(" ({})", text!(console.catalogue, "cert-list-gone"))
        };
        format!("{names}: {left}; {file}{gone}\n")
    });
    console.out(&lines.collect::<String>())
}

fn show(args: &CertShow, console: &Console) -> Result<(), Failure> {
    let chain = sotong_certs::describe_chain(&read_chain(&args.file)?);
    let now = unix_now();
    if args.json {
        return console
            .out(&chain.iter().map(|facts| format!("{}\n", certificate::object(facts, now))).collect::<String>());
    }
    console.out(&certificate::chain(&console.catalogue, &chain, now))
}
