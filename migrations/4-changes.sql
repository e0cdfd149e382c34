-- Changes of messages: edits, deletions, reactions. A room counts them apart from its messages.
ALTER TABLE rooms ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;    -- the number of changes

-- The state of a message is in its row. What an edit or a deletion replaces is not kept.
ALTER TABLE messages ADD COLUMN reply_to   INTEGER;             -- seq of the message that it replies to
ALTER TABLE messages ADD COLUMN rev        INTEGER NOT NULL DEFAULT 0; -- the room's rev at its last change; 0 for none
ALTER TABLE messages ADD COLUMN edits      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN edited_at  INTEGER;
ALTER TABLE messages ADD COLUMN deleted_at INTEGER;             -- then the text is empty, for good

-- Finds what a connection has missed.
CREATE UNIQUE INDEX messages_by_rev ON messages (room, rev) WHERE rev > 0;

-- A reaction counts 100 bytes, its emoji and its nickname towards the quotas.
CREATE TABLE reactions (
    room     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,                 -- the message
    emoji    TEXT NOT NULL,
    user     INTEGER NOT NULL,
    nickname TEXT NOT NULL,                    -- as when they reacted
    rev      INTEGER NOT NULL,                 -- the room's rev then
    PRIMARY KEY (room, seq, emoji, user),
    FOREIGN KEY (room, seq) REFERENCES messages (room, seq)
) STRICT, WITHOUT ROWID;
