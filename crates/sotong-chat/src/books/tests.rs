use super::*;
use sotong_session::{Address, Desk, Topic};

/// A host whose desk takes so many questions.
#[derive(Default)]
struct Asked {
    room: usize,
    changes: Vec<Vec<Change>>,
}

impl Host<Mail> for Asked {
    fn post(&mut self, _: Address, _: Mail) {}
    fn publish(&mut self, _: Topic, _: Option<Address>, _: Mail) {}
    fn join(&mut self, _: Topic, _: Address) {}
    fn leave(&mut self, _: Topic, _: Address) {}
    fn ask(&mut self, desk: Desk, mail: Mail) -> Result<(), Mail> {
        assert_eq!(desk, STORE);
        if self.room == 0 {
            return Err(mail);
        }
        self.room -= 1;
        if let Some(Ask::Store(_, changes)) = mail.asked() {
            self.changes.push(changes.clone());
        }
        Ok(())
    }
    fn random(&mut self, _: &mut [u8]) {}
}

fn account(name: &str, certs: &[CertPrint]) -> Change {
    Change::Account(Arc::new(Account { certs: certs.to_vec(), ..Account::new(name, 1) }))
}
fn room(name: &str, founder: &str, topic: &str) -> Change {
    let topic = TopicRecord { text: topic.into(), by: founder.into(), at: 1 };
    Change::Room(Arc::new(RoomRecord { topic: Some(topic), ..RoomRecord::new(name, founder, 1) }))
}

#[test]
fn names_are_kept_as_given_and_found_by_their_folds() {
    let (mut books, mut host) = (Books::default(), Asked { room: 9, ..Asked::default() });
    let limits = ChatLimits::default();
    let done = books.change(&[account("MinSu", &[[1; 32]]), room("#점심", "minsu", "밥")], &limits, &mut host);
    assert!(done.is_ok());
    assert_eq!(books.account("mINSU").map(|account| &*account.name), Some("MinSu"));
    assert_eq!(books.account_by_cert(&[1; 32]).map(|account| &*account.name), Some("MinSu"));
    assert_eq!(books.rooms_of("MINSU").count(), 1);
    assert_eq!(books.account_like("Minѕu").map(|account| &*account.name), Some("MinSu"), "a Cyrillic letter");
    assert!(books.account_like("Minsoo").is_none());
    assert_eq!(host.changes.len(), 1);
    assert!(books.change(&[account("minsu", &[])], &limits, &mut host).is_ok());
    assert_eq!(books.account("MinSu").map(|account| &*account.name), Some("minsu"));
    assert!(books.account_by_cert(&[1; 32]).is_none());
    assert!(books.change(&[Change::NoAccount("minsu".into())], &limits, &mut host).is_ok());
    assert!(books.account("minsu").is_none() && books.account_like("Minѕu").is_none() && books.looks.is_empty());
}

#[test]
fn what_the_desk_does_not_take_has_not_happened() {
    let (mut books, mut host) = (Books::default(), Asked::default());
    let limits = ChatLimits::default();
    let done = books.change(&[account("a", &[])], &limits, &mut host);
    assert_eq!(done.err(), Some(Refused::Busy));
    assert!(books.account("a").is_none());
}

#[test]
fn what_was_not_stored_is_taken_back_and_nothing_more_is_taken() {
    let (mut books, mut host) = (Books::default(), Asked { room: 4, ..Asked::default() });
    let limits = ChatLimits::default();
    let first = vec![account("a", &[[1; 32]]), room("#a", "a", "1")];
    let first = books.change(&first, &limits, &mut host).expect("it is taken");
    let before = books.account("a").cloned();
    let second = vec![account("A", &[[2; 32]]), Change::NoRoom("#a".into()), account("b", &[])];
    let second = books.change(&second, &limits, &mut host).expect("it is taken");
    books.change(&[account("A", &[[3; 32]])], &limits, &mut host).expect("it is taken");
    assert!(books.room("#a").is_none());
    // That the first is on disk nobody was there to hear.
    assert!(first < second);
    books.answered(&Answer::Stored(second, Err(StoreFault { why: "no disk".into(), since: second })));
    assert_eq!(books.account("a").cloned(), before);
    assert!(books.room("#a").is_some() && books.account("b").is_none());
    assert!(books.account_by_cert(&[1; 32]).is_some() && books.account_by_cert(&[2; 32]).is_none());
    assert_eq!(books.change(&[account("c", &[])], &limits, &mut host).err(), Some(Refused::Broken));
    books.note(&[room("#b", "a", "1")], &mut host);
    assert!(books.room("#b").is_none() && host.changes.len() == 3);
}

#[test]
fn what_opens_an_account_is_sure_once_it_is_stored() {
    let (mut books, mut host) = (Books::default(), Asked { room: 9, ..Asked::default() });
    let limits = ChatLimits::default();
    let is_stored = |books: &Books, name: &str| books.account(name).is_some_and(|account| books.is_stored(account));
    let first = books.change(&[account("a", &[[1; 32]]), account("b", &[])], &limits, &mut host).expect("it is taken");
    assert!(!is_stored(&books, "a") && !is_stored(&books, "b"));
    books.answered(&Answer::Stored(first, Ok(())));
    assert!(is_stored(&books, "a") && is_stored(&books, "b"));
    // Another certificate opens it otherwise; whatever else changes does not.
    books.change(&[account("a", &[[2; 32]])], &limits, &mut host).expect("it is taken");
    let named = Change::Account(Arc::new(Account { email: Some("b@example.org".into()), ..Account::new("b", 1) }));
    books.change(&[named], &limits, &mut host).expect("it is taken");
    assert!(!is_stored(&books, "A") && is_stored(&books, "b"));
}

#[test]
fn what_has_to_wait_is_written_in_its_last_form_before_what_comes_later() {
    let (mut books, mut host) = (Books::default(), Asked::default());
    let limits = ChatLimits::default();
    books.note(&[room("#a", "a", "1")], &mut host);
    books.note(&[room("#a", "a", "2")], &mut host);
    assert_eq!(books.room("#a").and_then(|room| Some(room.topic.clone()?.text)).as_deref(), Some("2"));
    host.room = 1;
    // There is a place for what is older alone.
    assert_eq!(books.change(&[account("c", &[])], &limits, &mut host).err(), Some(Refused::Busy));
    assert_eq!(host.changes, [[room("#a", "a", "2")]]);
    host.room = 1;
    assert!(books.change(&[account("c", &[])], &limits, &mut host).is_ok());
    assert_eq!(host.changes.len(), 2);
}

#[test]
fn there_are_no_more_than_there_may_be() {
    let (mut books, mut host) = (Books::default(), Asked { room: 99, ..Asked::default() });
    let limits =
        ChatLimits { accounts_max: 1, registered_rooms_max: 2, rooms_per_account_max: 1, ..ChatLimits::default() };
    let mut change = |change| books.change(&[change], &limits, &mut host).err();
    assert_eq!(change(account("a", &[])), None);
    assert_eq!(change(account("b", &[])), Some(Refused::Full("accounts_max")));
    assert_eq!(change(account("A", &[])), None, "it is there already");
    assert_eq!(change(room("#a", "a", "1")), None);
    assert_eq!(change(room("#b", "a", "1")), Some(Refused::Full("rooms_per_account_max")));
    assert_eq!(change(room("#b", "b", "1")), None);
    assert_eq!(change(room("#c", "c", "1")), Some(Refused::Full("registered_rooms_max")));
    assert_eq!(change(room("#a", "a", "2")), None);
}
