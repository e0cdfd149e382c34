-- The rooms in the lists of users, and what they have read there. A row counts 100 bytes towards the quotas.
CREATE TABLE memberships (
    user INTEGER NOT NULL,
    room INTEGER NOT NULL REFERENCES rooms (id),
    read INTEGER NOT NULL,                     -- seq of the last message that the user has read; 0 for none
    PRIMARY KEY (user, room)
) STRICT, WITHOUT ROWID;

-- Users have the rooms in which they have posted, at most 200, the newest first. Nobody knows what they have read.
INSERT INTO memberships (user, room, read)
    SELECT user, id, head FROM (
        SELECT user, room, ROW_NUMBER() OVER (PARTITION BY user ORDER BY room DESC) AS place
        FROM (SELECT DISTINCT room, user FROM messages)
    ) JOIN rooms ON id = room WHERE place <= 200;
