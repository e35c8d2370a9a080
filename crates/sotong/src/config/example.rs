//! The commented example: every setting with its default, from the sections themselves.

use super::section::Section;
use super::sections::{Accounts, History, Limits, Listen, Metadata, Oper, Server, Sts, Top, Webirc};
use super::setting::{Located, Place};
use crate::catalogue::Catalogue;

/// Characters of a line of comments.
const LINE_CHARS_MAX: usize = 100;
/// Where the example listens.
const ADDRESS: &str = "127.0.0.1:8888";

/// A file that says what is so anyway.
pub(crate) fn example(catalogue: &Catalogue) -> String {
    let mut out = Out { catalogue, text: String::new() };
    out.comment("config-about");
    out.section("", "top", &Top { data_dir: Located::new("data", "".as_ref()) }, false);
    out.section("[server]", "server", &Server::default(), false);
    let listen = Listen { address: Place(ADDRESS.parse().ok()), ..Listen::default() };
    out.section("[[listen]]", "listen", &listen, false);
    out.section("[accounts]", "accounts", &Accounts::default(), false);
    out.section("[history]", "history", &History::default(), false);
    out.section("[metadata]", "metadata", &Metadata::default(), false);
    out.section("[sts]", "sts", &Sts::default(), false);
    out.section("[limits]", "limits", &Limits::default(), false);
    // Nobody is a gateway, or an operator, unless the file says so.
    out.section("[[webirc]]", "webirc", &Webirc::default(), true);
    out.section("[[oper]]", "oper", &Oper::default(), true);
    out.text
}

/// The messages of the catalogue that the example is made of.
#[cfg(test)]
pub(crate) fn messages() -> Vec<String> {
    fn of<S: Section>(name: &str) -> impl Iterator<Item = String> {
        S::KEYS.iter().map(move |key| id(name, key)).collect::<Vec<_>>().into_iter()
    }
    let keys = of::<Top>("top").chain(of::<Server>("server")).chain(of::<Listen>("listen"));
    let keys = keys.chain(of::<Accounts>("accounts")).chain(of::<History>("history"));
    let keys = keys
        .chain(of::<Webirc>("webirc"))
        .chain(of::<Sts>("sts"))
        .chain(of::<Metadata>("metadata"))
        .chain(of::<Limits>("limits"))
        .chain(of::<Oper>("oper"));
    let headings = ["server", "listen", "accounts", "history", "metadata", "sts", "limits", "webirc", "oper"];
    let headings = headings.iter().map(|name| format!("config-{name}"));
    keys.chain(headings).chain(["config-about".to_owned()]).collect()
}

fn id(section: &str, key: &str) -> String {
    format!("config-{section}-{}", key.replace('_', "-"))
}

struct Out<'a> {
    catalogue: &'a Catalogue,
    text: String,
}

impl Out<'_> {
    /// A section: what it is for, and each setting below what it means. Where it `is_off`, all of it is comment.
    fn section<S: Section>(&mut self, heading: &str, name: &str, section: &S, is_off: bool) {
        self.text.push('\n');
        let off = if is_off { "# " } else { "" };
        if !heading.is_empty() {
            self.comment(&format!("config-{name}"));
            self.text.push_str(&format!("{off}{heading}\n"));
        }
        for key in S::KEYS {
            self.comment(&id(name, key));
            let value = section.written(key).unwrap_or_else(|| "\"\"".to_owned());
            self.text.push_str(&format!("{off}{key} = {value}\n"));
        }
    }
    fn comment(&mut self, id: &str) {
        let words = self.catalogue.find(id);
        debug_assert!(words.is_some(), "the catalogue lacks {id}");
        for paragraph in words.unwrap_or_default().lines() {
            self.wrap(paragraph);
        }
    }
    fn wrap(&mut self, paragraph: &str) {
        let mut line = String::from("#");
        for word in paragraph.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > LINE_CHARS_MAX {
                self.text.push_str(&line);
                self.text.push('\n');
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}
