//! Mode strings: `+o-v alice bob`.

/// What a mode takes; the kinds are those of CHANMODES in 005.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A list of masks: with a parameter it is changed, without one it is asked for (A).
    List,
    /// A parameter always (B), as a member's rank has one.
    Always,
    /// A parameter always (B); taking it away works without one, too.
    Key,
    /// A parameter when it is set (C).
    WhenSet,
    /// No parameter (D).
    Never,
}

/// One step of a mode string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A mode is set or taken away.
    Change(Change<'a>),
    /// A list is asked for.
    Ask(char),
    /// The parameter is missing.
    Missing(char),
    /// There is no such mode.
    Unknown(char),
}

/// A change of one mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Whether it is set, or else taken away.
    pub sets: bool,
    /// Its letter.
    pub letter: char,
    /// Its parameter, where it has one.
    pub param: Option<&'a str>,
}

/// Reads a mode string and its parameters; `kind` knows the modes. At most `steps_max` steps, what follows is left out.
pub fn read<'a>(words: &[&'a str], kind: impl Fn(char) -> Option<Kind>, steps_max: usize) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut words = words.iter().copied();
    let Some(letters) = words.next() else { return steps };
    let mut sets = true;
    for letter in letters.chars() {
        if let '+' | '-' = letter {
            sets = letter == '+';
            continue;
        }
        if steps.len() == steps_max {
            break;
        }
        let param = match kind(letter) {
            None => {
                steps.push(Step::Unknown(letter));
                continue;
            }
            Some(Kind::Never) => None,
            Some(Kind::WhenSet) if !sets => None,
            Some(kind) => match words.next().filter(|param| !param.is_empty()) {
                Some(param) => Some(param),
                None if kind == Kind::Key && !sets => None,
                None => {
                    steps.push(if kind == Kind::List { Step::Ask(letter) } else { Step::Missing(letter) });
                    continue;
                }
            },
        };
        steps.push(Step::Change(Change { sets, letter, param }));
    }
    steps
}

/// Changes as a mode string and its parameters, with each sign written once for as long as it holds.
pub fn write<'a>(changes: impl IntoIterator<Item = Change<'a>>) -> String {
    let (mut letters, mut params, mut sign) = (String::new(), String::new(), None);
    for change in changes {
        if sign != Some(change.sets) {
            letters.push(if change.sets { '+' } else { '-' });
            sign = Some(change.sets);
        }
        letters.push(change.letter);
        if let Some(param) = change.param {
            params.push(' ');
            params.push_str(param);
        }
    }
    letters + &params
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(letter: char) -> Option<Kind> {
        Some(match letter {
            'b' => Kind::List,
            'o' | 'v' => Kind::Always,
            'k' => Kind::Key,
            'l' => Kind::WhenSet,
            'n' | 't' => Kind::Never,
            _ => return None,
        })
    }
    fn change(sets: bool, letter: char, param: Option<&str>) -> Step<'_> {
        Step::Change(Change { sets, letter, param })
    }

    #[test]
    fn as_people_write_them() {
        assert_eq!(
            read(&["+ov-v+nl-l", "alice", "bob", "carol", "10"], kind, 20),
            [
                change(true, 'o', Some("alice")),
                change(true, 'v', Some("bob")),
                change(false, 'v', Some("carol")),
                change(true, 'n', None),
                change(true, 'l', Some("10")),
                change(false, 'l', None),
            ]
        );
        assert_eq!(read(&["-k"], kind, 20), [change(false, 'k', None)]);
        assert_eq!(
            read(&["-kv", "key", "bob"], kind, 20),
            [change(false, 'k', Some("key")), change(false, 'v', Some("bob"))]
        );
        assert_eq!(read(&["b"], kind, 20), [Step::Ask('b')]);
        assert_eq!(read(&["-b"], kind, 20), [Step::Ask('b')]);
        assert_eq!(read(&["+o"], kind, 20), [Step::Missing('o')]);
        assert_eq!(read(&["+k", ""], kind, 20), [Step::Missing('k')]);
        assert_eq!(read(&["x+n"], kind, 20), [Step::Unknown('x'), change(true, 'n', None)]);
        assert_eq!(read(&[&"n".repeat(1000)], kind, 3).len(), 3);
        assert_eq!(read(&[], kind, 3), []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(steps in proptest::collection::vec((any::<bool>(), "[bovnt]", "[a-z!@*]{1,5}"), 0..12)) {
            let changes: Vec<Change<'_>> = steps.iter().map(|(sets, letter, param)| {
                let letter = letter.chars().next().unwrap_or('n');
                let param = kind(letter).filter(|kind| *kind != Kind::Never).map(|_| param.as_str());
                Change { sets: *sets, letter, param }
            }).collect();
            let line = write(changes.iter().copied());
            let words: Vec<&str> = line.split(' ').collect();
            let expect: Vec<Step<'_>> = changes.into_iter().map(Step::Change).collect();
            prop_assert_eq!(read(&words, kind, 20), expect);
        }
        #[test]
        fn nothing_makes_it_panic(words in proptest::collection::vec(any::<String>(), 0..5)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            prop_assert!(read(&words, kind, 10).len() <= 10);
        }
    }
}
