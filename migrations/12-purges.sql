-- Requests to remove many messages. They are carried out in steps, and a request stays until its last step.
CREATE TABLE purges (
    id    INTEGER PRIMARY KEY,
    room  INTEGER NOT NULL REFERENCES rooms (id),
    user  INTEGER,                             -- the author; NULL: all messages
    up_to INTEGER NOT NULL                     -- the seq of the last message that is to be removed
) STRICT;

-- A user who asks twice has one request. NULLs are not equal here.
CREATE UNIQUE INDEX purges_by_user ON purges (room, user);
