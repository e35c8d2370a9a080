//! The rules of the contract by their names.
use std::fmt;

macro_rules! rules {
    ($($rule:ident)*) => {
        /// A rule of the contract; the crate's documentation has the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the crate's documentation has the table")]
        pub enum Rule { $($rule),* }

        impl Rule {
            /// All of them, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$rule),*];
        }
    };
}
rules! { D1 D2 D3 D4 D5 D6 D7 D8 D9 D10 D11 D12 D13 D14 S1 S2 S3 S4 L1 L2 L3 L4 L5 L6 L7 L8 }

impl Rule {
    /// The rule that a message names: the text of a [`Broken`], or of a panic or fault that begins with a rule.
    pub fn named_in(message: &str) -> Option<Self> {
        let text = message.strip_prefix("rule ").unwrap_or(message);
        let name = text.split([' ', ':']).next()?;
        Self::ALL.iter().copied().find(|rule| format!("{rule:?}") == name)
    }
    /// Which rule of a layer is broken where a driver would break this one: a layer is the driver of the session inside.
    pub(crate) fn of_a_layer(self) -> Self {
        match self {
            Self::D1 => Self::L4,
            Self::D3 | Self::D5 => Self::L5,
            Self::D4 | Self::D6 | Self::D14 => Self::L3,
            other => other,
        }
    }
}

/// A rule that was broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which rule.
    pub rule: Rule,
    /// What was seen.
    pub what: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} broken: {}", self.rule, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_rule() {
        for rule in Rule::ALL {
            assert_eq!(Rule::named_in(&Broken { rule: *rule, what: "somehow" }.to_string()), Some(*rule));
            assert_eq!(Rule::named_in(&format!("{rule:?}: what")), Some(*rule));
        }
        assert_eq!(Rule::named_in("rule D1"), Some(Rule::D1));
        assert_eq!(Rule::named_in("D15: no such rule"), None);
        assert_eq!(Rule::named_in("took more than was shown"), None);
    }
}
