//! What Rust sources must not hold. The rules read tokens, so comments and strings say what they like.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::Finding;
use crate::tree::Tree;

/// Where `unsafe` may stand, by the beginning of the path.
///
/// The plain servers of the bench are measuring instruments and no part of what is shipped: one of them is io_uring by hand.
const UNSAFE_PLACES: [&str; 3] = ["crates/sotong-net/", "crates/sotong-drivers/src/uring", "bench/peers/"];

/// Every Rust file can be read; else the other rules would pass it by.
pub(crate) fn parses(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.rust() {
        if let Err(fault) = syn::parse_file(text) {
            findings.push(Finding::new(path, fault.span().start().line, format!("cannot be read: {fault}")));
        }
    }
}

/// `unsafe` stands only where it is allowed, each with its reason.
pub(crate) fn unsafe_places(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.rust() {
        let lines: Vec<_> = text.lines().collect();
        let keywords = tokens(text).into_iter().filter(|token| token.text == "unsafe");
        for line in keywords.map(|token| token.line) {
            if !UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
                findings.push(Finding::new(path, line, "unsafe belongs in sotong-net and the uring driver"));
            } else if !has_reason(&lines, line) {
                findings.push(Finding::new(path, line, "unsafe without a SAFETY: comment"));
            }
        }
    }
}

/// Whether a SAFETY comment stands on the line (counted from 1), or above the statement that it is part of.
fn has_reason(lines: &[&str], line: usize) -> bool {
    let is_reason = |line: &str| line.contains("// SAFETY:") || line.contains("/// # Safety");
    let Some(own) = lines.get(line - 1) else { return false };
    let mut above = lines[..line - 1].iter().rev().map(|line| line.trim());
    is_reason(own)
        || above
            .by_ref()
            .take_while(|line| {
                line.starts_with("//") || line.starts_with("#[") || !line.ends_with([';', '{', '}', ','])
            })
            .take_while(|line| !line.is_empty())
            .any(is_reason)
}

/// Channels without a bound, which no limit holds.
pub(crate) fn unbounded_channels(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("crates/")) {
        let tokens = tokens(text);
        for (at, token) in tokens.iter().enumerate() {
            let from = &tokens[at..];
            let imported = follows(from, &["mpsc", ":", ":", "{"])
                && from.iter().take_while(|token| token.text != "}").any(|token| token.text == "channel");
            if imported
                || follows(from, &["mpsc", ":", ":", "channel"])
                || ["unbounded", "unbounded_channel"].contains(&token.text.as_str())
            {
                findings.push(Finding::new(path, token.line, "a channel without a bound"));
            }
        }
    }
}

/// Code that says it is not finished, and tests that are left out without a word.
pub(crate) fn unfinished(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.rust() {
        let tokens = tokens(text);
        for (at, token) in tokens.iter().enumerate() {
            let from = &tokens[at..];
            if follows(from, &["todo", "!"]) || follows(from, &["unimplemented", "!"]) {
                findings.push(Finding::new(path, token.line, format!("{}! is not finished", token.text)));
            }
            if follows(from, &["#", "[", "ignore", "]"]) {
                findings.push(Finding::new(path, token.line, "a test is ignored without a reason"));
            }
        }
    }
}

/// A layer decides about every event by its name (rule L1): an arm for the rest would swallow one that is new.
pub(crate) fn wildcards_over_events(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("crates/sotong-layers/src/")) {
        let Ok(file) = syn::parse_file(text) else { continue };
        let mut wildcards = Wildcards(Vec::new());
        wildcards.visit_file(&file);
        let what = "an arm for the rest of the events: name them (rule L1)";
        findings.extend(wildcards.0.into_iter().map(|line| Finding::new(path, line, what)));
    }
}

struct Wildcards(Vec<usize>);

impl<'ast> Visit<'ast> for Wildcards {
    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        let place = match &*node.expr {
            syn::Expr::Tuple(tuple) => tuple.elems.iter().position(is_event).map(Some),
            whole => is_event(whole).then_some(None),
        };
        if let Some(place) = place {
            self.0.extend(node.arms.iter().filter_map(|arm| takes_any(&arm.pat, place)));
        }
        visit::visit_expr_match(self, node);
    }
}

fn is_event(expression: &syn::Expr) -> bool {
    matches!(expression, syn::Expr::Path(path) if path.path.is_ident("event"))
}

/// The line of a pattern that takes any event; where one of several things together, the event is at `place`.
fn takes_any(pattern: &syn::Pat, place: Option<usize>) -> Option<usize> {
    match (pattern, place) {
        (syn::Pat::Wild(wild), _) => Some(wild.underscore_token.spans[0].start().line),
        (syn::Pat::Ident(name), _) if name.subpat.is_none() => Some(name.ident.span().start().line),
        (syn::Pat::Tuple(tuple), Some(place)) => takes_any(tuple.elems.get(place)?, None),
        (syn::Pat::Or(either), _) => either.cases.iter().find_map(|case| takes_any(case, place)),
        _ => None,
    }
}

/// A word, mark or bracket of a source, and its line.
struct Token {
    text: String,
    line: usize,
}

/// The tokens of a source in their order, brackets included, literals and comments left out.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    if let Ok(stream) = text.parse::<TokenStream>() {
        flatten(stream, &mut found);
    }
    found
}

fn flatten(stream: TokenStream, found: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(word) => found.push(Token { text: word.to_string(), line }),
            TokenTree::Punct(mark) => found.push(Token { text: mark.as_char().to_string(), line }),
            TokenTree::Literal(_) => found.push(Token { text: String::new(), line }),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                found.push(Token { text: open.to_owned(), line });
                flatten(group.stream(), found);
                found.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
        }
    }
}

fn follows(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_found() {
        assert_eq!(found(parses, &Tree::one("a.rs", "fn a() {}\nfn {")).len(), 1);
        assert_eq!(found(parses, &Tree::one("a.rs", "fn a() {}\n")), [""; 0]);
    }

    #[test]
    fn unsafe_in_the_wrong_place_is_found() {
        let text = "// unsafe in words is fine\nfn f(p: *const u8) -> u8 {\n    unsafe { *p }\n}\n";
        let at = |path| found(unsafe_places, &Tree::one(path, text));
        assert_eq!(
            at("crates/sotong-shard/src/a.rs"),
            ["crates/sotong-shard/src/a.rs:3: unsafe belongs in sotong-net and the uring driver"]
        );
        assert_eq!(
            at("crates/sotong-net/src/a.rs"),
            ["crates/sotong-net/src/a.rs:3: unsafe without a SAFETY: comment"]
        );
        assert_eq!(at("crates/sotong-drivers/src/epoll.rs").len(), 1);
        assert_eq!(at("bench/peers/uring.rs"), ["bench/peers/uring.rs:3: unsafe without a SAFETY: comment"]);
        assert_eq!(at("bench/src/load/play.rs").len(), 1, "what measures needs none");
    }

    #[test]
    fn a_reason_counts_only_for_its_own_statement() {
        let text = "fn f(p: *const u8) -> u8 {\n    // SAFETY: the caller holds p.\n    let a =\n        unsafe { *p };\n    \
                    a + unsafe { *p }\n}\n/// # Safety\n/// `p` is valid.\npub unsafe fn g() {}\n";
        assert_eq!(
            found(unsafe_places, &Tree::one("crates/sotong-net/src/a.rs", text)),
            ["crates/sotong-net/src/a.rs:5: unsafe without a SAFETY: comment"]
        );
    }

    #[test]
    fn unsafe_in_a_macro_is_found_and_in_a_string_it_is_not() {
        let text = "fn f() {\n    println!(\"unsafe {}\", unsafe { g() });\n    let _ = \"unsafe\";\n}\n";
        assert_eq!(found(unsafe_places, &Tree::one("a.rs", text)).len(), 1);
    }

    #[test]
    fn channels_without_bound_are_found() {
        let bad = "use std::sync::mpsc::{self, channel};\nfn f() {\n    let _ = mpsc::channel::<u8>();\n    let _ = \
                   tokio::sync::mpsc::unbounded_channel::<u8>();\n}\n";
        assert_eq!(found(unbounded_channels, &Tree::one("crates/a/src/b.rs", bad)).len(), 3);
        let good = "use std::sync::mpsc::{self, sync_channel};\nfn f() { let _ = mpsc::sync_channel::<u8>(4); }\n";
        assert_eq!(found(unbounded_channels, &Tree::one("crates/a/src/b.rs", good)), [""; 0]);
    }

    #[test]
    fn unfinished_code_and_silent_ignores_are_found() {
        let text = "#[test]\n#[ignore]\nfn a() { todo!() }\n#[test]\n#[ignore = \"needs a network\"]\nfn b() { \
                    unimplemented!(\"x\") }\n";
        assert_eq!(
            found(super::unfinished, &Tree::one("a.rs", text)),
            [
                "a.rs:2: a test is ignored without a reason",
                "a.rs:3: todo! is not finished",
                "a.rs:6: unimplemented! is not finished",
            ]
        );
    }

    #[test]
    fn an_arm_for_the_rest_of_the_events_beside_something_is_found() {
        let text = "fn h(a: u8, event: Event) {\n    match (a, event) {\n        (_, Event::Open) => {}\n        (0, _) => \
                    {}\n        (1, rest) => drop(rest),\n        _ => {}\n    }\n}\n";
        let lines = found(wildcards_over_events, &Tree::one("crates/sotong-layers/src/idle.rs", text));
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn an_arm_for_the_rest_of_the_events_is_found() {
        let text = "fn h(event: Event, other: u8) {\n    match event {\n        Event::Open => {}\n        _ => {}\n    }\n    \
                    match event {\n        Event::Open => {}\n        rest => drop(rest),\n    }\n    match other {\n        0 => \
                    {}\n        _ => {}\n    }\n}\n";
        let path = "crates/sotong-layers/src/idle.rs";
        let expect =
            [4, 8].map(|line| format!("{path}:{line}: an arm for the rest of the events: name them (rule L1)"));
        assert_eq!(found(wildcards_over_events, &Tree::one(path, text)), expect);
        assert_eq!(found(wildcards_over_events, &Tree::one("crates/sotong-classics/src/echo.rs", text)), [""; 0]);
    }
}
