//! Services: those who are always there, and do what they are told by private messages.
use super::Talk;
use sotong_irc::{Encoder, names};
use std::{fmt::Display, sync::LazyLock};

/// One of them.
// They are called as people know them.
#[allow(clippy::enum_variant_names)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Servant {
    /// Accounts.
    NickServ,
    /// Registered rooms.
    ChanServ,
    /// Hosts that people are shown by.
    HostServ,
}

impl Servant {
    const ALL: [(Self, &'static str, &'static str); 3] =
        [(Self::NickServ, "NickServ", "NS"), (Self::ChanServ, "ChanServ", "CS"), (Self::HostServ, "HostServ", "HS")];

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(servant, ..)| *servant == self).map_or("*", |(_, name, _)| name)
    }
    /// Who is called so.
    pub(crate) fn called(nick: &str) -> Option<Self> {
        let nick = nick.split('@').next().unwrap_or_default();
        let fits = |name: &str, short: &str| name.eq_ignore_ascii_case(nick) || short.eq_ignore_ascii_case(nick);
        Self::ALL.into_iter().find(|(_, name, short)| fits(name, short)).map(|(servant, ..)| servant)
    }
    /// Whom a command of this name is for, in capitals.
    pub(crate) fn of_command(command: &str) -> Option<Self> {
        let fits = |name: &str, short: &str| name.eq_ignore_ascii_case(command) || short == command;
        Self::ALL.into_iter().find(|(_, name, short)| fits(name, short)).map(|(servant, ..)| servant)
    }
}

/// Whether nobody may be called so: it is a service, or looks like one.
pub(crate) fn is_reserved(name: &str) -> bool {
    static LOOKS: LazyLock<Vec<String>> = LazyLock::new(|| RESERVED.iter().map(|name| names::looks(name)).collect());
    RESERVED_BYTES.contains(&name.len()) && LOOKS.contains(&names::looks(name))
}

/// Bytes of a name that looks like one of them: each character may be one of four bytes.
const RESERVED_BYTES: std::ops::RangeInclusive<usize> = 2..=32;
/// Services, those that other servers have among them, and what people call ours for short: whoever is called so is told
/// passwords.
const RESERVED: [&str; 10] =
    ["NickServ", "ChanServ", "HistServ", "HostServ", "MemoServ", "OperServ", "BotServ", "NS", "CS", "HS"];

impl Talk<'_, '_> {
    /// What somebody has said to a service.
    pub(super) fn serve(&mut self, servant: Servant, text: &str) {
        // A client asks for another's version and the like.
        if text.starts_with('\u{1}') {
            return;
        }
        match servant {
            Servant::NickServ => self.nickserv(text),
            Servant::ChanServ => self.chanserv(text),
            Servant::HostServ => self.hostserv(text),
        }
    }
    /// A service says something, to the client that has asked alone.
    pub(super) fn told_by(&mut self, servant: Servant, text: impl Display) {
        let (name, nick) = (servant.name(), self.nick());
        self.client.answers.write(self.cx.out, |line| {
            let source = format!("{name}!{name}@localhost");
            Encoder::new(line).source(&source).word("NOTICE").word(nick).text(text).end();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant() {
        assert_eq!(Servant::called("nickserv"), Some(Servant::NickServ));
        assert_eq!(Servant::called("NickServ@localhost"), Some(Servant::NickServ));
        assert_eq!(Servant::called("nick"), None);
        assert_eq!(Servant::called("ns"), Some(Servant::NickServ));
        assert_eq!(Servant::called("CS@localhost"), Some(Servant::ChanServ));
        assert_eq!(Servant::of_command("NS"), Some(Servant::NickServ));
        assert_eq!(Servant::of_command("NICKSERV"), Some(Servant::NickServ));
        assert!(is_reserved("NICKSERV") && is_reserved("NickSеrv") && !is_reserved("nick"));
        assert!(
            is_reserved("NS") && is_reserved("hs") && is_reserved("Nѕ") && !is_reserved("N") && !is_reserved("nss")
        );
    }
}
