//! `sotong models`: what this machine can run, and why not the rest.

use serde_json::json;
use sotong_drivers::Model;

use crate::catalogue::{Catalogue, text};
use crate::cli::Models;
use crate::console::Console;
use crate::failure::{self, Failure};

pub(crate) fn run(args: &Models, console: &Console) -> Result<(), Failure> {
    let (best, _) = Model::best();
    let lines: String = Model::ALL
        .into_iter()
        .map(|model| if args.json { object(model, best) } else { line(model, best, &console.catalogue) })
        .collect();
    console.out(&lines)
}

/// One object a line; the names are a promise to scripts.
fn object(model: Model, best: Model) -> String {
    let missing = model.availability().err().map(|missing| missing.to_string());
    let object = json!({
        "model": model.name(),
        "available": missing.is_none(),
        "missing": missing,
        "workers": model.has_workers(),
        "rooms": model.has_mail(),
        "auto": model == best,
    });
    format!("{object}\n")
}

fn line(model: Model, best: Model, catalogue: &Catalogue) -> String {
    let about = match model {
        Model::Sequential => text!(catalogue, "model-sequential"),
        Model::Threads => text!(catalogue, "model-threads"),
        Model::Processes => text!(catalogue, "model-processes"),
        Model::Epoll => text!(catalogue, "model-epoll"),
        Model::Async => text!(catalogue, "model-async"),
        Model::Uring => text!(catalogue, "model-uring"),
    };
    let mut notes = Vec::new();
    if model == best {
        notes.push(text!(catalogue, "models-auto"));
    }
    if !model.has_mail() {
        notes.push(text!(catalogue, "models-no-rooms"));
    }
    if let Err(missing) = model.availability() {
        notes.push(text!(catalogue, "models-unavailable", why = failure::missing(catalogue, missing)));
    }
    let notes: String = notes.iter().map(|note| format!("; {note}")).collect();
    format!("{:<11} {about}{notes}\n", model.name())
}
