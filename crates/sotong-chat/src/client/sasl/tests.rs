use super::*;
use crate::{
    ChatLimits, ChatOptions, ChatService, Guest, Mail,
    books::{Account, Answer, Ask, Hashed, Records},
};
use hmac::{Hmac, Mac};
use sotong_session::{End, Service, Way, Wire, rig::Rig};
use std::time::Duration;

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// A chat that knows `Scramtest` by `sesame`, and somebody who comes.
fn come() -> Rig<Guest> {
    let chat = ChatService::new(ChatOptions::default());
    let scram = Some(ScramKeys::new(b"sesame", [9; 16], 2));
    let password = Some("hash".into());
    let account = Account { scram, password, ..Account::new("Scramtest", 1) };
    chat.restore(Records { accounts: vec![account], ..Records::default() });
    let way = Way::new(End::Simulated(1), End::Simulated(2), Wire::Stream);
    let mut client = Rig::stream(chat.open(&way).expect("it is let in"));
    client.open_as(&way);
    client.input(b"CAP REQ sasl\r\n");
    client.sent();
    client
}
fn say(client: &mut Rig<Guest>, text: &str) -> String {
    client.input(format!("{text}\r\n").as_bytes());
    String::from_utf8(client.sent()).expect("UTF-8")
}
fn message(client: &mut Rig<Guest>, text: &str) -> String {
    say(client, &format!("AUTHENTICATE {}", STANDARD.encode(text)))
}
/// What the server has said in an AUTHENTICATE.
fn challenge(heard: &str) -> String {
    let text = heard.trim_end().rsplit(' ').next().unwrap_or_default();
    String::from_utf8(STANDARD.decode(text).expect("base64")).expect("UTF-8")
}

/// The client's side of RFC 5802 §3: its final message, and what the server must say to that.
fn finish(password: &str, name: &str, first: &str) -> (String, String) {
    let mut fields = first.split(',').map(|field| &field[2..]);
    let (nonce, salt, rounds) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
    let salt = STANDARD.decode(salt).expect("base64");
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, rounds.parse().expect("a number"), &mut salted);
    let key = mac(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={nonce}");
    let signed = format!("n={name},r=abc,{first},{without_proof}");
    let signature = mac(&Sha256::digest(key), signed.as_bytes());
    let proof: Vec<u8> = key.iter().zip(signature).map(|(key, other)| key ^ other).collect();
    let server = STANDARD.encode(mac(&mac(&salted, b"Server Key"), signed.as_bytes()));
    (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={server}"))
}

#[test]
fn scram_from_end_to_end() {
    let mut client = come();
    assert!(say(&mut client, "AUTHENTICATE SCRAM-SHA-256").ends_with(" AUTHENTICATE +\r\n"));
    let first = challenge(&message(&mut client, "n,,n=scramtest,r=abc"));
    assert!(first.starts_with("r=abc") && first.len() > 40, "{first}");
    let (last, proof) = finish("sesame", "scramtest", &first);
    assert_eq!(challenge(&message(&mut client, &last)), proof, "the server knows the keys too");
    let done = say(&mut client, "AUTHENTICATE +");
    assert!(done.contains(" 900 * *!*@sim-2 Scramtest :") && done.contains(" 903 * :"), "{done}");
}

#[test]
fn scram_with_a_wrong_password_and_a_wrong_name() {
    for (name, password) in [("Scramtest", "millet"), ("nobody", "sesame")] {
        let mut client = come();
        say(&mut client, "AUTHENTICATE SCRAM-SHA-256");
        // Whoever is not known is challenged as well.
        let first = challenge(&message(&mut client, &format!("n,,n={name},r=abc")));
        let (last, _) = finish(password, name, &first);
        let done = message(&mut client, &last);
        assert_eq!(done, ":sotong.local 904 * :SASL authentication failed: Invalid account credentials\r\n");
        // The same message again is no message of an exchange.
        assert!(message(&mut client, &last).contains(" 904 * :"));
    }
}

#[test]
fn nonces_come_once() {
    let mut client = come();
    let mut first = || {
        say(&mut client, "AUTHENTICATE SCRAM-SHA-256");
        let first = challenge(&message(&mut client, "n,,n=nobody,r=abc"));
        say(&mut client, "AUTHENTICATE *");
        first
    };
    let (one, other) = (first(), first());
    assert_ne!(one, other);
    let rest = |first: &str| first.split_once(',').map(|(_, rest)| rest.to_owned());
    assert_eq!(rest(&one), rest(&other), "salt and rounds are the same for the same name");
}

#[test]
fn nothing_is_read_while_a_desk_is_asked_and_no_password_is_lost() {
    let mut client = come();
    say(&mut client, "AUTHENTICATE PLAIN");
    assert_eq!(message(&mut client, "\0Scramtest\0sesame"), "");
    assert!(!client.takes());
    client.input(b"PING later\r\n");
    let asked = client.host().asked.pop().map(|(_, mail)| mail);
    let asked = asked.as_ref().and_then(Mail::asked).cloned();
    let Some(Ask::Verify(ticket, password, hash)) = asked else { panic!("it is to be verified: {asked:?}") };
    assert_eq!((password.bytes(), hash.as_deref()), (&b"sesame"[..], Some("hash")));
    // What answers another question changes nothing.
    client.mail(&Mail::answer(Answer::Verified(crate::books::Ticket(ticket.0 + 1), true)));
    assert!(client.sent().is_empty() && !client.takes());
    client.mail(&Mail::answer(Answer::Verified(ticket, true)));
    let heard = String::from_utf8(client.sent()).expect("UTF-8");
    let numbers: Vec<&str> = heard.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(numbers, ["900", "903", "PONG"], "{heard}");
}

/// What desks answer to all that is asked.
fn desks(client: &mut Rig<Guest>) {
    while let Some((_, mail)) = client.host().asked.pop() {
        let answer = match mail.asked().expect("a question") {
            Ask::Store(ticket, _) => Answer::Stored(*ticket, Ok(())),
            Ask::Verify(ticket, ..) => Answer::Verified(*ticket, true),
            Ask::Hash(ticket, password) => {
                let scram = ScramKeys::new(password.bytes(), [1; 16], 1);
                Answer::Hashed(*ticket, Some(Hashed { password: "hash".into(), scram }))
            }
            Ask::Look(ticket, _) => Answer::Found(*ticket, None),
        };
        client.mail(&Mail::answer(answer));
    }
    // There is nobody else here.
    for (_, mail) in std::mem::take(&mut client.host().posts) {
        client.mail(&mail);
    }
    client.advance(Duration::from_secs(10));
}

#[test]
fn one_address_makes_no_accounts_without_end() {
    let limits = ChatLimits { new_accounts_per_address: 1, ..ChatLimits::default() };
    let chat = ChatService::new(ChatOptions { limits, ..ChatOptions::default() });
    for (ip, expect) in [("192.0.2.1", "TEMPORARILY_UNAVAILABLE b"), ("127.0.0.1", "SUCCESS d")] {
        let peer = End::Net(format!("{ip}:5").parse().expect("an address"));
        let way = Way::new(End::Simulated(1), peer, Wire::Stream);
        let mut client = Rig::stream(chat.open(&way).expect("it is let in"));
        client.open_as(&way);
        let [one, other] = if ip == "127.0.0.1" { ["c", "d"] } else { ["a", "b"] };
        client.input(format!("NICK {one}\r\nUSER u 0 * :U\r\nREGISTER * * secret\r\n").as_bytes());
        desks(&mut client);
        client.input(b"NS LOGOUT\r\n");
        desks(&mut client);
        client.input(format!("REGISTER {other} * secret\r\n").as_bytes());
        desks(&mut client);
        let heard = String::from_utf8(client.sent()).expect("UTF-8");
        assert!(heard.contains(&format!("REGISTER SUCCESS {one} ")) && heard.contains(expect), "{heard}");
    }
    let limit = |name: &str| chat.counters().into_iter().find(|(limit, _)| *limit == name).map(|(_, count)| count);
    assert_eq!(limit("new_accounts_per_address"), Some(1));
}
