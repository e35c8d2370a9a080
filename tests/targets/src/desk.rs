//! The chat's desks, without a disk and without the time that a good hash takes.
use sotong_chat::{
    books::{Answer, Ask, Hashed, ScramKeys, StoreFault},
    lookups::Find,
};

/// What a desk answers; `fails` where its disk or its memory is at an end.
pub fn answer(ask: &Ask, fails: bool) -> Answer {
    match ask {
        Ask::Store(ticket, _) if fails => {
            Answer::Stored(*ticket, Err(StoreFault { why: "the disk is full".into(), since: *ticket }))
        }
        Ask::Store(ticket, _) => Answer::Stored(*ticket, Ok(())),
        Ask::Hash(ticket, _) if fails => Answer::Hashed(*ticket, None),
        Ask::Hash(ticket, secret) => {
            let scram = ScramKeys::new(secret.bytes(), [7; 16], 1);
            Answer::Hashed(*ticket, Some(Hashed { password: hash(secret.bytes()), scram }))
        }
        Ask::Verify(ticket, secret, kept) => {
            Answer::Verified(*ticket, !fails && kept.as_deref() == Some(&*hash(secret.bytes())))
        }
        Ask::Look(ticket, question) => {
            let found = match question.find() {
                Find::Name(_) => "host.example",
                Find::User { .. } => "user",
            };
            Answer::Found(*ticket, (!fails).then(|| found.into()))
        }
    }
}

/// Not a hash at all, but one to one.
fn hash(secret: &[u8]) -> Box<str> {
    format!("plain:{}", String::from_utf8_lossy(secret)).into()
}
