//! Both catalogues hold the same messages, and exactly those the program uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use clap::CommandFactory;
use fluent_bundle::FluentResource;

use super::{Catalogue, Lang};
use crate::cli::Cli;
use crate::help;

type Messages = BTreeMap<String, BTreeSet<String>>;

/// Every message of a language, with the variables it uses.
fn messages(lang: Lang) -> Messages {
    let mut messages = Messages::new();
    let mut current = String::new();
    for line in lang.source().lines() {
        if let Some((id, _)) = line.split_once(" =").filter(|_| line.starts_with(|c: char| c.is_ascii_lowercase())) {
            id.clone_into(&mut current);
            assert!(messages.insert(current.clone(), BTreeSet::new()).is_none(), "{current} stands twice");
        }
        let variables = line.split('$').skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        messages.entry(current.clone()).or_default().extend(variables);
    }
    messages.remove("");
    messages
}

/// Every `text!(…)` of the program: the message, and the variables it is given.
fn uses() -> Vec<(String, BTreeSet<String>)> {
    let mut uses = Vec::new();
    for source in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))).expect("own sources") {
        for call in source.split("text!(").skip(1) {
            let mut depth = 1;
            let end = call.find(|c: char| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            let call = &call[..end.unwrap_or(call.len())];
            let Some(id) = call.split('"').nth(1).filter(|id| !id.contains(' ')) else { continue };
            let given = call.split(" = ").map(|before| before.rsplit([' ', ',', '\n']).next().unwrap_or_default());
            let count = call.matches(" = ").count();
            uses.push((id.to_owned(), given.take(count).map(str::to_owned).collect()));
        }
    }
    uses
}

fn sources(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            None if path.is_dir() => found.extend(sources(&path)?),
            Some("rs") if !path.ends_with("keys.rs") && !path.ends_with("catalogue.rs") => {
                found.push(fs::read_to_string(path)?);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The messages that help looks up by the names of commands and arguments: those it must find, and those it may.
fn looked_up(known: &Messages) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut command = Cli::command();
    command.build();
    let (mut must, mut may) = (BTreeSet::new(), BTreeSet::new());
    for of in help::every(&command) {
        let name = help::key(of);
        must.insert(format!("about-{name}"));
        must.insert(format!("examples-{name}"));
        may.insert(format!("details-{name}"));
        for arg in of.get_arguments() {
            let id = arg.get_id().as_str().replace('_', "-");
            let own = format!("arg-{name}-{id}");
            must.insert(if known.contains_key(&own) { own } else { format!("arg-{id}") });
            must.extend(arg.get_help_heading().map(|group| format!("heading-{group}")));
        }
    }
    must.extend(crate::config::messages());
    (must, may)
}

#[test]
fn both_languages_say_the_same() {
    for lang in [Lang::En, Lang::Ko] {
        let parsed = FluentResource::try_new(lang.source().to_owned());
        assert!(parsed.is_ok(), "{lang:?}: {:?}", parsed.err().map(|(_, faults)| faults));
    }
    let (en, ko) = (messages(Lang::En), messages(Lang::Ko));
    let only = |a: &Messages, b: &Messages| a.keys().filter(|id| !b.contains_key(*id)).cloned().collect::<Vec<_>>();
    assert_eq!((only(&en, &ko), only(&ko, &en)), (vec![], vec![]), "only English, only Korean");
    for (id, variables) in &en {
        assert_eq!(variables, &ko[id], "the variables of {id}");
    }
}

#[test]
fn what_is_used_exists_and_what_exists_is_used() {
    let known = messages(Lang::En);
    let (must, may) = looked_up(&known);
    let uses = uses();
    assert!(uses.len() > 20, "the search finds the uses");
    for (id, given) in &uses {
        let expected = known.get(id).unwrap_or_else(|| panic!("the catalogue lacks {id}"));
        assert_eq!(given, expected, "the variables given to {id}");
    }
    for id in &must {
        assert!(known.contains_key(id), "the catalogue lacks {id}");
    }
    let used: BTreeSet<_> = uses.into_iter().map(|(id, _)| id).chain(must).chain(may).collect();
    let unused: Vec<_> = known.keys().filter(|id| !used.contains(*id)).collect();
    assert!(unused.is_empty(), "nobody uses {unused:?}");
}

#[test]
fn examples_are_the_same_commands_and_parse() {
    let commands = |lang, id: &str| {
        let text = Catalogue::new(lang).find(id).expect("there");
        text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect::<Vec<_>>()
    };
    for id in messages(Lang::En).into_keys().filter(|id| id.starts_with("examples-")) {
        let (en, ko) = (commands(Lang::En, &id), commands(Lang::Ko, &id));
        assert_eq!(en.len(), ko.len(), "{id}");
        for (en, ko) in en.iter().zip(&ko) {
            for line in [en, ko] {
                let words = line.split([' ', '"']).filter(|word| !word.is_empty());
                let words: Vec<_> = words.take_while(|word| !matches!(*word, "|" | ">")).collect();
                let parsed = Cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
            assert_eq!(en.split('"').next(), ko.split('"').next(), "{id}");
        }
    }
}
