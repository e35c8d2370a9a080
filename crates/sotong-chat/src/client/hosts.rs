//! CHGHOST, and HostServ: as what people are shown who are somebody here.
use super::{Talk, services::Servant};
use crate::{
    books::{Account, Change},
    hall::Plan,
    opers::Privilege,
    options::cut,
};
use sotong_irc::{Message, names, numeric};
use std::sync::Arc;

/// Bytes of a host that is shown for somebody.
const HOST_BYTES_MAX: usize = 63;
/// What HostServ does: how it is written, and what for.
const COMMANDS: [(&str, &str); 4] = [
    ("DEL ACCOUNT", "shows an account by the cloak of its owner's address again; for operators"),
    ("HELP", "lists what can be done here"),
    ("SET ACCOUNT HOST", "shows all who are logged in to an account by that host; for operators"),
    ("STATUS [ACCOUNT]", "tells the host of an account"),
];
const NO_ACCOUNT: &str = "There is no such account";

impl Talk<'_, '_> {
    /// `CHGHOST nick host`, or `CHGHOST nick` back to the cloak. Of somebody who is logged in it is his account's host.
    pub(super) fn change_host(&mut self, message: &Message<'_>) {
        let (nick, host) = (message.param(0).unwrap_or(""), message.param(1).filter(|host| !host.is_empty()));
        let Some((whom, user)) = self.hall.find(nick) else { return self.no_such_nick(nick) };
        let (nick, account) = (Arc::clone(&user.nick), user.account.clone());
        if let Some(host) = host.filter(|host| !is_host(host)) {
            return self.fail_with("CHGHOST", "INVALID_HOST", &[&cut(host, 64)], "That is no name of a host");
        }
        let account = account.and_then(|account| self.hall.books.account(&account).cloned());
        let (host, shown) = (host.map(Box::<str>::from), shown(host));
        match account {
            Some(account) => {
                self.keep_host(&account, host, move |talk, stored| match stored {
                    Ok(account) => talk.done(&format!("{nick} (account {account}) {shown}")),
                    Err(why) => talk.fail("CHGHOST", "TEMPORARILY_UNAVAILABLE", why),
                });
            }
            None => {
                let is_self = whom == self.me();
                let (hall, mut tell) = self.teller();
                let mut tell = if is_self { tell } else { tell.on_behalf_of(whom) };
                let is_changed = hall.set_host(host.as_deref(), &mut tell);
                self.client.answers.wait(usize::from(is_changed && is_self));
                self.done(&format!("{nick} {shown}"));
            }
        }
    }
    /// Keeps a host with an account, shows it, and goes on with the account's name.
    fn keep_host(
        &mut self,
        account: &Account,
        host: Option<Box<str>>,
        then: impl FnOnce(&mut Talk<'_, '_>, Result<&str, &'static str>) + Send + 'static,
    ) {
        let name = account.name.clone();
        let account = Account { vhost: host, ..Account::clone(account) };
        let whose = name.clone();
        let plan =
            Plan::new(vec![Change::Account(Arc::new(account))], move |hall, tell| hall.show_host_of(&whose, tell));
        self.accomplish(plan, move |talk, stored| match stored {
            Ok(is_own) => {
                talk.client.answers.wait(usize::from(is_own));
                then(talk, Ok(&name));
            }
            Err(why) => then(talk, Err(why.text())),
        });
    }

    // HostServ.

    pub(super) fn hostserv(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace();
        let command = words.next().unwrap_or("HELP").to_ascii_uppercase();
        let words: Vec<&str> = words.collect();
        match (command.as_str(), &words[..]) {
            ("HELP", _) => {
                for (syntax, text) in COMMANDS {
                    self.hs(&format!("{syntax}: {text}"));
                }
            }
            ("STATUS", []) => match self.account() {
                Some(account) => self.hs_status(&account),
                None => self.hs("You are not logged in"),
            },
            ("STATUS", [account]) => {
                let own = self.account();
                let is_own = own.is_some_and(|own| names::fold(&own) == names::fold(account));
                if is_own || self.may_give_hosts() {
                    self.hs_status(account);
                }
            }
            ("SET", [account, host]) if self.may_give_hosts() => {
                if !is_host(host) {
                    return self.hs("That is no name of a host");
                }
                self.hs_keep(account, Some(host));
            }
            ("DEL", [account]) if self.may_give_hosts() => self.hs_keep(account, None),
            // It has been told so.
            ("SET", [_, _]) | ("DEL", [_]) => {}
            _ => self.hs("Unknown command, or too few words; HELP lists what there is"),
        }
    }
    fn hs(&mut self, text: &str) {
        self.told_by(Servant::HostServ, text);
    }
    fn may_give_hosts(&mut self) -> bool {
        let may = self.hall.may(self.client.who, Privilege::Vhost);
        if !may {
            self.hs("Only operators of the server do that");
        }
        may
    }
    fn hs_status(&mut self, account: &str) {
        match self.hall.books.account(account).cloned() {
            Some(account) => match &account.vhost {
                Some(host) => self.hs(&format!("Account {} has the host {host}", account.name)),
                None => self.hs(&format!("Account {} has no host of its own", account.name)),
            },
            None => self.hs(NO_ACCOUNT),
        }
    }
    fn hs_keep(&mut self, account: &str, host: Option<&str>) {
        let Some(account) = self.hall.books.account(account).cloned() else { return self.hs(NO_ACCOUNT) };
        let shown = shown(host);
        self.keep_host(&account, host.map(Into::into), move |talk, stored| match stored {
            Ok(account) => {
                let text = format!("Account {account} {shown}");
                talk.hs(&text);
                let nick = talk.nick();
                let (hall, mut tell) = talk.teller();
                hall.notify(&format!("{nick}: {text}"), &mut tell);
            }
            Err(why) => talk.hs(why),
        });
    }

    /// Somebody has come who is shown otherwise than by what is made of his address.
    pub(super) fn tell_own_host(&mut self) {
        let me = self.me();
        if !self.hall.is_shown_otherwise(me) {
            return;
        }
        let host = self.hall.user(me).map(|user| Arc::clone(&user.host)).unwrap_or_default();
        self.reply(numeric::RPL_VISIBLEHOST, &[&host], "is now your displayed host");
    }
}

fn shown(host: Option<&str>) -> String {
    host.map_or_else(|| "is shown by the cloak again".to_owned(), |host| format!("is shown as from {host}"))
}

/// A name of a host as others are shown it: words between dots, of letters, digits, hyphens and slashes.
fn is_host(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'/' | b':' | b'_');
    (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_good) && !text.starts_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, is) in [("user/bob", true), ("a.b", true), ("", false), ("a b", false), (":a", false), ("한", false)]
        {
            assert_eq!(is_host(text), is, "{text}");
        }
        assert!(is_host(&"a".repeat(63)) && !is_host(&"a".repeat(64)));
    }
}
