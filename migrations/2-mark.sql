-- From here on a mark beside the database tells an older copy of it (src/server/store/epoch.rs). A
-- database of version 1 has none yet, and is believed once. In the file's head: whose it is, "Noom".
PRAGMA application_id = 0x4e6f6f6d;
