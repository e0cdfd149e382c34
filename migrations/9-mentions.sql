-- The users whom messages mention.
ALTER TABLE messages ADD COLUMN mentions INTEGER NOT NULL DEFAULT 0; -- the number of users

-- A mention counts 100 bytes and its nickname towards the quotas.
CREATE TABLE mentions (
    room     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,                 -- the message
    user     INTEGER NOT NULL,                 -- who is mentioned
    nickname TEXT NOT NULL,                    -- as in the text
    PRIMARY KEY (room, seq, user),
    FOREIGN KEY (room, seq) REFERENCES messages (room, seq)
) STRICT, WITHOUT ROWID;

-- Finds what a user has not read.
CREATE INDEX mentions_by_user ON mentions (user, room, seq);
