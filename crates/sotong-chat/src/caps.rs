//! Capabilities: what a client has asked for beyond the plain protocol.
use crate::{AccountOptions, ChatOptions, MetadataOptions, client::SASL_MECHANISMS, options::Sts};

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
    pub(crate) const NO_IMPLICIT_NAMES: Self = Self(1 << 13);
    pub(crate) const PRE_AWAY: Self = Self(1 << 14);
    /// Told and never set: how to come by TLS.
    const STS: Self = Self(1 << 15);

    pub(crate) const MULTILINE: Self = Self(1 << 16);
    pub(crate) const METADATA_2: Self = Self(1 << 17);
    pub(crate) const METADATA_3: Self = Self(1 << 18);
    pub(crate) const EXTENDED_MONITOR: Self = Self(1 << 19);
    pub(crate) const ACCOUNT_NOTIFY: Self = Self(1 << 20);
    pub(crate) const ACCOUNT_TAG: Self = Self(1 << 21);

    pub(crate) const SASL: Self = Self(1 << 22);
    pub(crate) const ACCOUNT_REGISTRATION: Self = Self(1 << 23);

    pub(crate) const CHGHOST: Self = Self(1 << 27);
    pub(crate) const CHANNEL_RENAME: Self = Self(1 << 28);
    pub(crate) const RELAYMSG: Self = Self(1 << 29);

    /// Those that change how every line is rendered.
    const RENDERED: Self = Self(Self::SERVER_TIME.0 | Self::MESSAGE_TAGS.0 | Self::ACCOUNT_TAG.0);

    /// All of them, as they are called, in the order of their names. Some have two names, of the draft and of what became
    /// of it.
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("account-notify", Self::ACCOUNT_NOTIFY),
        ("account-tag", Self::ACCOUNT_TAG),
        ("away-notify", Self::AWAY_NOTIFY),
        ("batch", Self::BATCH),
        ("cap-notify", Self::CAP_NOTIFY),
        ("chghost", Self::CHGHOST),
        ("draft/account-registration", Self::ACCOUNT_REGISTRATION),
        ("draft/channel-rename", Self::CHANNEL_RENAME),
        ("draft/metadata-2", Self::METADATA_2),
        ("draft/metadata-3", Self::METADATA_3),
        ("draft/multiline", Self::MULTILINE),
        ("draft/no-implicit-names", Self::NO_IMPLICIT_NAMES),
        ("draft/pre-away", Self::PRE_AWAY),
        ("draft/relaymsg", Self::RELAYMSG),
        ("echo-message", Self::ECHO_MESSAGE),
        ("extended-join", Self::EXTENDED_JOIN),
        ("extended-monitor", Self::EXTENDED_MONITOR),
        ("invite-notify", Self::INVITE_NOTIFY),
        ("labeled-response", Self::LABELED_RESPONSE),
        ("message-tags", Self::MESSAGE_TAGS),
        ("multi-prefix", Self::MULTI_PREFIX),
        ("no-implicit-names", Self::NO_IMPLICIT_NAMES),
        ("sasl", Self::SASL),
        ("server-time", Self::SERVER_TIME),
        ("setname", Self::SETNAME),
        ("standard-replies", Self::STANDARD_REPLIES),
        ("sts", Self::STS),
        ("userhost-in-names", Self::USERHOST_IN_NAMES),
    ];

    /// The one that can be asked for by this name.
    pub(crate) fn named(name: &str, options: &ChatOptions) -> Option<Self> {
        let (_, cap) = Self::ALL.iter().find(|(known, _)| *known == name)?;
        (*cap != Self::STS && cap.is_offered(options)).then_some(*cap)
    }
    /// Whether it is to be had with these options.
    fn is_offered(self, options: &ChatOptions) -> bool {
        match self {
            Self::STS => options.sts.is_some(),
            Self::METADATA_2 | Self::METADATA_3 => options.metadata.enabled,
            Self::ACCOUNT_REGISTRATION => options.accounts.register,
            Self::RELAYMSG => options.relaymsg,
            _ => true,
        }
    }
    /// What is offered, each with its value where values are understood (CAP LS 302).
    pub(crate) fn offers(options: &ChatOptions, with_values: bool, is_secure: bool) -> Vec<String> {
        let offered = Self::ALL.iter().filter(|(_, cap)| cap.is_offered(options));
        let named = offered.filter_map(|(name, cap)| match cap.value(options, is_secure) {
            Some(value) if with_values => Some(format!("{name}={value}")),
            // Without its value it would say nothing.
            _ if *cap == Self::STS => None,
            _ => Some((*name).to_owned()),
        });
        named.collect()
    }
    fn value(self, options: &ChatOptions, is_secure: bool) -> Option<String> {
        match self {
            Self::STS => options.sts.as_ref().map(|sts| sts_value(sts, is_secure)),
            Self::METADATA_2 | Self::METADATA_3 => metadata_value(&options.metadata),
            // What parts the name of the other network from a nick there.
            Self::RELAYMSG => Some("/".to_owned()),
            Self::SASL => Some(SASL_MECHANISMS.to_owned()),
            Self::ACCOUNT_REGISTRATION => Some(registration_value(&options.accounts)),
            Self::MULTILINE => {
                let limits = &options.limits;
                let lines = at_most("max-lines", limits.multiline_lines_max);
                let bytes = format!("max-bytes={}", limits.multiline_bytes_max);
                Some(std::iter::once(bytes).chain(lines).collect::<Vec<_>>().join(","))
            }
            _ => None,
        }
    }
    /// What is set, by its names.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(_, cap)| self.has(*cap)).map(|(name, _)| *name)
    }
    /// Whether messages of several lines are understood.
    pub(crate) fn has_lines(self) -> bool {
        self.has(Self::MULTILINE) && self.has(Self::BATCH)
    }
    /// Whether keys are.
    pub(crate) fn has_metadata(self) -> bool {
        self.has(Self::METADATA_2) || self.has(Self::METADATA_3)
    }
    pub(crate) fn has(self, cap: Self) -> bool {
        self.0 & cap.0 == cap.0
    }
    pub(crate) fn set(&mut self, cap: Self, on: bool) {
        self.0 = if on { self.0 | cap.0 } else { self.0 & !cap.0 };
    }
    /// Which of the forms of a line this set sees, where one of `special` changes lines of this kind as well.
    pub(crate) fn form(self, special: Self) -> Form {
        Form(self.0 & (Self::RENDERED.0 | special.0))
    }
    /// All of these.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

fn registration_value(accounts: &AccountOptions) -> String {
    let said = [
        (accounts.register_before_connect, "before-connect"),
        (accounts.email_required, "email-required"),
        (true, "custom-account-name"),
    ];
    let said: Vec<&str> = said.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect();
    said.join(",")
}
fn metadata_value(metadata: &MetadataOptions) -> Option<String> {
    let before = metadata.before_connect.then(|| "before-connect".to_owned());
    let limits = [at_most("max-subs", metadata.max_subs), at_most("max-keys", metadata.max_keys)];
    let said: Vec<_> = before.into_iter().chain(limits.into_iter().flatten()).collect();
    Some(said.join(",")).filter(|said| !said.is_empty())
}
/// A limit as it is offered: where there is none, it is left out (IRCv3 metadata, multiline).
fn at_most(name: &str, limit: usize) -> Option<String> {
    (limit != usize::MAX).then(|| format!("{name}={limit}"))
}

/// Over plain text where TLS is, over TLS for how long that holds (IRCv3 sts): neither says what the other does.
fn sts_value(sts: &Sts, is_secure: bool) -> String {
    if !is_secure {
        return format!("port={}", sts.port);
    }
    let preload = if sts.preload { ",preload" } else { "" };
    format!("duration={}{preload}", sts.duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_has_a_bit_of_its_own_and_they_are_in_order() {
        for (at, (name, cap)) in Caps::ALL.iter().enumerate() {
            assert_eq!(cap.0.count_ones(), 1, "{name}");
            for (other, same) in &Caps::ALL[at + 1..] {
                assert!(name < other, "{name} stands before {other}");
                let is_final = name.trim_start_matches("draft/") == *other;
                assert_eq!(cap == same, is_final, "{name} and {other}");
            }
        }
    }

    #[test]
    fn what_has_no_limit_is_offered_without_one() {
        let offer = |options: &ChatOptions, name: &str| {
            let offers = Caps::offers(options, true, false);
            offers.into_iter().find(|offer| offer.split('=').next() == Some(name)).expect("it is offered")
        };
        let mut options = ChatOptions::default();
        let all = "draft/metadata-2=before-connect,max-subs=100,max-keys=1000";
        assert_eq!(offer(&options, "draft/metadata-2"), all);
        assert_eq!(offer(&options, "draft/multiline"), "draft/multiline=max-bytes=4096,max-lines=32");
        (options.metadata.max_subs, options.metadata.max_keys) = (usize::MAX, usize::MAX);
        options.limits.multiline_lines_max = usize::MAX;
        assert_eq!(offer(&options, "draft/metadata-2"), "draft/metadata-2=before-connect");
        assert_eq!(offer(&options, "draft/multiline"), "draft/multiline=max-bytes=4096");
        options.metadata.before_connect = false;
        assert_eq!(offer(&options, "draft/metadata-2"), "draft/metadata-2");
    }

    #[test]
    fn sts_says_where_and_for_how_long_and_is_never_set() {
        let mut options = ChatOptions::default();
        let offers = |options: &ChatOptions, values, secure| {
            let mut offers = Caps::offers(options, values, secure);
            offers.retain(|cap| cap.starts_with("sts"));
            offers
        };
        assert!(offers(&options, true, false).is_empty());
        let duration = Duration::from_secs(86_400);
        options.sts = Some(Sts { port: 6697, duration, preload: true });
        assert_eq!(offers(&options, true, false), ["sts=port=6697"]);
        assert_eq!(offers(&options, true, true), ["sts=duration=86400,preload"]);
        assert!(offers(&options, false, false).is_empty(), "a client that knows no values");
        assert_eq!(Caps::named("sts", &options), None);
    }
}
