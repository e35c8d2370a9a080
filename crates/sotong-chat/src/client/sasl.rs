//! SASL: AUTHENTICATE (IRCv3 SASL 3.1 and 3.2), with PLAIN (RFC 4616), EXTERNAL (RFC 4422 appendix A) and SCRAM-SHA-256 (RFC
//! 7677); before a client has registered and later, as often as it likes.
use super::{Stage, Talk, waits::NotNow};
use crate::books::{Account, BadPassword, Challenge, Change, First, Refused, ScramKeys, prepared};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use sotong_irc::{Message, Numeric, names, numeric};
use std::sync::Arc;

/// Mechanisms, as they are offered.
pub(crate) const MECHANISMS: &str = "PLAIN,EXTERNAL,SCRAM-SHA-256";
/// Characters of one AUTHENTICATE; one that is shorter is the last of its message.
const CHUNK: usize = 400;
/// Characters of a whole message: four chunks. A password and two names have room in it.
const MESSAGE_MAX: usize = 4 * CHUNK;

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Sasl {
    stage: Exchange,
    /// What has come of a message that is not whole.
    message: String,
}

#[derive(Debug)]
enum Exchange {
    Plain,
    External,
    ScramFirst,
    ScramFinal {
        challenge: Challenge,
        /// The name that was given, and the account, if there is one.
        name: String,
        account: Option<Arc<Account>>,
    },
    /// The client knows by now that the server knows the keys, and has nothing left to say.
    ScramDone {
        name: String,
        account: Arc<Account>,
    },
}

impl Talk<'_, '_> {
    pub(super) fn authenticate(&mut self, message: &Message<'_>) {
        let Some(said) = message.param(0) else { return self.needs_more("AUTHENTICATE") };
        let Some(mut sasl) = self.client.sasl.take() else { return self.begin_sasl(said) };
        if said == "*" {
            return self.reply(numeric::ERR_SASLABORTED, &[], "SASL authentication aborted");
        }
        if said.len() > CHUNK {
            return self.reply(numeric::ERR_SASLTOOLONG, &[], "SASL message too long");
        }
        if said != "+" {
            sasl.message.push_str(said);
            if sasl.message.len() > MESSAGE_MAX {
                self.hit("sasl_bytes_max");
                return self.sasl_failed("the message is too long");
            }
            if said.len() == CHUNK {
                self.client.sasl = Some(sasl);
                return;
            }
        }
        match STANDARD.decode(std::mem::take(&mut sasl.message)) {
            Ok(message) => self.go_on(*sasl, &message),
            Err(_) => self.sasl_failed("that is not base64"),
        }
    }
    fn begin_sasl(&mut self, mechanism: &str) {
        let stage = match mechanism.to_ascii_uppercase().as_str() {
            "*" => return self.reply(numeric::ERR_SASLABORTED, &[], "SASL authentication aborted"),
            "PLAIN" => Exchange::Plain,
            "EXTERNAL" => Exchange::External,
            "SCRAM-SHA-256" => Exchange::ScramFirst,
            _ => {
                self.reply(numeric::RPL_SASLMECHS, &[&MECHANISMS], "are available SASL mechanisms");
                return self.sasl_failed("there is no such mechanism");
            }
        };
        self.client.sasl = Some(Box::new(Sasl { stage, message: String::new() }));
        self.challenge(b"");
    }
    /// A message is whole.
    fn go_on(&mut self, sasl: Sasl, message: &[u8]) {
        match sasl.stage {
            Exchange::Plain => self.plain(message),
            Exchange::External => self.external(message),
            Exchange::ScramFirst => self.scram_first(message),
            Exchange::ScramFinal { challenge, name, account } => self.scram_final(&challenge, name, account, message),
            Exchange::ScramDone { name, account } if message.is_empty() => self.scram_done(&name, &account),
            Exchange::ScramDone { .. } => self.sasl_failed("there was nothing left to say"),
        }
    }

    fn plain(&mut self, message: &[u8]) {
        // authzid NUL authcid NUL passwd; there is no NUL in any of them (RFC 4616 §2).
        let parts = std::str::from_utf8(message).map(|text| text.split('\0').collect::<Vec<_>>());
        let Ok([acts_as, name, password]) = parts.as_deref() else {
            return self.sasl_failed("that is no message of PLAIN");
        };
        if name.is_empty() || !acts_as.is_empty() && names::fold(acts_as) != names::fold(name) {
            return self.sasl_failed("nobody may act as somebody else");
        }
        let name = (*name).to_owned();
        self.check_password(&name, password, |talk, name, done| match done {
            Ok(account) => talk.sasl_done(name, &account),
            Err(why) => talk.sasl_failed(why),
        });
    }
    /// Checks a password, and goes on with the account it opens; it counts as a try. What the account's name was given as comes
    /// with it.
    pub(super) fn check_password(
        &mut self,
        name: &str,
        password: &str,
        then: impl FnOnce(&mut Talk<'_, '_>, &str, Result<Arc<str>, &'static str>) + Send + 'static,
    ) {
        if !self.may_try(name) {
            return then(self, name, Err(TOO_OFTEN));
        }
        let limit = self.hall.limits.password_bytes_max;
        let password = match prepared(password, limit) {
            Ok(password) => password,
            Err(why) => {
                self.bad_password(why);
                return then(self, name, Err(WRONG));
            }
        };
        let known = self.hall.books.account(name);
        let hash = known.and_then(|account| account.password.clone());
        let name = name.to_owned();
        self.verify(&password, hash.clone(), move |talk, done| match done {
            // Since then the account may be somebody else's, or have another password.
            Ok(true) if talk.hall.books.account(&name).is_none_or(|now| now.password != hash) => {
                then(talk, &name, Err(WRONG));
            }
            Ok(true) => talk.when_stored(&name.clone(), move |talk, done| {
                let account = done.and_then(|()| talk.open_account(&name));
                then(talk, &name, account);
            }),
            Ok(false) => then(talk, &name, Err(WRONG)),
            Err(NotNow) => {
                talk.take_try_back(&name);
                then(talk, &name, Err(BUSY));
            }
        });
    }
    /// Goes on once what opens an account is on disk: somebody may log in while it is being made, or has another password that
    /// is not stored yet and perhaps never will be. What is written again is written behind that.
    fn when_stored(
        &mut self,
        name: &str,
        then: impl FnOnce(&mut Talk<'_, '_>, Result<(), &'static str>) + Send + 'static,
    ) {
        let Some(account) = self.hall.books.account(name).filter(|account| !self.hall.books.is_stored(account)) else {
            return then(self, Ok(()));
        };
        let again = Change::Account(Arc::clone(account));
        self.store(&[again], |talk, done| {
            then(talk, done.map_err(|why| if why == Refused::Busy { BUSY } else { why.text() }));
        });
    }
    fn external(&mut self, message: &[u8]) {
        let Some(print) = self.client.cert.clone() else { return self.sasl_failed("there is no certificate") };
        let Some(account) = self.hall.books.account_by_cert(&print).map(|account| account.name.clone()) else {
            return self.sasl_failed("nobody has that certificate");
        };
        let acts_as = std::str::from_utf8(message).unwrap_or("\0");
        if !acts_as.is_empty() && names::fold(acts_as) != names::fold(&account) {
            return self.sasl_failed("nobody may act as somebody else");
        }
        match self.open_account(&account) {
            Ok(name) => self.sasl_done(&account, &name),
            Err(why) => self.sasl_failed(why),
        }
    }
    fn scram_first(&mut self, message: &[u8]) {
        let Ok(first) = First::parse(message) else { return self.sasl_failed("that is no message of SCRAM") };
        let is_other = |acts_as: &String| names::fold(acts_as) != names::fold(&first.name);
        if first.acts_as.as_ref().is_some_and(is_other) {
            return self.sasl_failed("nobody may act as somebody else");
        }
        if !self.may_try(&first.name) {
            return self.sasl_failed(TOO_OFTEN);
        }
        let secret = self.client.chat.options().cloak_key;
        let known = self.hall.books.account(&first.name);
        let keys = known.and_then(|account| Some((account.scram.clone()?, Arc::clone(account))));
        let (keys, account) = match keys {
            Some((keys, account)) => (keys, Some(account)),
            None => (ScramKeys::stand_in(&names::fold(&first.name), &secret), None),
        };
        let nonce = self.secret_word("nonce");
        let (challenge, message) = Challenge::new(&first, keys, &nonce);
        let stage = Exchange::ScramFinal { challenge, name: first.name, account };
        self.client.sasl = Some(Box::new(Sasl { stage, message: String::new() }));
        self.challenge(message.as_bytes());
    }
    fn scram_final(&mut self, challenge: &Challenge, name: String, account: Option<Arc<Account>>, message: &[u8]) {
        match (challenge.finish(message), account) {
            (Ok(proof), Some(account)) => {
                let stage = Exchange::ScramDone { name, account };
                self.client.sasl = Some(Box::new(Sasl { stage, message: String::new() }));
                self.challenge(proof.as_bytes());
            }
            (Ok(_) | Err(_), _) => self.sasl_failed(WRONG),
        }
    }
    fn scram_done(&mut self, name: &str, account: &Account) {
        // He has proved what was so when he began: since then the account may be somebody else's, or have another password.
        if self.hall.books.account(name).is_none_or(|now| now.scram != account.scram) {
            return self.sasl_failed(WRONG);
        }
        self.sasl_done(name, &(&*account.name).into());
    }
    fn sasl_done(&mut self, name: &str, account: &Arc<str>) {
        let (name, account) = (name.to_owned(), Arc::clone(account));
        self.when_stored(&name.clone(), move |talk, done| {
            // Suspended meanwhile, or dropped: a proof takes its time.
            if let Err(why) = done.and_then(|()| talk.open_account(&name)) {
                return talk.sasl_failed(why);
            }
            talk.forgive_tries(&name);
            talk.logged_in(&account, true);
        });
    }
    pub(super) fn sasl_failed(&mut self, why: &str) {
        self.client.sasl = None;
        self.reply(numeric::ERR_SASLFAIL, &[], format_args!("SASL authentication failed: {why}"));
    }
    /// The server's part of an exchange, in as many pieces as it takes.
    fn challenge(&mut self, message: &[u8]) {
        let text = STANDARD.encode(message);
        let mut rest = text.as_str();
        while rest.len() >= CHUNK {
            let (chunk, after) = rest.split_at(CHUNK);
            self.authenticate_line(chunk);
            rest = after;
        }
        self.authenticate_line(if rest.is_empty() { "+" } else { rest });
    }
    fn authenticate_line(&mut self, text: &str) {
        self.say(&[&"AUTHENTICATE", &text], None);
    }

    // For all who log in.

    /// Whether another password may be tried for this name from here.
    pub(super) fn may_try(&mut self, name: &str) -> bool {
        let most = self.client.chat.options().accounts.login_attempts;
        let may = self.hall.books.throttle.tries(&names::fold(name), self.client.ip, self.cx.now, most);
        if !may {
            self.client.chat.counters.hit("login_attempts");
        }
        may
    }
    /// Why a password cannot be one, as people are told; one that is too long is counted.
    pub(super) fn bad_password(&self, why: BadPassword) -> &'static str {
        if why == BadPassword::TooLong {
            self.hit("password_bytes_max");
        }
        why.text()
    }
    pub(super) fn take_try_back(&mut self, name: &str) {
        self.hall.books.throttle.take_back(&names::fold(name), self.client.ip);
    }
    /// The last try was right.
    pub(super) fn forgive_tries(&mut self, name: &str) {
        self.hall.books.throttle.forgive(&names::fold(name), self.client.ip);
    }
    /// The account that somebody has proved to have, by its name as it was registered, if this client may log in to it.
    fn open_account(&mut self, name: &str) -> Result<Arc<str>, &'static str> {
        let Some(account) = self.hall.books.account(name) else { return Err(WRONG) };
        if account.suspended.as_ref().is_some_and(|suspended| suspended.holds(self.cx.wall.0)) {
            return Err("that account is suspended");
        }
        let name: Arc<str> = (&*account.name).into();
        if self.account().is_some_and(|own| own != name) && !self.may_log_in() {
            return Err("other clients of yours are logged in to another account");
        }
        Ok(name)
    }
    /// The account that the client is logged in to.
    pub(super) fn account(&self) -> Option<Arc<str>> {
        match &self.client.stage {
            Stage::New(newcomer) => newcomer.account.clone(),
            Stage::Here | Stage::Over => self.hall.user(self.client.who)?.account.clone(),
        }
    }
    /// Logs the client in, and says so; by SASL, or in another way.
    pub(super) fn logged_in(&mut self, account: &Arc<str>, by_sasl: bool) {
        let mask = self.mask();
        let text = format!("You are now logged in as {account}");
        self.reply(numeric::RPL_LOGGEDIN, &[&mask, account], text);
        if by_sasl {
            self.reply(numeric::RPL_SASLSUCCESS, &[], "SASL authentication successful");
        }
        self.log_in(Some(account));
    }
    pub(super) fn logged_out(&mut self) {
        let mask = self.mask();
        self.reply(numeric::RPL_LOGGEDOUT, &[&mask], "You are now logged out");
        self.log_in(None);
    }
    fn mask(&self) -> Arc<str> {
        match self.hall.user(self.client.who) {
            Some(user) => Arc::clone(&user.source),
            None => format!("{}!*@{}", self.nick(), self.client.host).into(),
        }
    }
    /// A word that nobody can foresee, and that comes once.
    pub(super) fn secret_word(&mut self, what: &str) -> String {
        let mut random = [0; 16];
        self.cx.host.random(&mut random);
        let mut hash = Sha256::new();
        hash.update(self.client.chat.options().cloak_key);
        hash.update(self.hall.books.ticket().0.to_le_bytes());
        hash.update(random);
        hash.update(what);
        STANDARD.encode(&hash.finalize()[..18])
    }
}

/// The same whatever is wrong: whether there is such an account is nobody's business.
pub(super) const WRONG: &str = "Invalid account credentials";
pub(super) const BUSY: &str = "the server has too much to do; try again later";
pub(super) const TOO_OFTEN: &str = "too many attempts; try again in a minute";

/// An answer that ends an exchange by a registration in the midst of it.
pub(super) const ABORTED: (Numeric, &str) = (numeric::ERR_SASLABORTED, "SASL authentication aborted");

#[cfg(test)]
mod tests;
