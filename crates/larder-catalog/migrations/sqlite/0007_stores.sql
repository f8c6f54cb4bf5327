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
