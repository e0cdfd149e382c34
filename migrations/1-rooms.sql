-- Users who chose a nickname. A guest has no row.
CREATE TABLE users (
    id         INTEGER PRIMARY KEY,            -- 64 random bits, as a signed number
    nickname   TEXT NOT NULL,
    changed_at INTEGER NOT NULL                -- milliseconds since 1970 UTC, as everywhere here
) STRICT;

CREATE TABLE rooms (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,                  -- canonical: NFC, as first entered
    folded     TEXT NOT NULL UNIQUE,           -- what names are compared by
    head       INTEGER NOT NULL DEFAULT 0,     -- seq of the last message
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE messages (
    room       INTEGER NOT NULL REFERENCES rooms (id),
    seq        INTEGER NOT NULL,               -- 1, 2, 3 … without gaps
    user       INTEGER NOT NULL,
    key        BLOB NOT NULL,                  -- 16 bytes
    nickname   TEXT NOT NULL,                  -- as when it was sent
    text       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;

-- Finds a message that is sent again, so that posting is idempotent.
CREATE UNIQUE INDEX messages_by_key ON messages (room, user, key);

-- One row: the epoch that positions refer to.
CREATE TABLE history (
    epoch TEXT NOT NULL
) STRICT;
