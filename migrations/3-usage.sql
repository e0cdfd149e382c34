-- The size of what is stored, for quotas: of a message its text, its nickname and 100 bytes; of a room its name in both
-- forms, 100 bytes, and its messages. src/server/store/usage.rs counts in the same way.
ALTER TABLE rooms ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
-- The last day with a message, in days since 1970 UTC, and the size of that day's messages.
ALTER TABLE rooms ADD COLUMN day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN day_bytes INTEGER NOT NULL DEFAULT 0;

UPDATE rooms SET bytes = octet_length(name) + octet_length(folded) + 100 + COALESCE(
    (SELECT SUM(octet_length(text) + octet_length(nickname) + 100) FROM messages WHERE room = rooms.id), 0);
