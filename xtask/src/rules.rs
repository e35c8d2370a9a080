//! The rules, a function each, and what they find.

mod code;
mod crates;
mod documents;
mod size;
mod words;

use std::fmt;

use crate::tree::Tree;

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

const RULES: &[fn(&Tree, &mut Vec<Finding>)] = &[
    crates::dependencies,
    crates::bans_of_pure_crates,
    crates::lifted_bans,
    crates::locked,
    code::parses,
    code::unsafe_places,
    code::unbounded_channels,
    code::unfinished,
    code::wildcards_over_events,
    size::lengths,
    words::unfinished,
    words::machine_paths,
    documents::readable,
    documents::in_both_languages,
];

/// What all rules find.
pub(crate) fn all(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES {
        rule(tree, &mut findings);
    }
    findings
}

/// What `rule` finds, a line each: what the tests of the rules compare.
#[cfg(test)]
fn found(rule: fn(&Tree, &mut Vec<Finding>), tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    rule(tree, &mut findings);
    findings.iter().map(ToString::to_string).collect()
}
