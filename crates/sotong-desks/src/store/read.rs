//! Records out of tables.
use rusqlite::{Connection, Result, Row, types::FromSql};
use sotong_chat::books::{
    Account, BanRecord, MaskRecord, Presence, Records, RoomKind, RoomRecord, ScramKeys, Settings, Suspension,
    TopicRecord,
};
use std::collections::BTreeMap;

/// All there is.
pub(super) fn all(store: &Connection) -> Result<Records> {
    Ok(Records { accounts: accounts(store)?, rooms: rooms(store)?, bans: bans(store)? })
}

/// What hangs on records of another table, by their keys.
fn hanging<T>(
    store: &Connection,
    statement: &str,
    of: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<BTreeMap<String, Vec<T>>> {
    let mut all: BTreeMap<String, Vec<T>> = BTreeMap::new();
    let mut statement = store.prepare(statement)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        all.entry(row.get(0)?).or_default().push(of(row)?);
    }
    Ok(all)
}

fn text(row: &Row<'_>, column: &str) -> Result<Box<str>> {
    row.get::<_, String>(column).map(Into::into)
}
fn text_if_any(row: &Row<'_>, column: &str) -> Result<Option<Box<str>>> {
    Ok(row.get::<_, Option<String>>(column)?.map(Into::into))
}
fn letter(row: &Row<'_>, column: &str) -> Result<char> {
    Ok(row.get::<_, String>(column)?.chars().next().unwrap_or('?'))
}
fn pair(row: &Row<'_>) -> Result<(Box<str>, Box<str>)> {
    Ok((text(row, "name")?, text(row, "value")?))
}
fn value<T: FromSql>(row: &Row<'_>, column: &str) -> Result<T> {
    row.get(column)
}

fn accounts(store: &Connection) -> Result<Vec<Account>> {
    let certs = "SELECT account, sha256 FROM account_certs ORDER BY account, place";
    let mut certs = hanging(store, certs, |row| value::<[u8; 32]>(row, "sha256"))?;
    let mut keys = hanging(store, "SELECT account, name, value FROM account_keys", pair)?;
    let rooms = "SELECT account, room, ranks FROM presence_rooms ORDER BY account, place";
    let mut rooms = hanging(store, rooms, |row| Ok((text(row, "room")?, text(row, "ranks")?)))?;
    let mut presences = hanging(store, "SELECT * FROM presences", |row| {
        Ok(Presence {
            nick: text(row, "nick")?,
            user: text(row, "user")?,
            host: text(row, "host")?,
            real: text(row, "real")?,
            modes: text(row, "modes")?,
            away: text_if_any(row, "away")?,
            rooms: rooms.get(&value::<String>(row, "account")?).cloned().unwrap_or_default(),
            seen: value(row, "seen")?,
        })
    })?;
    rooms.clear();
    let mut statement = store.prepare("SELECT * FROM accounts ORDER BY key")?;
    let mut rows = statement.query([])?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get("key")?;
        accounts.push(Account {
            name: text(row, "name")?,
            registered: value(row, "registered")?,
            password: text_if_any(row, "password")?,
            scram: scram(row)?,
            certs: certs.remove(&key).unwrap_or_default(),
            email: text_if_any(row, "email")?,
            vhost: text_if_any(row, "vhost")?,
            suspended: suspension(row)?,
            settings: Settings {
                multiclient: value(row, "multiclient")?,
                always_on: value(row, "always_on")?,
                autoreplay_lines: value(row, "autoreplay_lines")?,
                auto_away: value(row, "auto_away")?,
            },
            presence: presences.remove(&key).and_then(|mut presences| presences.pop()),
            keys: keys.remove(&key).unwrap_or_default().into_iter().collect(),
        });
    }
    Ok(accounts)
}

fn scram(row: &Row<'_>) -> Result<Option<ScramKeys>> {
    let Some(salt) = value::<Option<[u8; 16]>>(row, "scram_salt")? else { return Ok(None) };
    Ok(Some(ScramKeys {
        salt,
        rounds: value(row, "scram_rounds")?,
        stored: value(row, "scram_stored")?,
        server: value(row, "scram_server")?,
    }))
}

fn suspension(row: &Row<'_>) -> Result<Option<Suspension>> {
    let Some(by) = text_if_any(row, "suspended_by")? else { return Ok(None) };
    Ok(Some(Suspension {
        by,
        reason: text(row, "suspended_reason")?,
        at: value(row, "suspended_at")?,
        until: value(row, "suspended_until")?,
    }))
}

fn rooms(store: &Connection) -> Result<Vec<RoomRecord>> {
    let modes = "SELECT room, mode, value FROM room_modes";
    let mut modes = hanging(store, modes, |row| Ok((letter(row, "mode")?, text_if_any(row, "value")?)))?;
    let mut lists = hanging(store, "SELECT * FROM room_lists ORDER BY room, place", |row| {
        Ok(MaskRecord {
            list: letter(row, "list")?,
            mask: text(row, "mask")?,
            by: text(row, "by")?,
            at: value(row, "at")?,
            until: value(row, "until")?,
        })
    })?;
    let ranks = "SELECT room, account, rank FROM room_ranks";
    let mut ranks = hanging(store, ranks, |row| Ok((text(row, "account")?, letter(row, "rank")?)))?;
    let mut settings = hanging(store, "SELECT room, name, value FROM room_settings", pair)?;
    let mut keys = hanging(store, "SELECT room, name, value FROM room_keys", pair)?;
    let mut statement = store.prepare("SELECT * FROM rooms ORDER BY key")?;
    let mut rows = statement.query([])?;
    let mut rooms = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get("key")?;
        let topic = match text_if_any(row, "topic")? {
            Some(text) => Some(TopicRecord {
                text,
                by: text_if_any(row, "topic_by")?.unwrap_or_default(),
                at: value::<Option<i64>>(row, "topic_at")?.unwrap_or_default(),
            }),
            None => None,
        };
        rooms.push(RoomRecord {
            name: text(row, "name")?,
            kind: if *text(row, "kind")? == *super::write::OCCUPIED {
                RoomKind::Occupied
            } else {
                RoomKind::Registered
            },
            founder: text(row, "founder")?,
            registered: value(row, "registered")?,
            created: value(row, "created")?,
            topic,
            modes: modes.remove(&key).unwrap_or_default().into_iter().collect(),
            lists: lists.remove(&key).unwrap_or_default(),
            ranks: ranks.remove(&key).unwrap_or_default().into_iter().collect(),
            settings: settings.remove(&key).unwrap_or_default().into_iter().collect(),
            keys: keys.remove(&key).unwrap_or_default().into_iter().collect(),
        });
    }
    Ok(rooms)
}

fn bans(store: &Connection) -> Result<Vec<BanRecord>> {
    let mut statement = store.prepare("SELECT * FROM bans ORDER BY mask")?;
    let bans = statement.query_map([], |row| {
        Ok(BanRecord {
            mask: text(row, "mask")?,
            by: text(row, "by")?,
            reason: text(row, "reason")?,
            oper_reason: text_if_any(row, "oper_reason")?,
            at: value(row, "at")?,
            until: value(row, "until")?,
        })
    })?;
    bans.collect()
}
