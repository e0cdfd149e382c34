-- Requests to remove many messages. They are carried out in steps, and a request stays until its last step.
CREATE TABLE purges (
    id    INTEGER PRIMARY KEY,
    room  INTEGER NOT NULL REFERENCES rooms (id),
    user  INTEGER,                             -- the author; NULL: all messages
    above INTEGER NOT NULL,                    -- the messages with a higher seq are to be removed, if the user is given,
    up_to INTEGER NOT NULL                     -- up to this one
) STRICT;

CREATE INDEX purges_by_user ON purges (room, user);
