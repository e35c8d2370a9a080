//! What clap found wrong with a command line, as a [`Usage`] of our own, so that it is told in the reader's language.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Usage;
use crate::units::BadValue;

/// Reads clap's finding. `None` where it is no error: help and version, whose text clap has rendered.
pub(crate) fn read(error: &Error) -> Option<Usage> {
    let value = || first(error, ContextKind::InvalidValue);
    Some(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::DisplayVersion => {
            return None;
        }
        ErrorKind::UnknownArgument if flag(error).starts_with('-') => {
            Usage::UnknownFlag { flag: flag(error), like: likest(error, ContextKind::SuggestedArg) }
        }
        ErrorKind::InvalidSubcommand => Usage::UnknownCommand {
            command: first(error, ContextKind::InvalidSubcommand),
            like: likest(error, ContextKind::SuggestedSubcommand),
        },
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues
            if value().is_empty() =>
        {
            Usage::MissingValue { flag: flag(error) }
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals => Usage::BadChoice {
            flag: flag(error),
            value: value(),
            choices: all(error, ContextKind::ValidValue),
            like: likest(error, ContextKind::SuggestedValue),
        },
        ErrorKind::ValueValidation => bad_value(error, flag(error), value()),
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            Usage::ValueNotTaken { flag: flag(error) }
        }
        ErrorKind::ArgumentConflict => {
            let other = bare(&first(error, ContextKind::PriorArg)).to_owned();
            if other == flag(error) {
                Usage::Twice { flag: other }
            } else {
                Usage::Conflict { flag: flag(error), other }
            }
        }
        ErrorKind::MissingRequiredArgument => Usage::MissingArgument { names: all(error, ContextKind::InvalidArg) },
        ErrorKind::MissingSubcommand => Usage::MissingArgument { names: "<COMMAND>".to_owned() },
        ErrorKind::InvalidUtf8 => Usage::NotUnicode,
        // An unknown argument that is no flag. Io and Format happen only where clap prints, and kinds of later versions
        // name their argument too.
        _ => Usage::UnexpectedValue { value: flag(error) },
    })
}

fn bad_value(error: &Error, flag: String, value: String) -> Usage {
    let why = std::error::Error::source(error).and_then(|source| source.downcast_ref::<BadValue>());
    match why {
        Some(why) => Usage::BadValue { flag, value, why: *why },
        None => Usage::UnexpectedValue { value },
    }
}

/// A flag as it is typed: without the name of its value and the dots of one that may be repeated.
fn flag(error: &Error) -> String {
    let shown = first(error, ContextKind::InvalidArg);
    bare(&shown).to_owned()
}

fn bare(shown: &str) -> &str {
    if !shown.starts_with('-') {
        return shown;
    }
    let end = shown.find([' ', '=', '[']).unwrap_or(shown.len());
    shown[..end].trim_end_matches("...")
}

fn first(error: &Error, kind: ContextKind) -> String {
    some(error, kind).unwrap_or_default()
}

fn some(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// What is most like it: clap tells that last.
fn likest(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::Strings(texts) => texts.last().cloned(),
        _ => some(error, kind),
    }
}

fn all(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}
