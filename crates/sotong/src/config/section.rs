//! Sections of the configuration: each is declared once, and its keys, their types, their ranges and their defaults are
//! what is read, what is checked, and what the example shows.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fault::{Fault, Why};
use super::setting::Reader;

/// A table of a file, as it was parsed.
pub(super) type Table<'i> = DeTable<'i>;
/// A value with its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Some settings that stand together under one heading.
pub(crate) trait Section: Default {
    /// The names of its settings, in their order.
    const KEYS: &'static [&'static str];
    /// Those without which it means nothing.
    const MUST: &'static [&'static str];
    /// Takes the value of one of [`Self::KEYS`].
    fn set(&mut self, key: &str, value: &Value<'_>, reader: &mut Reader<'_>);
    /// One of [`Self::KEYS`] as a file has it; `None` where there is nothing to be written.
    fn written(&self, key: &str) -> Option<String>;
}

/// Declares sections, setting by setting: its name, its type, its default. The type knows its range.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident must [$($must:ident),*] {
        $($field:ident: $type:ty = $default:expr;)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
        impl $crate::config::section::Section for $name {
            const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
            const MUST: &'static [&'static str] = &[$(stringify!($must)),*];
            fn set(
                &mut self,
                key: &str,
                value: &$crate::config::section::Value<'_>,
                reader: &mut $crate::config::setting::Reader<'_>,
            ) {
                match key {
                    $(stringify!($field) => reader.read(value, &mut self.$field),)*
                    _ => {}
                }
            }
            fn written(&self, key: &str) -> Option<String> {
                match key {
                    $(stringify!($field) => $crate::config::setting::Setting::written(&self.$field),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use section;

/// Reads a section. `name` is its heading; keys that are sections of their own are left out by the caller.
pub(super) fn read<S: Section>(name: &'static str, table: &Table<'_>, at: Range<usize>, reader: &mut Reader<'_>) -> S {
    let mut section = S::default();
    for (key, value) in table {
        match S::KEYS.iter().find(|known| *known == key.get_ref()) {
            Some(known) => section.set(known, value, reader),
            None => {
                let like = likest(key.get_ref(), S::KEYS);
                reader.fault(key.span(), Why::UnknownKey { section: name, key: key.get_ref().to_string(), like });
            }
        }
    }
    for key in S::MUST {
        if !has(table, key) {
            reader.fault(at.clone(), Why::Missing { section: name, key });
        }
    }
    section
}

/// Whether a table has a key.
pub(super) fn has(table: &Table<'_>, key: &str) -> bool {
    place(table, key).is_some()
}

/// Where a key of a table stands.
pub(super) fn place(table: &Table<'_>, key: &str) -> Option<Range<usize>> {
    table.keys().find(|known: &&Spanned<DeString<'_>>| known.get_ref() == key).map(Spanned::span)
}

/// What is most like a mistyped word, if anything is.
pub(super) fn likest(word: &str, known: &[&str]) -> Option<String> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let near = known.iter().map(|known| (strsim::jaro_winkler(&word, known), *known));
    let near = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|(one, _), (other, _)| one.total_cmp(other));
    near.map(|(_, known)| known.to_owned())
}

/// Puts a fault into the list: it is what [`Reader`] does, for checks of several settings at once.
pub(super) fn fault(faults: &mut Vec<Fault>, span: Range<usize>, why: Why) {
    faults.push(Fault { span, why });
}
