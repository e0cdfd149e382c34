-- From this version on, a watermark file beside the database detects older copies of it
-- (src/server/store/epoch.rs). A database of version 1 has none yet and is adopted with its epoch.
-- The application id in the file header is "Noom".
PRAGMA application_id = 0x4e6f6f6d;
