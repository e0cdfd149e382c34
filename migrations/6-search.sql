-- The index of the search. It holds no texts, only the tokens of src/server/search.rs, with the prefixes of words, and
-- without positions: a search checks the texts themselves. What is removed from it is overwritten.
CREATE VIRTUAL TABLE search USING fts5 (
    tokens, content = '', columnsize = 0, detail = none, tokenize = 'ascii', prefix = '3 4 5'
);
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);

-- The seq up to which the messages of a room are in the index. A rowid there is room * 2^32 + seq.
ALTER TABLE rooms ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;

-- One row: the version of the tokens in the index.
CREATE TABLE search_version (tokens INTEGER NOT NULL) STRICT;
INSERT INTO search_version VALUES (0);
