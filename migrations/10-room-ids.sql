-- The ids of rooms on the wire: they do not change with the name, and are not used again.
ALTER TABLE rooms ADD COLUMN public_id INTEGER NOT NULL DEFAULT 0; -- 64 random bits, as a signed number

UPDATE rooms SET public_id = random();
CREATE UNIQUE INDEX rooms_by_public_id ON rooms (public_id);
