-- Several stores side by side: records say in which one their bytes lie, and bytes that no record
-- names are listed, so that nothing is forgotten in the store that an asset left.

ALTER TABLE uploads ADD COLUMN staging_store TEXT NOT NULL DEFAULT 'local';

CREATE TABLE spare_copies (
    store       TEXT NOT NULL,
    place       TEXT NOT NULL,
    state       TEXT NOT NULL,
    asset_id    TEXT NOT NULL,
    variant_id  TEXT,
    bucket      TEXT NOT NULL,
    key         TEXT NOT NULL,
    size_bytes  INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    -- Empty until the bytes were seen at the place.
    fingerprint TEXT NOT NULL,
    noted_at    INTEGER NOT NULL,
    PRIMARY KEY (store, place)
) STRICT;
CREATE INDEX spare_copies_by_asset ON spare_copies (asset_id);
CREATE INDEX spare_copies_void ON spare_copies (noted_at) WHERE state = 'void';
CREATE INDEX spare_copies_coming ON spare_copies (noted_at) WHERE state = 'coming';

-- How much there is, counted in the transactions that change it. Rows are spread over shards where
-- several transactions write at a time; what counts is their sum.
CREATE TABLE asset_counters (
    bucket       TEXT NOT NULL,
    store        TEXT NOT NULL,
    content_type TEXT NOT NULL,
    deleted      INTEGER NOT NULL,
    shard        INTEGER NOT NULL,
    objects      INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    PRIMARY KEY (bucket, store, content_type, deleted, shard)
) STRICT;
INSERT INTO asset_counters
    SELECT bucket, store, content_type, CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END, 0, count(*),
        CAST(sum(size_bytes) AS BIGINT)
    FROM assets GROUP BY 1, 2, 3, 4;
