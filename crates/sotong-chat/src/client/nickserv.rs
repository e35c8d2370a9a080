//! NickServ: accounts by private messages, in the forms that people know.
use super::{
    Talk,
    enrol::{NoAccount, is_email},
    sasl::{BUSY, TOO_OFTEN, WRONG},
    services::Servant,
    waits::NotNow,
};
use crate::{
    books::{Account, CertPrint, Change, prepared},
    hall::{Hall, Plan},
    news::time_tag,
    opers::Privilege,
    options::cut,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sotong_irc::names;
use sotong_session::Wall;
use std::{fmt::Write as _, sync::Arc};
use subtle::ConstantTimeEq;

/// What NickServ does: a command, how it is written, and what for.
const COMMANDS: [(&str, &str, &str); 17] = [
    ("CERT", "CERT LIST | ADD [FINGERPRINT] | DEL FINGERPRINT", "certificates that open your account"),
    ("CLIENTS", "CLIENTS [LIST [NICK] | LOGOUT NUMBER | LOGOUT ALL]", "the clients that share your nick"),
    ("DROP", "DROP ACCOUNT [CODE]", "the same as UNREGISTER"),
    ("GET", "GET SETTING", "shows one of your settings"),
    ("GHOST", "GHOST NICK", "puts out a client of yours that has another nick"),
    ("HELP", "HELP [COMMAND]", "lists what can be done here"),
    ("IDENTIFY", "IDENTIFY [ACCOUNT] PASSWORD", "logs you in"),
    ("INFO", "INFO [ACCOUNT]", "shows an account"),
    ("LOGOUT", "LOGOUT", "logs you out"),
    ("PASSWD", "PASSWD CURRENT NEW NEW", "changes your password; operators: PASSWD ACCOUNT NEW"),
    ("REGISTER", "REGISTER PASSWORD [EMAIL]", "makes an account of your nick"),
    ("SAREGISTER", "SAREGISTER ACCOUNT PASSWORD", "makes an account for somebody else; for operators"),
    ("SESSIONS", "SESSIONS", "the same as CLIENTS"),
    ("SET", "SET SETTING VALUE", "changes one of your settings"),
    ("SETTINGS", "SETTINGS", "shows all of them"),
    ("SUSPEND", "SUSPEND ADD ACCOUNT [DURATION TIME] [REASON] | DEL ACCOUNT | LIST", "for operators"),
    ("UNREGISTER", "UNREGISTER ACCOUNT [CODE]", "deletes your account"),
];
const SETTINGS: [(&str, &str); 5] = [
    ("always-on", "whether you keep nick and seats while no client of yours is there"),
    ("auto-away", "whether you count as away while no client of yours is there"),
    ("autoreplay-lines", "how much of what you have missed a client is told that cannot ask for it"),
    ("email", "where you can be written to"),
    ("multiclient", "whether several clients of yours share your nick"),
];

/// Lines that somebody may want to be told.
const AUTOREPLAY_MAX: u32 = 1000;

impl Talk<'_, '_> {
    pub(super) fn nickserv(&mut self, text: &str) {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (command, words) = words.split_first().map_or(("HELP", &[][..]), |(command, words)| (*command, words));
        let command = command.to_ascii_uppercase();
        match (command.as_str(), words) {
            ("HELP", _) => self.ns_help(words.first().copied()),
            ("REGISTER", [password]) => self.ns_register(password, None),
            ("REGISTER", [password, email]) => self.ns_register(password, Some(email)),
            ("IDENTIFY" | "LOGIN", [password]) => {
                let nick = self.nick();
                self.ns_identify(&nick, password);
            }
            ("IDENTIFY" | "LOGIN", [account, password]) => self.ns_identify(account, password),
            ("LOGOUT", _) if self.account().is_some() => {
                self.ns("You are now logged out");
                self.logged_out();
            }
            ("INFO", _) => self.ns_info(words.first().copied()),
            ("PASSWD", [current, new, again]) => self.ns_passwd(current, new, again),
            ("PASSWD", [account, new]) => self.ns_sapasswd(account, new),
            ("GHOST", [nick]) => self.ns_ghost(nick),
            ("SAREGISTER", [account, password]) => self.ns_saregister(account, password),
            ("SUSPEND", words) => self.ns_suspend(words),
            ("SET", [setting, current, new, again]) if setting.eq_ignore_ascii_case("password") => {
                self.ns_passwd(current, new, again);
            }
            ("SET", [setting, value]) => self.ns_set(setting, value),
            ("GET", [setting]) => self.ns_get(setting),
            ("SETTINGS", _) => self.ns_settings(),
            ("CERT", [what]) if what.eq_ignore_ascii_case("list") => self.ns_cert_list(),
            ("CERT", [what, print @ ..]) if what.eq_ignore_ascii_case("add") => {
                self.ns_cert_add(print.first().copied());
            }
            ("CERT", [what, print]) if what.eq_ignore_ascii_case("del") => self.ns_cert_del(print),
            ("UNREGISTER" | "DROP", [account]) => self.ns_unregister(account, None),
            ("UNREGISTER" | "DROP", [account, code]) => self.ns_unregister(account, Some(code)),
            ("CLIENTS" | "SESSIONS", []) => self.ns_clients(None),
            ("CLIENTS" | "SESSIONS", [what, nick @ ..]) if what.eq_ignore_ascii_case("list") => {
                self.ns_clients(nick.first().copied());
            }
            ("CLIENTS" | "SESSIONS", [what, which]) if what.eq_ignore_ascii_case("logout") => {
                self.ns_clients_logout(which);
            }
            ("LOGOUT", _) => self.ns("You are not logged in"),
            (known, _) if COMMANDS.iter().any(|(command, ..)| *command == known) => {
                self.ns("That is not how it is written:");
                self.ns_help(Some(known));
            }
            (unknown, _) => {
                let unknown = cut(unknown, 32);
                self.ns(&format!("Unknown command {unknown}; HELP lists those there are"));
            }
        }
    }
    fn ns(&mut self, text: &str) {
        self.told_by(Servant::NickServ, text);
    }
    fn ns_help(&mut self, command: Option<&str>) {
        let asked = command.map(str::to_ascii_uppercase);
        let fits = |known: &str| asked.as_deref().is_none_or(|asked| asked == known);
        let told: Vec<_> = COMMANDS.iter().filter(|(known, ..)| fits(known)).collect();
        if told.is_empty() {
            return self.ns("There is no help on that");
        }
        for (_, syntax, text) in told {
            self.ns(&format!("{syntax}: {text}"));
        }
        if asked.is_none_or(|asked| asked == "SET" || asked == "GET") {
            for (name, text) in SETTINGS {
                self.ns(&format!("Setting {name}: {text}"));
            }
        }
    }

    // Coming in.

    fn ns_register(&mut self, password: &str, email: Option<&str>) {
        let nick = self.nick();
        self.enrol(&nick, email, password, |talk, _, done| match done {
            Ok(account) => {
                talk.ns("Account created");
                talk.logged_in(&account, false);
            }
            Err(NoAccount { text, .. }) => talk.ns(text),
        });
    }
    fn ns_identify(&mut self, name: &str, password: &str) {
        self.check_password(name, password, |talk, name, done| match done {
            Ok(account) => {
                talk.forgive_tries(name);
                talk.ns(&format!("You're now logged in as {account}"));
                talk.logged_in(&account, false);
            }
            Err(why) => talk.ns(&format!("Authentication failed: {why}")),
        });
    }

    // An account as it is.

    /// The client's own account, or it is told that it has none.
    fn ns_own(&mut self) -> Option<Arc<Account>> {
        let own = self.account().and_then(|name| self.hall.books.account(&name).cloned());
        if own.is_none() {
            self.ns("You are not logged in");
        }
        own
    }
    fn ns_info(&mut self, asked: Option<&str>) {
        let own = self.account();
        let Some(name) = asked.map(Arc::from).or_else(|| own.clone()) else { return self.ns("You are not logged in") };
        let Some(account) = self.hall.books.account(&name).cloned() else { return self.ns("There is no such account") };
        let is_own = own.is_some_and(|own| names::fold(&own) == names::fold(&account.name));
        self.ns(&format!("Account: {}", account.name));
        self.ns(&format!("Registered at: {}", time_tag(Wall(account.registered))));
        // Why is between him and those who have done it.
        let is_private = is_own || self.hall.may(self.client.who, Privilege::Accounts);
        if let Some(suspended) = account.suspended.as_ref().filter(|suspended| suspended.holds(self.cx.wall.0)) {
            match is_private {
                true => self.ns(&format!("Suspended: {}", suspended.reason)),
                false => self.ns("Suspended"),
            }
        }
        if !is_private {
            return;
        }
        if let Some(email) = &account.email {
            self.ns(&format!("Email address: {email}"));
        }
        if let Some(host) = &account.vhost {
            self.ns(&format!("Host: {host}"));
        }
        let rooms: Vec<Box<str>> = self.hall.books.rooms_of(&account.name).map(|room| room.name.clone()).collect();
        for room in rooms {
            self.ns(&format!("Registered channel: {room}"));
        }
    }

    // Changing it.

    /// Stores an account anew, as `change` makes it of what it is when it is the client's turn.
    fn ns_store(&mut self, account: Account, done: &'static str) {
        let plan = Plan::new(vec![Change::Account(Arc::new(account))], Hall::settle);
        self.accomplish(plan, move |talk, stored| match stored {
            Ok(()) => talk.ns(done),
            Err(why) => talk.ns(why.text()),
        });
    }
    fn ns_passwd(&mut self, current: &str, new: &str, again: &str) {
        let Some(account) = self.ns_own() else { return };
        if new != again {
            return self.ns("The new passwords differ");
        }
        let limit = self.hall.limits.password_bytes_max;
        let new = match prepared(new, limit) {
            Ok(new) => new,
            Err(why) => {
                let why = self.bad_password(why);
                return self.ns(why);
            }
        };
        if !self.may_try(&account.name) {
            return self.ns(TOO_OFTEN);
        }
        let name = account.name.clone();
        let current = prepared(current, limit).unwrap_or_default();
        self.verify(&current, account.password.clone(), move |talk, done| match done {
            Ok(true) => talk.hash(&new, move |talk, hashed| {
                let Ok(hashed) = hashed else { return talk.ns(BUSY) };
                talk.forgive_tries(&name);
                let Some(account) = talk.hall.books.account(&name).cloned() else { return talk.ns(WRONG) };
                let (password, scram) = (Some(hashed.password), Some(hashed.scram));
                talk.ns_store(Account { password, scram, ..Account::clone(&account) }, "Password changed");
            }),
            Ok(false) => talk.ns(WRONG),
            Err(NotNow) => {
                talk.take_try_back(&name);
                talk.ns(BUSY);
            }
        });
    }
    fn ns_set(&mut self, setting: &str, value: &str) {
        let Some(account) = self.ns_own() else { return };
        let mut account = Account::clone(&account);
        let chosen = match value.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(Some(true)),
            "off" | "false" | "no" => Ok(Some(false)),
            "default" => Ok(None),
            _ => Err(()),
        };
        match (setting.to_ascii_lowercase().as_str(), chosen) {
            ("multiclient", Ok(chosen)) => account.settings.multiclient = chosen,
            ("always-on", Ok(chosen)) => account.settings.always_on = chosen,
            ("auto-away", Ok(chosen)) => account.settings.auto_away = chosen,
            ("autoreplay-lines", _) if value.eq_ignore_ascii_case("default") => {
                account.settings.autoreplay_lines = None;
            }
            ("autoreplay-lines", _) => match value.parse::<u32>() {
                Ok(lines) if lines <= AUTOREPLAY_MAX => account.settings.autoreplay_lines = Some(lines),
                Ok(_) | Err(_) => return self.ns("It is a number of lines, at most 1000, or default"),
            },
            ("email", _) if is_email(value) => account.email = Some(value.into()),
            ("email", _) => return self.ns("That is no address"),
            ("multiclient" | "always-on" | "auto-away", Err(())) => return self.ns("It is on, off or default"),
            _ => return self.ns_no_setting(),
        }
        self.ns_store(account, "Successfully changed your account settings");
    }
    fn ns_get(&mut self, setting: &str) {
        let Some(account) = self.ns_own() else { return };
        let setting = setting.to_ascii_lowercase();
        match SETTINGS.iter().find(|(name, _)| *name == setting) {
            Some((name, _)) => {
                let value = self.ns_value(&account, name);
                self.ns(&format!("{name}: {value}"));
            }
            None => self.ns_no_setting(),
        }
    }
    fn ns_settings(&mut self) {
        let Some(account) = self.ns_own() else { return };
        for (name, _) in SETTINGS {
            let value = self.ns_value(&account, name);
            self.ns(&format!("{name}: {value}"));
        }
    }
    fn ns_no_setting(&mut self) {
        let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
        self.ns(&format!("There is no such setting; there are: {}", names.join(", ")));
    }
    /// What somebody has chosen, and what comes of it.
    fn ns_value(&self, account: &Account, setting: &str) -> String {
        let options = self.client.chat.options().accounts;
        let word = |on: bool| if on { "on" } else { "off" };
        let told = |chosen: Option<bool>, holds: bool| match chosen {
            Some(chosen) if chosen != holds => format!("{}, and {} by this server", word(chosen), word(holds)),
            Some(chosen) => word(chosen).to_owned(),
            None => format!("default, which is {}", word(holds)),
        };
        let settings = &account.settings;
        match setting {
            "multiclient" => told(settings.multiclient, settings.multiclient.unwrap_or(options.multiclient)),
            "auto-away" => told(settings.auto_away, settings.auto_away.unwrap_or(true)),
            "always-on" => told(settings.always_on, options.always_on.holds(settings.always_on)),
            "autoreplay-lines" => settings.autoreplay_lines.unwrap_or(0).to_string(),
            _ => account.email.as_deref().unwrap_or("none").to_owned(),
        }
    }

    // Certificates.

    fn ns_cert_list(&mut self) {
        let Some(account) = self.ns_own() else { return };
        self.ns(&format!("There are {} certificate fingerprint(s) that open your account", account.certs.len()));
        for print in &account.certs {
            self.ns(&hex(print));
        }
    }
    fn ns_cert_add(&mut self, written: Option<&str>) {
        let Some(account) = self.ns_own() else { return };
        let print = match written {
            Some(written) => read_print(written),
            None => self.client.cert.as_deref().copied(),
        };
        let Some(print) = print else {
            return self.ns(match written {
                Some(_) => "That is no fingerprint: 64 digits of the SHA-256 of a certificate",
                None => "You have not shown a certificate",
            });
        };
        if self.hall.books.account_by_cert(&print).is_some() {
            return self.ns("That certificate opens an account already");
        }
        if account.certs.len() >= self.hall.limits.certs_per_account_max {
            return self.ns("Your account has as many certificates as it may");
        }
        let mut account = Account::clone(&account);
        account.certs.push(print);
        self.ns_store(account, "Certificate fingerprint successfully added");
    }
    fn ns_cert_del(&mut self, written: &str) {
        let Some(account) = self.ns_own() else { return };
        let mut account = Account::clone(&account);
        let before = account.certs.len();
        let print = read_print(written);
        account.certs.retain(|known| Some(*known) != print);
        if account.certs.len() == before {
            return self.ns("Your account has no such certificate");
        }
        self.ns_store(account, "Certificate fingerprint successfully removed");
    }

    // The end of it.

    fn ns_unregister(&mut self, asked: &str, code: Option<&str>) {
        let keeps = self.hall.may(self.client.who, Privilege::Accounts);
        let other = if keeps { self.hall.books.account(asked).cloned() } else { None };
        let Some(account) = other.or_else(|| self.ns_own()) else { return };
        if names::fold(asked) != names::fold(&account.name) {
            return self.ns("That is not your account");
        }
        let expect = self.ns_code(&account);
        let Some(code) = code else {
            self.ns(&format!(
                "Account {}, and the channels that it has registered, would be gone for good.",
                account.name
            ));
            return self.ns(&format!("To confirm, say: /msg NickServ UNREGISTER {} {expect}", account.name));
        };
        if !bool::from(code.as_bytes().ct_eq(expect.as_bytes())) {
            return self.ns("That is not the code");
        }
        let name = account.name.clone();
        let rooms = self.hall.books.rooms_of(&name).map(|room| self.hall.unregistered(room));
        let changes: Vec<Change> = rooms.chain([Change::NoAccount(names::fold(&name).into())]).collect();
        let whose = name.clone();
        let plan = Plan::new(changes, move |hall, tell| hall.drop_account(&whose, tell));
        self.accomplish(plan, move |talk, done| match done {
            Ok(()) => {
                talk.ns(&format!("Successfully unregistered account {name}"));
                if talk.account().is_some_and(|own| names::fold(&own) == names::fold(&name)) {
                    talk.logged_out();
                }
            }
            Err(why) => talk.ns(why.text()),
        });
    }
    /// What confirms that an account is to go: the same until then, and known to its owner alone.
    fn ns_code(&self, account: &Account) -> String {
        let key = self.client.chat.options().cloak_key;
        // A key may have any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
        mac.update(format!("unregister {} {}", account.name, account.registered).as_bytes());
        hex(&mac.finalize().into_bytes()[..4])
    }
}

/// As people write it: digits in small or capital letters, in pairs or not.
fn read_print(written: &str) -> Option<CertPrint> {
    let digits: Vec<u8> = written.bytes().filter(|byte| *byte != b':').collect();
    if digits.len() != 64 {
        return None;
    }
    let mut print = [0; 32];
    for (byte, pair) in print.iter_mut().zip(digits.chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(print)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_as_people_write_them() {
        let digits = "0f".repeat(32);
        assert_eq!(read_print(&digits), Some([15; 32]));
        assert_eq!(read_print(&digits.to_uppercase()), Some([15; 32]));
        assert_eq!(read_print(&vec!["0F"; 32].join(":")), Some([15; 32]));
        for text in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"+f".repeat(32)] {
            assert_eq!(read_print(text), None, "{text}");
        }
        assert_eq!(hex(&[15; 32]), digits);
    }
}
