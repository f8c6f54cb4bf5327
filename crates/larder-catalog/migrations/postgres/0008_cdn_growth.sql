-- What the caches in front are yet to be told to forget: one row for an asset, or for a whole bucket (an
-- empty asset_id), written with the change that makes it necessary.

CREATE TABLE cdn_purges (
    bucket   TEXT COLLATE "C" NOT NULL,
    asset_id TEXT COLLATE "C" NOT NULL,
    reason   TEXT NOT NULL,
    -- A JSON array: under which addresses the bytes were to be had.
    traces   TEXT NOT NULL,
    -- Rises with each change that comes before the caches were told.
    turn     BIGINT NOT NULL,
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (bucket, asset_id)
);
CREATE INDEX cdn_purges_by_time ON cdn_purges (noted_at);

-- How much there was at the end of each day: the growth.
CREATE TABLE usage_days (
    day_at        BIGINT NOT NULL,
    bucket        TEXT COLLATE "C" NOT NULL,
    store         TEXT COLLATE "C" NOT NULL,
    objects       BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    variants      BIGINT NOT NULL,
    variant_bytes BIGINT NOT NULL,
    PRIMARY KEY (day_at, bucket, store)
);
