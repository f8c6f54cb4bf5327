-- What the caches in front are yet to be told to forget: one row for an asset, or for a whole bucket (an
-- empty asset_id), written with the change that makes it necessary.

CREATE TABLE cdn_purges (
    bucket   TEXT NOT NULL,
    asset_id TEXT NOT NULL,
    reason   TEXT NOT NULL,
    -- A JSON array: under which addresses the bytes were to be had.
    traces   TEXT NOT NULL,
    -- Rises with each change that comes before the caches were told.
    turn     INTEGER NOT NULL,
    noted_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, asset_id)
) STRICT;
CREATE INDEX cdn_purges_by_time ON cdn_purges (noted_at);

-- How much there was at the end of each day: the growth.
CREATE TABLE usage_days (
    day_at        INTEGER NOT NULL,
    bucket        TEXT NOT NULL,
    store         TEXT NOT NULL,
    objects       INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    variants      INTEGER NOT NULL,
    variant_bytes INTEGER NOT NULL,
    PRIMARY KEY (day_at, bucket, store)
) STRICT;
