//! The three flags that must be known before the command line is parsed: a usage error, too, speaks the language asked
//! for, in the colour asked for, to the reader asked for.

use std::ffi::{OsStr, OsString};

use clap::{CommandFactory, ValueEnum};

use crate::catalogue::Lang;
use crate::cli::{Cli, Color, LogFormat};

/// What was found; the defaults where nothing was, or nothing that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Early {
    pub(crate) lang: Lang,
    pub(crate) color: Color,
    pub(crate) log_format: LogFormat,
}

/// Looks at the arguments up to `--`, and at the environment for the language.
pub(crate) fn read(args: &[OsString]) -> Early {
    Early {
        lang: find(args, "--lang").unwrap_or_else(|| Lang::of_environment(|name| std::env::var_os(name))),
        color: find(args, "--color").unwrap_or(Color::Auto),
        log_format: find(args, "--log-format").unwrap_or(LogFormat::Text),
    }
}

/// The command whose help tells more: `sotong echo`, `sotong cert new`, or `sotong` where there is none.
pub(crate) fn command(args: &[OsString]) -> String {
    let cli = Cli::command();
    let (mut of, mut path) = (&cli, "sotong".to_owned());
    for word in args.iter().filter_map(|arg| arg.to_str()) {
        // Who asks for help has no use for the help of `help`.
        if let Some(found) = of.find_subcommand(word).filter(|found| found.get_name() != "help") {
            path = format!("{path} {word}");
            of = found;
        }
    }
    path
}

/// The last value of `flag`, written as one argument or two.
fn find<T: ValueEnum>(args: &[OsString], flag: &str) -> Option<T> {
    let args = args.iter().map(OsString::as_os_str).take_while(|arg| *arg != "--");
    let following = args.clone().skip(1).map(Some).chain([None]);
    let values = args.zip(following).filter_map(|(arg, next)| {
        let text = if arg == flag {
            next.and_then(OsStr::to_str)?
        } else {
            arg.to_str()?.strip_prefix(flag)?.strip_prefix('=')?
        };
        T::from_str(text, false).ok()
    });
    values.last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lang(line: &str) -> Option<Lang> {
        let args: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        find(&args, "--lang")
    }

    #[test]
    fn the_language_is_found_wherever_it_stands() {
        assert_eq!(lang("sotong --lang ko echo"), Some(Lang::Ko));
        assert_eq!(lang("sotong echo --bad --lang=ko"), Some(Lang::Ko));
        assert_eq!(lang("sotong --lang en echo --lang ko"), Some(Lang::Ko), "the last one counts");
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_parser() {
        assert_eq!(lang("sotong echo --lang"), None);
        assert_eq!(lang("sotong --lang xx echo"), None);
        assert_eq!(lang("sotong --language ko"), None);
        assert_eq!(lang("sotong listen :0 --exec prog -- --lang ko"), None, "a program's own flag");
    }
}
