-- From version 1 to 2: keys of accounts and rooms (IRCv3 draft/metadata). Nothing was ever written to account_extra.
ALTER TABLE account_extra RENAME TO account_keys;
CREATE TABLE room_keys (
    room TEXT NOT NULL REFERENCES rooms ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (room, name)
) STRICT, WITHOUT ROWID;
