-- What is also written to the store beside the bytes, so that a lost catalogue can be rebuilt.

-- One row for each change that is not written yet. A row is never changed: whoever writes removes
-- exactly the rows that it saw.
CREATE TABLE meta_changes (
    mark INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    id   TEXT NOT NULL
) STRICT;

-- One row: who this catalogue is, the number of the newest batch, and who writes at the moment.
CREATE TABLE meta_log (
    id         INTEGER NOT NULL PRIMARY KEY,
    catalogue  TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    holder     TEXT,
    expires_at INTEGER NOT NULL
) STRICT;

-- How far long work is that goes on where it stopped.
CREATE TABLE checkpoints (
    name       TEXT NOT NULL PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Bytes without a record, of buckets that collect them, and since when they are known.
CREATE TABLE orphans (
    store       TEXT NOT NULL,
    place       TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    seen_at     INTEGER NOT NULL,
    PRIMARY KEY (store, place)
) STRICT;

-- All that is there already is yet to be written.
INSERT INTO meta_changes (mark, kind, id)
SELECT row_number() OVER (ORDER BY kind, id), kind, id FROM (
    SELECT 'asset' AS kind, id AS id FROM assets
    UNION ALL SELECT 'variant', id FROM variants WHERE status IN ('ready', 'failed')
    UNION ALL SELECT 'bucket', name FROM buckets
    UNION ALL SELECT 'preset', name FROM presets
) AS present;
