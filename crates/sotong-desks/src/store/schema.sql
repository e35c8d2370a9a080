-- The books of a chat, version 3. Times are milliseconds since 1970-01-01 UTC; keys are names in small letters.
CREATE TABLE accounts (
    key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    registered INTEGER NOT NULL,
    password TEXT,                       -- argon2, as PHC strings have it
    scram_salt BLOB,                     -- SCRAM-SHA-256 (RFC 5802)
    scram_rounds INTEGER,
    scram_stored BLOB,
    scram_server BLOB,
    email TEXT,
    vhost TEXT,
    suspended_by TEXT,
    suspended_reason TEXT,
    suspended_at INTEGER,
    suspended_until INTEGER,
    multiclient INTEGER,                 -- NULL: as the server does it
    always_on INTEGER,
    autoreplay_lines INTEGER,
    auto_away INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE account_certs (
    account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    place INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (account, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE account_keys (              -- IRCv3 draft/metadata
    account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE presences (
    account TEXT PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    nick TEXT NOT NULL,
    user TEXT NOT NULL,
    host TEXT NOT NULL,
    real TEXT NOT NULL,
    modes TEXT NOT NULL,
    away TEXT,
    seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE presence_rooms (
    account TEXT NOT NULL REFERENCES presences ON DELETE CASCADE,
    place INTEGER NOT NULL,
    room TEXT NOT NULL,
    ranks TEXT NOT NULL,
    PRIMARY KEY (account, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (
    key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    founder TEXT NOT NULL,
    registered INTEGER NOT NULL,
    created INTEGER NOT NULL,
    topic TEXT,
    topic_by TEXT,
    topic_at INTEGER,
    kind TEXT NOT NULL DEFAULT 'registered' -- or 'occupied': kept for those who are always on in it
) STRICT, WITHOUT ROWID;
CREATE TABLE room_modes (
    room TEXT NOT NULL REFERENCES rooms ON DELETE CASCADE,
    mode TEXT NOT NULL,
    value TEXT,
    PRIMARY KEY (room, mode)
) STRICT, WITHOUT ROWID;
CREATE TABLE room_lists (
    room TEXT NOT NULL REFERENCES rooms ON DELETE CASCADE,
    place INTEGER NOT NULL,
    list TEXT NOT NULL,
    mask TEXT NOT NULL,
    by TEXT NOT NULL,
    at INTEGER NOT NULL,
    until INTEGER,                       -- NULL: for good
    PRIMARY KEY (room, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE room_ranks (
    room TEXT NOT NULL REFERENCES rooms ON DELETE CASCADE,
    account TEXT NOT NULL,
    rank TEXT NOT NULL,
    PRIMARY KEY (room, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE room_settings (
    room TEXT NOT NULL REFERENCES rooms ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (room, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE room_keys (
    room TEXT NOT NULL REFERENCES rooms ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (room, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE bans (
    mask TEXT PRIMARY KEY,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    oper_reason TEXT,
    at INTEGER NOT NULL,
    until INTEGER
) STRICT, WITHOUT ROWID;
