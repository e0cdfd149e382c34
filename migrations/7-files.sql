-- Files in messages. Their contents are not in the database, but in the file store, under their hash.
ALTER TABLE messages ADD COLUMN attachments INTEGER NOT NULL DEFAULT 0; -- the number of files

-- A file counts 100 bytes, its name and its size towards the quotas.
CREATE TABLE attachments (
    id         INTEGER PRIMARY KEY,            -- 64 random bits, as a signed number
    room       INTEGER NOT NULL REFERENCES rooms (id),
    user       INTEGER NOT NULL,               -- who uploaded it
    seq        INTEGER,                        -- the message; NULL until it is posted
    place      INTEGER NOT NULL DEFAULT 0,     -- the place in the message: 0, 1, 2 …
    hash       BLOB NOT NULL,                  -- SHA-256 of the content
    name       TEXT NOT NULL,
    type       TEXT NOT NULL,                  -- the media type
    bytes      INTEGER NOT NULL,
    width      INTEGER,                        -- of a picture, in pixels
    height     INTEGER,
    at         INTEGER NOT NULL                -- when the upload was complete
) STRICT;

CREATE INDEX attachments_by_message ON attachments (room, seq, place) WHERE seq IS NOT NULL;
CREATE INDEX attachments_by_hash ON attachments (hash);
-- Finds uploads that no message has taken.
CREATE INDEX attachments_unsent ON attachments (user, at) WHERE seq IS NULL;

-- Contents that may belong to no attachment: about to be stored, or left by a deleted message. The collector looks at
-- each, and removes those without an attachment.
CREATE TABLE unclaimed_files (
    hash BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
