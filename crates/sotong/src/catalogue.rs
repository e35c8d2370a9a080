//! Everything written for people, in English and Korean: one Fluent file a language, embedded in the binary.
//!
//! Only the language asked for is parsed, so that the command starts in milliseconds. What machines read (log events,
//! protocol text) is English everywhere and has no place here.

use std::ffi::OsString;

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

use crate::particle;

/// A language of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    En,
    Ko,
}

impl Lang {
    /// All of them; the first is for who asks for none.
    pub(crate) const ALL: [Self; 2] = [Self::En, Self::Ko];

    /// The language of the environment, by POSIX order: `LC_ALL`, `LC_MESSAGES`, `LANG`; the first one that is set and
    /// not empty decides. Korean for `ko*`, English for the rest.
    pub(crate) fn of_environment(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| get(name).filter(|value| !value.is_empty()));
        match set {
            Some(value) if value.to_string_lossy().starts_with("ko") => Self::Ko,
            _ => Self::En,
        }
    }

    /// The language's tag, which decides the plural rules.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ko => "ko",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::En => include_str!("../locales/en/sotong.ftl"),
            Self::Ko => include_str!("../locales/ko/sotong.ftl"),
        }
    }
}

/// The messages of one language.
pub(crate) struct Catalogue {
    bundle: FluentBundle<FluentResource>,
    lang: Lang,
}

impl Catalogue {
    pub(crate) fn new(lang: Lang) -> Self {
        let mut bundle = FluentBundle::new(vec![lang.tag().parse::<LanguageIdentifier>().unwrap_or_default()]);
        // The marks would sit invisibly in addresses that people copy out of a terminal.
        bundle.set_use_isolating(false);
        let added = bundle.add_function("PARTICLE", particle::fluent);
        debug_assert!(added.is_ok(), "one function, added once");
        // A message that does not parse is left out of the resource; a test holds that there is none.
        let resource = FluentResource::try_new(lang.source().to_owned()).unwrap_or_else(|(partial, _)| partial);
        let _ = bundle.add_resource(resource);
        Self { bundle, lang }
    }

    /// Its language.
    pub(crate) fn lang(&self) -> Lang {
        self.lang
    }

    /// The text of `id`, its variables filled in. An id the catalogue lacks gives the id itself.
    pub(crate) fn format(&self, id: &str, args: &FluentArgs<'_>) -> String {
        let Some(pattern) = self.bundle.get_message(id).and_then(|message| message.value()) else {
            debug_assert!(false, "the catalogue lacks {id}");
            return id.to_owned();
        };
        let mut faults = Vec::new();
        let text = self.bundle.format_pattern(pattern, Some(args), &mut faults);
        debug_assert!(faults.is_empty(), "{id}: {faults:?}");
        text.into_owned()
    }

    /// The text of an id made at run time (`help-echo`), if there is one.
    pub(crate) fn find(&self, id: &str) -> Option<String> {
        self.bundle.has_message(id).then(|| self.format(id, &FluentArgs::new()))
    }
}

/// What a variable of a message may hold.
pub(crate) fn value(from: impl Into<FluentValue<'static>>) -> FluentValue<'static> {
    from.into()
}

/// A message by its id, with the values of its variables: `text!(catalogue, "error-bad-port", text = port)`.
macro_rules! text {
    ($catalogue:expr, $id:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        #[allow(unused_mut, reason = "a message without variables sets none")]
        let mut args = fluent_bundle::FluentArgs::new();
        $(args.set(stringify!($name), $crate::catalogue::value($value));)*
        $catalogue.format($id, &args)
    }};
}
pub(crate) use text;

#[cfg(test)]
mod keys;

#[cfg(test)]
mod tests {
    use super::*;

    fn lang(variables: &[(&str, &str)]) -> Lang {
        Lang::of_environment(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_chooses_in_posix_order() {
        assert_eq!(lang(&[]), Lang::En);
        assert_eq!(lang(&[("LANG", "ko_KR.UTF-8")]), Lang::Ko);
        assert_eq!(lang(&[("LANG", "ko_KR.UTF-8"), ("LC_ALL", "C.UTF-8")]), Lang::En);
        assert_eq!(lang(&[("LANG", "en_US.UTF-8"), ("LC_MESSAGES", "ko")]), Lang::Ko);
        assert_eq!(lang(&[("LC_ALL", ""), ("LANG", "ko_KR.EUC-KR")]), Lang::Ko, "an empty variable counts as unset");
        assert_eq!(lang(&[("LANG", "fr_FR.UTF-8")]), Lang::En);
    }
}
