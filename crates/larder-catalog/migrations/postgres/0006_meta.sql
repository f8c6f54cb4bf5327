-- What is also written to the store beside the bytes, so that a lost catalogue can be rebuilt.

-- One row for each change that is not written yet. A row is never changed: whoever writes removes
-- exactly the rows that it saw.
CREATE TABLE meta_changes (
    mark BIGINT NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    id   TEXT COLLATE "C" NOT NULL
);

-- One row: who this catalogue is, the number of the newest batch, and who writes at the moment.
CREATE TABLE meta_log (
    id         BIGINT NOT NULL PRIMARY KEY,
    catalogue  TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    holder     TEXT,
    expires_at BIGINT NOT NULL
);

-- How far long work is that goes on where it stopped.
CREATE TABLE checkpoints (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Bytes without a record, of buckets that collect them, and since when they are known.
CREATE TABLE orphans (
    store       TEXT COLLATE "C" NOT NULL,
    place       TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT NOT NULL,
    seen_at     BIGINT NOT NULL,
    PRIMARY KEY (store, place)
);

-- All that is there already is yet to be written.
INSERT INTO meta_changes (mark, kind, id)
SELECT row_number() OVER (ORDER BY kind, id), kind, id FROM (
    SELECT 'asset' AS kind, id AS id FROM assets
    UNION ALL SELECT 'variant', id FROM variants WHERE status IN ('ready', 'failed')
    UNION ALL SELECT 'bucket', name FROM buckets
    UNION ALL SELECT 'preset', name FROM presets
) AS present;
