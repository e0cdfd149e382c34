-- The seq of the oldest message that is kept; head + 1 if none is. Those before it have expired.
ALTER TABLE rooms ADD COLUMN floor INTEGER NOT NULL DEFAULT 1;
