//! Capabilities: what a client has asked for beyond the plain protocol.
use crate::{ChatOptions, client::SASL_MECHANISMS};

/// One of the forms in which a piece of news is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form(u32);

impl Form {
    /// As a person with a terminal is told it.
    pub(crate) const TEXT: Self = Self(u32::MAX);
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps(u32);

impl Caps {
    pub(crate) const SERVER_TIME: Self = Self(1);
    pub(crate) const MESSAGE_TAGS: Self = Self(1 << 1);
    pub(crate) const EXTENDED_JOIN: Self = Self(1 << 2);
    pub(crate) const ECHO_MESSAGE: Self = Self(1 << 3);
    pub(crate) const LABELED_RESPONSE: Self = Self(1 << 4);
    pub(crate) const BATCH: Self = Self(1 << 5);
    pub(crate) const MULTI_PREFIX: Self = Self(1 << 6);
    pub(crate) const USERHOST_IN_NAMES: Self = Self(1 << 7);
    pub(crate) const AWAY_NOTIFY: Self = Self(1 << 8);
    pub(crate) const SETNAME: Self = Self(1 << 9);
    pub(crate) const INVITE_NOTIFY: Self = Self(1 << 10);
    pub(crate) const CAP_NOTIFY: Self = Self(1 << 11);
    pub(crate) const STANDARD_REPLIES: Self = Self(1 << 12);

    pub(crate) const ACCOUNT_NOTIFY: Self = Self(1 << 13);
    pub(crate) const ACCOUNT_TAG: Self = Self(1 << 14);

    pub(crate) const SASL: Self = Self(1 << 22);
    pub(crate) const ACCOUNT_REGISTRATION: Self = Self(1 << 23);

    pub(crate) const CHGHOST: Self = Self(1 << 27);

    /// Those that change how a line is rendered.
    pub(crate) const RENDERED: Self =
        Self(Self::SERVER_TIME.0 | Self::MESSAGE_TAGS.0 | Self::EXTENDED_JOIN.0 | Self::ACCOUNT_TAG.0);

    /// All of them, as they are called, in the order of their names.
    pub(crate) const ALL: [(&'static str, Self); 18] = [
        ("account-notify", Self::ACCOUNT_NOTIFY),
        ("account-tag", Self::ACCOUNT_TAG),
        ("away-notify", Self::AWAY_NOTIFY),
        ("batch", Self::BATCH),
        ("cap-notify", Self::CAP_NOTIFY),
        ("draft/account-registration", Self::ACCOUNT_REGISTRATION),
        ("chghost", Self::CHGHOST),
        ("echo-message", Self::ECHO_MESSAGE),
        ("extended-join", Self::EXTENDED_JOIN),
        ("invite-notify", Self::INVITE_NOTIFY),
        ("labeled-response", Self::LABELED_RESPONSE),
        ("message-tags", Self::MESSAGE_TAGS),
        ("multi-prefix", Self::MULTI_PREFIX),
        ("sasl", Self::SASL),
        ("server-time", Self::SERVER_TIME),
        ("setname", Self::SETNAME),
        ("standard-replies", Self::STANDARD_REPLIES),
        ("userhost-in-names", Self::USERHOST_IN_NAMES),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, cap)| *cap)
    }
    /// Whether it is to be had with these options.
    pub(crate) fn is_offered(self, options: &ChatOptions) -> bool {
        self != Self::ACCOUNT_REGISTRATION || options.accounts.register
    }
    /// What is said of it to those who understand values (CAP LS 302).
    pub(crate) fn value(self, options: &ChatOptions) -> Option<String> {
        match self {
            Self::SASL => Some(SASL_MECHANISMS.to_owned()),
            Self::ACCOUNT_REGISTRATION => {
                let said = [
                    (options.accounts.register_before_connect, "before-connect"),
                    (options.accounts.email_required, "email-required"),
                    (true, "custom-account-name"),
                ];
                let said: Vec<&str> = said.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect();
                Some(said.join(","))
            }
            _ => None,
        }
    }
    pub(crate) fn has(self, cap: Self) -> bool {
        self.0 & cap.0 == cap.0
    }
    pub(crate) fn set(&mut self, cap: Self, on: bool) {
        self.0 = if on { self.0 | cap.0 } else { self.0 & !cap.0 };
    }
    /// Which of the forms of a line this set sees.
    pub(crate) fn form(self) -> Form {
        Form(self.0 & Self::RENDERED.0)
    }
}
