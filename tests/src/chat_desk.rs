//! The chat's desks, as a test wants them: at once, later, busy or failing; nothing is hashed for real.
use sotong_chat::{
    Mail,
    books::{Answer, Ask, Hashed, SALT_BYTES, ScramKeys, StoreFault, Ticket},
    lookups::Find,
};
use sotong_session::Address;
use sotong_shard::{DeskQueue, Exchange};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// What a desk does with what it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers at once.
    #[default]
    Ready,
    /// It takes its time: what is asked waits.
    Held,
    /// It takes no work.
    Busy,
    /// It fails at all that it is asked.
    Failing,
}

/// One desk.
#[derive(Debug, Default)]
pub struct ChatDesk {
    state: Mutex<(Mood, VecDeque<(Address, Mail)>)>,
}

impl ChatDesk {
    /// Makes it so from now on.
    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = mood;
    }
    /// Answers what was asked, if it does so now. Whether there was anything.
    pub fn work(&self, exchange: &Exchange<Mail>) -> bool {
        let mut done = false;
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mood = state.0;
            if mood == Mood::Held {
                return done;
            }
            let Some((from, mail)) = state.1.pop_front() else { return done };
            drop(state);
            exchange.post(from, answer(&mail, mood == Mood::Failing));
            done = true;
        }
    }
}

/// A desk as sessions see it.
#[derive(Clone, Debug)]
pub struct Queue(pub Arc<ChatDesk>);

impl DeskQueue<Mail> for Queue {
    fn ask(&self, from: Address, mail: Mail) -> Result<(), Mail> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 == Mood::Busy {
            return Err(mail);
        }
        state.1.push_back((from, mail));
        Ok(())
    }
}

/// What a desk says to a question. A password's hash is the password behind a sign: no test waits for argon2.
pub fn answer(mail: &Mail, fails: bool) -> Mail {
    Mail::answer(match mail.asked() {
        Some(Ask::Store(ticket, _)) if fails => {
            Answer::Stored(*ticket, Err(StoreFault { why: "no disk".into(), since: *ticket }))
        }
        Some(Ask::Store(ticket, _)) => Answer::Stored(*ticket, Ok(())),
        Some(Ask::Hash(ticket, _)) if fails => Answer::Hashed(*ticket, None),
        Some(Ask::Hash(ticket, password)) => {
            let scram = ScramKeys::new(password.bytes(), [7; SALT_BYTES], 1);
            let password = format!("$test${}", String::from_utf8_lossy(password.bytes())).into();
            Answer::Hashed(*ticket, Some(Hashed { password, scram }))
        }
        Some(Ask::Verify(ticket, password, hash)) => {
            let is_right =
                hash.as_deref().and_then(|hash| hash.strip_prefix("$test$").or(hash.strip_prefix("$argon2test$")));
            let is_right = is_right.map(str::as_bytes);
            Answer::Verified(*ticket, !fails && is_right == Some(password.bytes()))
        }
        Some(Ask::Look(ticket, question)) => {
            let found = if fails || !question.is_wanted() { None } else { looked_up(question.find()) };
            Answer::Found(*ticket, found)
        }
        None => Answer::Verified(Ticket(0), false),
    })
}

/// Addresses of 203.0.113.0/24 have names, and connections from even ports users.
fn looked_up(find: Find) -> Option<Box<str>> {
    match find {
        Find::Name(ip) => {
            let number = ip.to_string().strip_prefix("203.0.113.")?.to_owned();
            Some(format!("host-{number}.example").into())
        }
        Find::User { remote, .. } if remote.port() % 2 == 0 => Some(format!("u{}", remote.port()).into()),
        Find::User { .. } => None,
    }
}
