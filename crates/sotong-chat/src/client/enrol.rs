//! Making an account: REGISTER and VERIFY (IRCv3 draft account registration), and what NickServ does of it.
use super::{Stage, Talk, services, waits::NotNow};
use crate::{
    books::{Account, Change, Hashed, Refused, ScramKeys, prepared},
    options::cut,
};
use sotong_irc::{Message, names};
use std::sync::Arc;

/// Why there is no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAccount {
    /// The code of the standard reply.
    pub(super) code: &'static str,
    pub(super) text: &'static str,
}

const fn no(code: &'static str, text: &'static str) -> NoAccount {
    NoAccount { code, text }
}
const EXISTS: NoAccount = no("ACCOUNT_EXISTS", "Account already exists, or somebody has that name");
const NOT_NOW: NoAccount = no("TEMPORARILY_UNAVAILABLE", "The server has too much to do; try again later");
/// Bytes of an address.
const EMAIL_BYTES_MAX: usize = 254;

impl Talk<'_, '_> {
    pub(super) fn register_account(&mut self, message: &Message<'_>) {
        let [asked, email, password, ..] = message.params() else { return self.needs_more("REGISTER") };
        let asked = cut(asked, 128);
        let options = self.client.chat.options().accounts;
        let is_new = matches!(self.client.stage, Stage::New(_));
        if is_new && !options.register_before_connect {
            let text = "Complete the connection first";
            return self.fail_with("REGISTER", "COMPLETE_CONNECTION_REQUIRED", &[&asked], text);
        }
        let name = match asked {
            "*" => self.own_name(),
            name => Some(name.to_owned()),
        };
        let Some(name) = name else {
            return self.fail_with("REGISTER", "NEED_NICK", &[&asked], "You have no nick yet");
        };
        let email = if *email == "*" { None } else { Some(*email) };
        self.enrol(&name, email, password, |talk, name, done| match done {
            Ok(account) => {
                talk.say(&[&"REGISTER", &"SUCCESS", &account], Some(&"Account successfully registered"));
                talk.logged_in(&account, false);
            }
            Err(NoAccount { code, text }) => talk.fail_with("REGISTER", code, &[&name], text),
        });
    }
    /// Nothing is sent to anybody that could be given back: each account is good at once.
    pub(super) fn verify_account(&mut self, message: &Message<'_>) {
        let [account, _code, ..] = message.params() else { return self.needs_more("VERIFY") };
        self.fail_with("VERIFY", "INVALID_CODE", &[&cut(account, 128)], "There is nothing to verify");
    }
    /// The nick, or the one that was asked for.
    fn own_name(&self) -> Option<String> {
        match &self.client.stage {
            Stage::New(newcomer) => newcomer.nick.clone().or_else(|| newcomer.wanted.clone()),
            Stage::Here | Stage::Over => Some(self.hall.user(self.client.who)?.nick.to_string()),
        }
    }
    /// Makes an account, and goes on with its name once it is on disk.
    pub(super) fn enrol(
        &mut self,
        name: &str,
        email: Option<&str>,
        password: &str,
        then: impl FnOnce(&mut Talk<'_, '_>, &str, Result<Arc<str>, NoAccount>) + Send + 'static,
    ) {
        let checked = self.may_enrol(name, email);
        let limit = self.hall.limits.password_bytes_max;
        let prepared = checked.and_then(|name| match prepared(password, limit) {
            Ok(password) => Ok((name, password)),
            Err(why) => Err(no("UNACCEPTABLE_PASSWORD", self.bad_password(why))),
        });
        let (name, password) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return then(self, name, Err(why)),
        };
        if !self.may_make_one() {
            let text = "Too many accounts from your address; try again later";
            return then(self, &name, Err(no("TEMPORARILY_UNAVAILABLE", text)));
        }
        // Hashes are dear: who makes accounts is slowed down as who tries passwords.
        if !self.may_try(&name) {
            return then(self, &name, Err(no("TEMPORARILY_UNAVAILABLE", "Too many attempts; try again in a minute")));
        }
        self.make_account(&name, email, &password, false, then);
    }
    /// Makes an account that may be made. An operator makes them for others.
    pub(super) fn make_account(
        &mut self,
        name: &str,
        email: Option<&str>,
        password: &str,
        by_oper: bool,
        then: impl FnOnce(&mut Talk<'_, '_>, &str, Result<Arc<str>, NoAccount>) + Send + 'static,
    ) {
        let (name, email) = (name.to_owned(), email.map(Box::<str>::from));
        self.hash(password, move |talk, done| {
            // Somebody else may have been faster.
            let may = if by_oper { talk.may_keep(&name) } else { talk.may_enrol(&name, email.as_deref()) };
            let hashed = match (done, may) {
                (Err(NotNow), _) => {
                    talk.take_try_back(&name);
                    return then(talk, &name, Err(NOT_NOW));
                }
                (_, Err(why)) => return then(talk, &name, Err(why)),
                (Ok(hashed), Ok(_)) => hashed,
            };
            let Hashed { password, scram } = hashed;
            let account = account(&name, talk.cx.wall.0, password, scram, email);
            talk.store(&[Change::Account(Arc::new(account))], move |talk, done| {
                let done = match done {
                    Ok(()) => {
                        talk.forgive_tries(&name);
                        Ok(Arc::from(name.as_str()))
                    }
                    Err(Refused::Busy) => Err(NOT_NOW),
                    Err(why) => Err(no("TEMPORARILY_UNAVAILABLE", why.text())),
                };
                then(talk, &name, done);
            });
        });
    }
    /// Whether another account may be made from here.
    fn may_make_one(&mut self) -> bool {
        let limits = self.hall.limits;
        let counted = self.client.ip.filter(|ip| limits.flood_control && !ip.is_loopback());
        let may =
            counted.is_none_or(|ip| self.hall.books.throttle.makes(ip, self.cx.now, limits.new_accounts_per_address));
        if !may {
            self.client.chat.counters.hit("new_accounts_per_address");
        }
        may
    }
    /// Whether this client may make an account of this name: in the form in which it is kept.
    fn may_enrol(&self, name: &str, email: Option<&str>) -> Result<String, NoAccount> {
        let options = self.client.chat.options().accounts;
        if !options.register {
            return Err(no("DISALLOWED", "Accounts are not made here"));
        }
        if self.account().is_some() {
            return Err(no("ALREADY_AUTHENTICATED", "You are already logged in"));
        }
        let name = self.may_keep(name)?;
        match email {
            None if options.email_required => return Err(no("INVALID_EMAIL", "An address is needed")),
            Some(email) if !is_email(email) => return Err(no("INVALID_EMAIL", "That is no address")),
            Some(_) | None => {}
        }
        // Nobody takes the name from under somebody who has it now.
        if self.hall.is_free(self.client.who, None, &name) { Ok(name) } else { Err(EXISTS) }
    }
    /// Whether there can be an account of this name: in the form in which it is kept.
    pub(super) fn may_keep(&self, name: &str) -> Result<String, NoAccount> {
        let Ok(name) = names::nick(name, self.hall.limits.nick_chars_max) else {
            return Err(no("BAD_ACCOUNT_NAME", "An account cannot be called so"));
        };
        if services::is_reserved(&name) {
            return Err(no("BAD_ACCOUNT_NAME", "That is a service of this server"));
        }
        if self.hall.books.account_like(&name).is_some() { Err(EXISTS) } else { Ok(name) }
    }
}

fn account(name: &str, at: i64, password: Box<str>, scram: ScramKeys, email: Option<Box<str>>) -> Account {
    Account { password: Some(password), scram: Some(scram), email, ..Account::new(name, at) }
}

/// Something at somewhere, in characters that can be seen.
pub(super) fn is_email(text: &str) -> bool {
    let Some((user, place)) = text.rsplit_once('@') else { return false };
    let is_bad = |c: char| c.is_whitespace() || names::is_invisible(c) || matches!(c, ',' | ';' | '<' | '>');
    !user.is_empty() && place.len() > 1 && text.len() <= EMAIL_BYTES_MAX && !text.contains(is_bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["a@b.c", "민수@예.한국", "a+b@localhost"] {
            assert!(is_email(text), "{text}");
        }
        for text in ["", "a", "@b.c", "a@", "a b@c.d", "a@b\u{200B}c", "<a@b.c>", &format!("{}@b.c", "a".repeat(254))] {
            assert!(!is_email(text), "{text}");
        }
    }
}
