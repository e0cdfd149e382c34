-- Pinned messages, at most 50 of each room. A pin counts 100 bytes and its nickname towards the quotas.
CREATE TABLE pins (
    room     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,                 -- the message
    user     INTEGER NOT NULL,                 -- who pinned it
    nickname TEXT NOT NULL,                    -- as when they pinned it
    at       INTEGER NOT NULL,
    PRIMARY KEY (room, seq),
    FOREIGN KEY (room, seq) REFERENCES messages (room, seq)
) STRICT, WITHOUT ROWID;
