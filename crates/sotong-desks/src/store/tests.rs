use super::*;
use sotong_chat::books::{
    Account, BanRecord, Change, MaskRecord, Presence, RoomRecord, ScramKeys, Settings, Suspension, TopicRecord,
};
use std::process::Command;

struct Scratch(PathBuf);
impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sotong-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
    fn open(&self) -> (Store, Records) {
        Store::open(DataFolder::take(&self.0).expect("it is free")).expect("it opens")
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn account() -> Account {
    Account {
        password: Some("$argon2id$…".into()),
        scram: Some(ScramKeys { salt: [1; 16], rounds: 4096, stored: [2; 32], server: [3; 32] }),
        certs: vec![[9; 32], [4; 32]],
        email: Some("minsu@example.org".into()),
        vhost: Some("a.b".into()),
        suspended: Some(Suspension { by: "root".into(), reason: "왜".into(), at: 5, until: Some(6) }),
        settings: Settings { multiclient: Some(false), autoreplay_lines: Some(20), ..Settings::default() },
        presence: Some(Presence {
            nick: "민수_".into(),
            user: "~m".into(),
            host: "1a2b.cloak".into(),
            real: "김민수".into(),
            modes: "i".into(),
            away: Some("밥".into()),
            rooms: vec![("#점심".into(), "o".into()), ("#a".into(), "".into())],
            seen: 77,
        }),
        keys: [("avatar".into(), "https://example.org".into())].into(),
        ..Account::new("민수", 4)
    }
}
fn room() -> RoomRecord {
    let entry = |list, mask: &str, until| MaskRecord { list, mask: mask.into(), by: "a!b@c".into(), at: 8, until };
    RoomRecord {
        topic: Some(TopicRecord { text: "밥 먹자".into(), by: "a!b@c".into(), at: 9 }),
        modes: [('k', Some("열쇠".into())), ('s', None)].into(),
        lists: vec![entry('b', "z!*@*", Some(10)), entry('I', "*!*@a", None), entry('b', "a!*@*", None)],
        ranks: [("영희".into(), 'a')].into(),
        settings: [("slow".into(), "5".into())].into(),
        keys: [("url".into(), "https://example.org".into())].into(),
        ..RoomRecord::new("#점심", "민수", 7)
    }
}
fn ban() -> BanRecord {
    BanRecord {
        mask: "192.0.2.0/24".into(),
        by: "root".into(),
        reason: "spam".into(),
        oper_reason: None,
        at: 1,
        until: Some(2),
    }
}
fn ask(number: u64, changes: Vec<Change>) -> Mail {
    Mail::ask(Ask::Store(Ticket(number), changes))
}
fn is_done(mail: &Mail) -> bool {
    format!("{mail:?}").contains("Ok(())")
}

#[test]
fn what_is_stored_is_there_when_it_is_opened_again() {
    let scratch = Scratch::new("again");
    let (mut store, records) = scratch.open();
    assert_eq!(records, Records::default());
    let (account, room, ban) = (account(), room(), ban());
    let occupied = RoomRecord { modes: [('k', Some("key".into()))].into(), created: 3, ..RoomRecord::occupied("#z") };
    let changes = vec![
        Change::Account(Arc::new(account.clone())),
        Change::Room(Arc::new(room.clone())),
        Change::Room(Arc::new(occupied.clone())),
        Change::Ban(Arc::new(ban.clone())),
    ];
    assert!(is_done(&store.work(&ask(1, changes))));
    drop(store);
    let (mut store, records) = scratch.open();
    assert_eq!(
        records,
        Records { accounts: vec![account.clone()], rooms: vec![occupied, room.clone()], bans: vec![ban.clone()] }
    );
    // Anew with less, and another.
    let (less, plain) = (Account::new("민수", 4), RoomRecord::new("#점심", "민수", 7));
    let other = Account::new("Other", 5);
    let answers = store.work_all(&[
        ask(
            2,
            vec![
                Change::NoRoom("#z".into()),
                Change::Account(Arc::new(less.clone())),
                Change::Room(Arc::new(plain.clone())),
            ],
        ),
        ask(3, vec![Change::Account(Arc::new(other.clone())), Change::NoBan(ban.mask)]),
    ]);
    assert!(answers.len() == 2 && answers.iter().all(is_done));
    drop(store);
    let (mut store, records) = scratch.open();
    assert_eq!(records, Records { accounts: vec![other, less], rooms: vec![plain], bans: vec![] });
    let gone = vec![Change::NoAccount("other".into()), Change::NoRoom("#점심".into()), Change::NoAccount("x".into())];
    assert!(is_done(&store.work(&ask(4, gone))));
    drop(store);
    let (_, records) = scratch.open();
    assert_eq!((records.accounts.len(), records.rooms.len()), (1, 0));
}

#[test]
fn what_the_first_version_wrote_is_taken_over() {
    let scratch = Scratch::new("first");
    std::fs::create_dir_all(&scratch.0).expect("it is made");
    let first = Connection::open(scratch.0.join("chat.db")).expect("it opens");
    first.execute_batch(include_str!("schema_1.sql")).expect("it is made");
    first
        .execute_batch(
            "INSERT INTO accounts (key, name, registered) VALUES ('minsu', 'Minsu', 4);
             INSERT INTO rooms VALUES ('#a', '#A', 'Minsu', 7, 7, 'topic', 'Minsu', 8);
             INSERT INTO room_settings VALUES ('#a', 'offered', 'other');
             INSERT INTO bans VALUES ('192.0.2.0/24', 'root', 'spam', NULL, 1, 2);
             PRAGMA user_version = 1;",
        )
        .expect("it is written");
    drop(first);
    let (mut store, records) = scratch.open();
    let room = RoomRecord {
        topic: Some(TopicRecord { text: "topic".into(), by: "Minsu".into(), at: 8 }),
        settings: [("offered".into(), "other".into())].into(),
        ..RoomRecord::new("#A", "Minsu", 7)
    };
    let before = Records { accounts: vec![Account::new("Minsu", 4)], rooms: vec![room.clone()], bans: vec![ban()] };
    assert_eq!(records, before);
    // What is new in it can be kept, and it is not taken over again.
    let keys = || [("url".into(), "https://example.org".into())].into();
    let account = Account { keys: keys(), ..Account::new("Minsu", 4) };
    let room = RoomRecord { keys: keys(), ..room };
    let changes = vec![Change::Account(Arc::new(account.clone())), Change::Room(Arc::new(room.clone()))];
    assert!(is_done(&store.work(&ask(1, changes))));
    drop(store);
    let (store, records) = scratch.open();
    assert_eq!((records.accounts, records.rooms), (vec![account], vec![room]));
    // It has the tables that a new one has.
    let shape = |connection: &Connection| -> Vec<String> {
        let mut columns = connection
            .prepare(
                "SELECT m.name || ' ' || c.name || ' ' || c.type || ' ' || c.pk FROM sqlite_schema m, \
                 pragma_table_info(m.name) c ORDER BY 1",
            )
            .expect("it is asked");
        let rows = columns.query_map([], |row| row.get(0)).expect("it answers");
        rows.collect::<Result<_, _>>().expect("it answers")
    };
    let (other, _) = Scratch::new("new").open();
    assert_eq!(shape(&store.connection), shape(&other.connection));
}

#[test]
fn what_the_second_version_wrote_is_taken_over() {
    let scratch = Scratch::new("second");
    std::fs::create_dir_all(&scratch.0).expect("it is made");
    let second = Connection::open(scratch.0.join("chat.db")).expect("it opens");
    second.execute_batch(include_str!("schema_1.sql")).expect("it is made");
    second.execute_batch(include_str!("schema_1_to_2.sql")).expect("it is made");
    second
        .execute_batch(
            "INSERT INTO rooms VALUES ('#a', '#A', 'Minsu', 7, 7, NULL, NULL, NULL);
             INSERT INTO room_keys VALUES ('#a', 'url', 'u');
             PRAGMA user_version = 2;",
        )
        .expect("it is written");
    drop(second);
    let (mut store, records) = scratch.open();
    let room = RoomRecord { keys: [("url".into(), "u".into())].into(), ..RoomRecord::new("#A", "Minsu", 7) };
    assert_eq!(records.rooms, std::slice::from_ref(&room));
    let occupied = RoomRecord::occupied("#b");
    assert!(is_done(&store.work(&ask(1, vec![Change::Room(Arc::new(occupied.clone()))]))));
    drop(store);
    assert_eq!(scratch.open().1.rooms, [room, occupied]);
}

#[test]
fn one_server_has_a_folder() {
    let scratch = Scratch::new("lock");
    let (store, _) = scratch.open();
    assert!(matches!(DataFolder::take(&scratch.0), Err(StoreError::InUse { .. })));
    drop(store);
    scratch.open();
}

#[test]
fn a_file_is_no_folder() {
    let scratch = Scratch::new("file");
    std::fs::create_dir_all(&scratch.0).expect("a folder");
    let file = scratch.0.join("data");
    std::fs::write(&file, "x").expect("it can be written");
    let Err(StoreError::Folder { fault, .. }) = DataFolder::take(&file) else { panic!("it is a file") };
    assert_eq!(fault.kind(), std::io::ErrorKind::NotADirectory);
}

#[test]
fn what_a_later_version_wrote_and_what_is_no_store_is_left_alone() {
    let scratch = Scratch::new("later");
    let (store, _) = scratch.open();
    store.connection.pragma_update(None, "user_version", 99).expect("it is written");
    drop(store);
    let again = || Store::open(DataFolder::take(&scratch.0).expect("it is free"));
    assert!(matches!(again(), Err(StoreError::Later { version: 99, .. })));
    std::fs::remove_file(scratch.0.join("chat.db-wal")).ok();
    std::fs::write(scratch.0.join("chat.db"), "no store at all, but long enough to be taken for one".repeat(30))
        .expect("it is written");
    assert!(matches!(again(), Err(StoreError::Bad { .. })));
}

#[test]
fn once_it_has_failed_nothing_is_written() {
    let scratch = Scratch::new("fail");
    let (mut store, _) = scratch.open();
    let put = |number, name: &str| ask(number, vec![Change::Account(Arc::new(Account::new(name, 1)))]);
    assert!(is_done(&store.work(&put(1, "a"))));
    store.connection.pragma_update(None, "query_only", true).expect("it is set");
    assert!(!is_done(&store.work(&put(2, "b"))));
    store.connection.pragma_update(None, "query_only", false).expect("it is set");
    // It could be written again, and is not.
    let answers = store.work_all(&[put(3, "c"), put(4, "d")]);
    assert!(answers.len() == 2 && !answers.iter().any(is_done));
    drop(store);
    let (_, records) = scratch.open();
    assert_eq!(records.accounts.iter().map(|account| &*account.name).collect::<Vec<_>>(), ["a"]);
}

/// The tool is there where Debian's `sqlite3` is; people look into the file with it while the server runs.
#[test]
fn others_can_read_it_while_it_is_open() {
    let scratch = Scratch::new("tool");
    let (mut store, _) = scratch.open();
    assert!(is_done(&store.work(&ask(1, vec![Change::Account(Arc::new(account()))]))));
    let file = scratch.0.join("chat.db");
    let other = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens");
    let name: String = other.query_row("SELECT name FROM accounts", [], |row| row.get(0)).expect("a row");
    assert_eq!(name, "민수");
    if let Ok(told) =
        Command::new("sqlite3").arg(&file).arg("SELECT name FROM accounts; PRAGMA integrity_check").output()
    {
        assert_eq!(String::from_utf8_lossy(&told.stdout), "민수\nok\n");
    }
}
