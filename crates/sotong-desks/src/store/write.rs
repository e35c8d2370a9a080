//! Records into tables.
use rusqlite::{CachedStatement, Connection, Result, named_params, params};
use sotong_chat::books::{Account, BanRecord, Change, RoomKind, RoomRecord};
use sotong_irc::names;

/// How rooms are marked that nobody has registered.
pub(super) const OCCUPIED: &str = "occupied";

/// Makes one change, within the transaction that is open.
pub(super) fn change(store: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::Account(account) => put_account(store, account),
        Change::NoAccount(key) => strike(store, "DELETE FROM accounts WHERE key = ?1", key),
        Change::Room(room) => put_room(store, room),
        Change::NoRoom(key) => strike(store, "DELETE FROM rooms WHERE key = ?1", key),
        Change::Ban(ban) => put_ban(store, ban),
        Change::NoBan(mask) => strike(store, "DELETE FROM bans WHERE mask = ?1", mask),
    }
}

fn strike(store: &Connection, statement: &str, key: &str) -> Result<()> {
    store.prepare_cached(statement)?.execute([key]).map(|_| ())
}

fn put_account(store: &Connection, account: &Account) -> Result<()> {
    let key = names::fold(&account.name);
    // What hangs on it goes with it.
    strike(store, "DELETE FROM accounts WHERE key = ?1", &key)?;
    let (scram, suspended, settings) = (account.scram.as_ref(), account.suspended.as_ref(), &account.settings);
    store
        .prepare_cached(
            "INSERT INTO accounts VALUES (:key, :name, :registered, :password, :salt, :rounds, :stored, :server, :email, \
             :vhost, :by, :reason, :at, :until, :multiclient, :always_on, :autoreplay, :auto_away)",
        )?
        .execute(named_params! {
            ":key": key,
            ":name": &*account.name,
            ":registered": account.registered,
            ":password": account.password.as_deref(),
            ":salt": scram.map(|keys| keys.salt),
            ":rounds": scram.map(|keys| keys.rounds),
            ":stored": scram.map(|keys| keys.stored),
            ":server": scram.map(|keys| keys.server),
            ":email": account.email.as_deref(),
            ":vhost": account.vhost.as_deref(),
            ":by": suspended.map(|suspended| &*suspended.by),
            ":reason": suspended.map(|suspended| &*suspended.reason),
            ":at": suspended.map(|suspended| suspended.at),
            ":until": suspended.and_then(|suspended| suspended.until),
            ":multiclient": settings.multiclient,
            ":always_on": settings.always_on,
            ":autoreplay": settings.autoreplay_lines,
            ":auto_away": settings.auto_away,
        })?;
    if !account.certs.is_empty() {
        let mut insert = store.prepare_cached("INSERT INTO account_certs VALUES (?1, ?2, ?3)")?;
        for (place, print) in (0_i64..).zip(&account.certs) {
            insert.execute(params![key, place, print])?;
        }
    }
    pairs(store, "INSERT INTO account_keys VALUES (?1, ?2, ?3)", &key, account.keys.iter())?;
    if let Some(presence) = &account.presence {
        store.prepare_cached("INSERT INTO presences VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            key,
            &*presence.nick,
            &*presence.user,
            &*presence.host,
            &*presence.real,
            &*presence.modes,
            presence.away.as_deref(),
            presence.seen
        ])?;
        let mut insert = store.prepare_cached("INSERT INTO presence_rooms VALUES (?1, ?2, ?3, ?4)")?;
        for (place, (room, ranks)) in (0_i64..).zip(&presence.rooms) {
            insert.execute(params![key, place, &**room, &**ranks])?;
        }
    }
    Ok(())
}

fn put_room(store: &Connection, room: &RoomRecord) -> Result<()> {
    let key = names::fold(&room.name);
    strike(store, "DELETE FROM rooms WHERE key = ?1", &key)?;
    let topic = room.topic.as_ref();
    store.prepare_cached("INSERT INTO rooms VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(params![
        key,
        &*room.name,
        &*room.founder,
        room.registered,
        room.created,
        topic.map(|topic| &*topic.text),
        topic.map(|topic| &*topic.by),
        topic.map(|topic| topic.at),
        match room.kind {
            RoomKind::Registered => "registered",
            RoomKind::Occupied => OCCUPIED,
        }
    ])?;
    let mut insert = store.prepare_cached("INSERT INTO room_modes VALUES (?1, ?2, ?3)")?;
    for (mode, value) in &room.modes {
        insert.execute(params![key, mode.to_string(), value.as_deref()])?;
    }
    let mut insert = store.prepare_cached("INSERT INTO room_lists VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (place, entry) in (0_i64..).zip(&room.lists) {
        let list = entry.list.to_string();
        insert.execute(params![key, place, list, &*entry.mask, &*entry.by, entry.at, entry.until])?;
    }
    let mut insert = store.prepare_cached("INSERT INTO room_ranks VALUES (?1, ?2, ?3)")?;
    for (account, rank) in &room.ranks {
        insert.execute(params![key, &**account, rank.to_string()])?;
    }
    pairs(store, "INSERT INTO room_settings VALUES (?1, ?2, ?3)", &key, room.settings.iter())?;
    pairs(store, "INSERT INTO room_keys VALUES (?1, ?2, ?3)", &key, room.keys.iter())
}

fn put_ban(store: &Connection, ban: &BanRecord) -> Result<()> {
    let mut insert: CachedStatement<'_> =
        store.prepare_cached("INSERT OR REPLACE INTO bans VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let done =
        insert.execute(params![&*ban.mask, &*ban.by, &*ban.reason, ban.oper_reason.as_deref(), ban.at, ban.until]);
    done.map(|_| ())
}

fn pairs<'a>(
    store: &Connection,
    statement: &str,
    key: &str,
    pairs: impl Iterator<Item = (&'a Box<str>, &'a Box<str>)>,
) -> Result<()> {
    let mut insert = store.prepare_cached(statement)?;
    for (name, value) in pairs {
        insert.execute(params![key, &**name, &**value])?;
    }
    Ok(())
}
