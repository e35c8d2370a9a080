//! NickServ for those who have lost a client, and for operators: GHOST, CLIENTS, SAREGISTER, SUSPEND.
use super::{Talk, enrol::NoAccount, services::Servant, waits::NotNow};
use crate::{
    books::{Account, Change, Refused, Suspension, prepared},
    hall::{Plan, Who, times},
    opers::Privilege,
    options::cut,
};
use sotong_irc::names;
use sotong_session::Address;
use std::sync::Arc;

const NO_ACCOUNT: &str = "There is no such account";
const DENIED: &str = "Only operators of the server do that";

impl Talk<'_, '_> {
    fn keeps_accounts(&mut self) -> bool {
        let may = self.hall.may(self.client.who, Privilege::Accounts);
        if !may {
            self.told_by(Servant::NickServ, DENIED);
        }
        may
    }

    // One's own.

    /// Puts out whoever has a nick with the account of this client, and is not this client.
    pub(super) fn ns_ghost(&mut self, nick: &str) {
        let own = self.account();
        let Some((whom, user)) = self.hall.find(nick) else {
            return self.told_by(Servant::NickServ, "Nobody has that nick");
        };
        let is_own =
            own.is_some_and(|own| user.account.as_deref().is_some_and(|other| names::fold(other) == names::fold(&own)));
        if !is_own {
            return self.told_by(Servant::NickServ, "That nick is not one of your account");
        }
        if whom == self.client.who {
            return self.told_by(Servant::NickServ, "That is you: CLIENTS LOGOUT puts out one of your clients");
        }
        let by = self.nick();
        let (hall, mut tell) = self.teller();
        hall.kill(whom, &format!("Ghosted by {by}"), &mut tell);
        self.told_by(Servant::NickServ, "That client has been put out");
    }
    /// The client's own clients, or those of somebody an operator asks about: which is this one, and where each is from.
    pub(super) fn ns_clients(&mut self, nick: Option<&str>) {
        let me = self.client.who;
        let whom = match nick {
            None => Some(me),
            Some(nick) => self.hall.find(nick).map(|(who, _)| who),
        };
        let Some(whom) = whom.filter(|whom| *whom == me || self.hall.may(me, Privilege::See)) else {
            return self.told_by(Servant::NickServ, "That is not your nick");
        };
        let Some((nick, links)) = self.ns_links(whom) else { return };
        self.told_by(Servant::NickServ, format_args!("Nickname {nick} has {} attached client(s)", links.len()));
        for (number, at) in (1..).zip(links) {
            let from = self.hall.origin(at).map_or_else(|| "here".to_owned(), |origin| origin.ip.to_string());
            let mark = if at == self.cx.me { " (this client)" } else { "" };
            self.told_by(Servant::NickServ, format_args!("Client {number}{mark}: from {from}"));
        }
    }
    fn ns_links(&self, whom: Who) -> Option<(Arc<str>, Vec<Address>)> {
        let user = self.hall.user(whom)?;
        Some((Arc::clone(&user.nick), user.clients.iter().map(|link| link.at).collect()))
    }
    /// Puts out one of the client's own clients by its number, or all but this one.
    pub(super) fn ns_clients_logout(&mut self, which: &str) {
        let me = self.cx.me;
        let Some((_, links)) = self.ns_links(self.client.who) else { return };
        let chosen: Vec<Address> = if which.eq_ignore_ascii_case("all") {
            links.into_iter().filter(|at| *at != me).collect()
        } else {
            let at = which.parse::<usize>().ok().and_then(|number| links.get(number.checked_sub(1)?).copied());
            at.into_iter().collect()
        };
        if chosen.is_empty() {
            return self.told_by(Servant::NickServ, "There is no such client");
        }
        let count = chosen.len();
        let (hall, mut tell) = self.teller();
        hall.expel(chosen, "Logged out by another client of yours", &mut tell);
        self.told_by(Servant::NickServ, format_args!("Put out {count} client(s)"));
    }

    // What operators do.

    pub(super) fn ns_saregister(&mut self, name: &str, password: &str) {
        if !self.keeps_accounts() {
            return;
        }
        let name = match self.may_keep(name) {
            Ok(name) => name,
            Err(NoAccount { text, .. }) => return self.told_by(Servant::NickServ, text),
        };
        let password = match prepared(password, self.hall.limits.password_bytes_max) {
            Ok(password) => password,
            Err(why) => {
                let why = self.bad_password(why);
                return self.told_by(Servant::NickServ, why);
            }
        };
        self.make_account(&name, None, &password, true, |talk, name, done| match done {
            Ok(_) => talk.told_by(Servant::NickServ, format_args!("Successfully registered account {name}")),
            Err(NoAccount { text, .. }) => talk.told_by(Servant::NickServ, text),
        });
    }
    /// Another password for somebody who has lost his: there is no mail that could be sent.
    pub(super) fn ns_sapasswd(&mut self, name: &str, password: &str) {
        if !self.keeps_accounts() {
            return;
        }
        let limit = self.hall.limits.password_bytes_max;
        let password = match prepared(password, limit) {
            Ok(password) => password,
            Err(why) => {
                let why = self.bad_password(why);
                return self.told_by(Servant::NickServ, why);
            }
        };
        let name = name.to_owned();
        self.hash(&password, move |talk, hashed| {
            let known = talk.hall.books.account(&name).cloned();
            let (hashed, account) = match (hashed, known) {
                (Err(NotNow), _) => return talk.told_by(Servant::NickServ, Refused::Busy.text()),
                (Ok(_), None) => return talk.told_by(Servant::NickServ, NO_ACCOUNT),
                (Ok(hashed), Some(account)) => (hashed, account),
            };
            let (password, scram) = (Some(hashed.password), Some(hashed.scram));
            talk.keep(Account { password, scram, ..Account::clone(&account) }, "Password changed");
        });
    }
    /// `SUSPEND ADD ACCOUNT [DURATION TIME] [REASON]`, `SUSPEND DEL ACCOUNT`, `SUSPEND LIST`.
    pub(super) fn ns_suspend(&mut self, words: &[&str]) {
        if !self.keeps_accounts() {
            return;
        }
        let (what, words) = words.split_first().map_or(("", words), |(what, words)| (*what, words));
        match (what.to_ascii_lowercase().as_str(), words) {
            ("list", _) => self.ns_suspended(),
            ("add", [name, word, time, reason @ ..]) if word.eq_ignore_ascii_case("duration") => {
                match times::duration(time) {
                    Some(seconds) => self.ns_suspend_one(name, Some(seconds), reason),
                    None => self.told_by(Servant::NickServ, "That is no time: 1d, 2h30m, …"),
                }
            }
            ("add", [name, reason @ ..]) => self.ns_suspend_one(name, None, reason),
            ("del", [name, ..]) => {
                let Some(account) = self.hall.books.account(name).cloned() else {
                    return self.told_by(Servant::NickServ, NO_ACCOUNT);
                };
                self.keep(Account { suspended: None, ..Account::clone(&account) }, "That account may be used again");
            }
            _ => self.told_by(Servant::NickServ, "SUSPEND ADD ACCOUNT [DURATION TIME] [REASON] | DEL ACCOUNT | LIST"),
        }
    }
    fn ns_suspend_one(&mut self, name: &str, seconds: Option<u64>, reason: &[&str]) {
        let Some(account) = self.hall.books.account(name).cloned() else {
            return self.told_by(Servant::NickServ, NO_ACCOUNT);
        };
        let reason = reason.join(" ");
        let reason =
            if reason.is_empty() { "No reason given" } else { cut(&reason, self.hall.limits.reason_bytes_max) };
        let at = self.cx.wall.0;
        let until = seconds.map(|seconds| at.saturating_add(seconds as i64 * 1000));
        let suspended = Suspension { by: (*self.nick()).into(), reason: reason.into(), at, until };
        let (name, why) = (account.name.clone(), format!("Account suspended: {reason}"));
        let changed = Account { suspended: Some(suspended), ..Account::clone(&account) };
        let whose = name.clone();
        let plan = Plan::new(vec![Change::Account(Arc::new(changed))], move |hall, tell| {
            hall.kill_all_of(&whose, &why, tell);
        });
        self.accomplish(plan, move |talk, done| match done {
            Ok(()) => talk.told_by(Servant::NickServ, format_args!("Account {name} is suspended")),
            Err(why) => talk.told_by(Servant::NickServ, why.text()),
        });
    }
    fn ns_suspended(&mut self) {
        let now = self.cx.wall.0;
        let told = |account: &Arc<Account>| {
            let suspended = account.suspended.as_ref().filter(|suspended| suspended.holds(now))?;
            let left = suspended.until.map_or_else(
                || "for good".to_owned(),
                |until| format!("for {}", times::for_people(((until - now) / 1000) as u64)),
            );
            Some(format!("{} by {}, {left}: {}", account.name, suspended.by, suspended.reason))
        };
        let all: Vec<String> = self.hall.books.accounts().filter_map(told).take(LISTED_MAX).collect();
        self.told_by(Servant::NickServ, format_args!("There are {} suspended account(s)", all.len()));
        for line in all {
            self.told_by(Servant::NickServ, line);
        }
    }
    fn keep(&mut self, account: Account, done: &'static str) {
        self.store(&[Change::Account(Arc::new(account))], move |talk, stored| {
            talk.told_by(
                Servant::NickServ,
                match stored {
                    Ok(()) => done,
                    Err(why) => why.text(),
                },
            );
        });
    }
}

/// Accounts in one list.
const LISTED_MAX: usize = 100;
