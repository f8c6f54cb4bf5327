-- Records. Times are milliseconds since the Unix epoch, booleans 0 or 1, JSON and ids text.

-- Buckets and presets come from the configuration file or from the API.
CREATE TABLE buckets (
    name            TEXT NOT NULL PRIMARY KEY,
    policy          TEXT NOT NULL,
    managed_by_file INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE presets (
    name            TEXT NOT NULL PRIMARY KEY,
    recipe          TEXT NOT NULL,
    managed_by_file INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE assets (
    id                TEXT NOT NULL PRIMARY KEY,
    bucket            TEXT NOT NULL,
    key               TEXT NOT NULL,
    version           INTEGER NOT NULL,
    status            TEXT NOT NULL,
    store             TEXT NOT NULL,
    place             TEXT NOT NULL,
    fingerprint       TEXT NOT NULL,
    size_bytes        INTEGER NOT NULL,
    sha256            TEXT NOT NULL,
    md5               TEXT NOT NULL,
    content_type      TEXT NOT NULL,
    original_filename TEXT,
    owner             TEXT,
    metadata          TEXT NOT NULL,
    tags              TEXT NOT NULL,
    width_px          INTEGER,
    height_px         INTEGER,
    frames            INTEGER,
    has_gps           INTEGER NOT NULL,
    description       TEXT,
    perceptual_hash   INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    expires_at        INTEGER,
    deleted_at        INTEGER,
    trash_place       TEXT
) STRICT;
-- A deleted asset frees its key.
CREATE UNIQUE INDEX assets_by_key ON assets (bucket, key) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_sha256 ON assets (bucket, sha256) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_age ON assets (bucket, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_owner ON assets (owner) WHERE deleted_at IS NULL AND owner IS NOT NULL;
CREATE INDEX assets_by_expiry ON assets (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX assets_in_trash ON assets (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX assets_by_place ON assets (store, place);

CREATE TABLE variants (
    id            TEXT NOT NULL PRIMARY KEY,
    asset_id      TEXT NOT NULL,
    source_sha256 TEXT NOT NULL,
    recipe        TEXT NOT NULL,
    recipe_digest TEXT NOT NULL,
    preset        TEXT,
    status        TEXT NOT NULL,
    store         TEXT NOT NULL,
    place         TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    size_bytes    INTEGER NOT NULL,
    sha256        TEXT NOT NULL,
    content_type  TEXT NOT NULL,
    width_px      INTEGER,
    height_px     INTEGER,
    frames        INTEGER,
    error         TEXT,
    encoder       TEXT,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX variants_by_identity ON variants (asset_id, source_sha256, recipe_digest);
CREATE INDEX variants_stale ON variants (updated_at) WHERE status = 'stale';
CREATE INDEX variants_unused ON variants (last_used_at) WHERE status = 'ready' AND preset IS NULL;
CREATE INDEX variants_by_place ON variants (store, place);

CREATE TABLE uploads (
    id                  TEXT NOT NULL PRIMARY KEY,
    bucket              TEXT NOT NULL,
    key                 TEXT,
    status              TEXT NOT NULL,
    stage               TEXT NOT NULL,
    progress_percentage INTEGER NOT NULL,
    bytes_received      INTEGER NOT NULL,
    bytes_total         INTEGER,
    error               TEXT,
    asset_id            TEXT,
    asset_version       INTEGER,
    staging_place       TEXT,
    sha256              TEXT,
    md5                 TEXT,
    size_bytes          INTEGER,
    content_type        TEXT,
    declared_type       TEXT,
    original_filename   TEXT,
    owner               TEXT,
    metadata            TEXT NOT NULL,
    tags                TEXT NOT NULL,
    door                TEXT NOT NULL,
    credential          TEXT,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    asset_expires_at    INTEGER,
    finished_at         INTEGER
) STRICT;
CREATE INDEX uploads_by_time ON uploads (created_at, id);
CREATE INDEX uploads_by_bucket ON uploads (bucket, created_at, id);
CREATE INDEX uploads_by_asset ON uploads (asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX uploads_open ON uploads (expires_at) WHERE finished_at IS NULL;
CREATE INDEX uploads_ended ON uploads (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE idempotency (
    scope             TEXT NOT NULL,
    key               TEXT NOT NULL,
    body_digest       TEXT NOT NULL,
    state             TEXT NOT NULL,
    status            INTEGER,
    headers           TEXT,
    body              TEXT,
    upload_id         TEXT,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    -- Takes the place of expires_at once the answer is stored.
    answer_expires_at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

CREATE TABLE api_keys (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    scope         TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER,
    rotated_to    TEXT
) STRICT;

-- One row for each key that was written to lately.
CREATE TABLE place_writes (
    bucket     TEXT NOT NULL,
    key        TEXT NOT NULL,
    fence      INTEGER NOT NULL,
    holder     TEXT,
    expires_at INTEGER NOT NULL,
    intent     TEXT,
    PRIMARY KEY (bucket, key)
) STRICT;
CREATE INDEX place_writes_interrupted ON place_writes (expires_at) WHERE intent IS NOT NULL;

CREATE TABLE schedules (
    name    TEXT NOT NULL PRIMARY KEY,
    cron    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    args    TEXT NOT NULL,
    next_at INTEGER NOT NULL,
    last_at INTEGER,
    enabled INTEGER NOT NULL
) STRICT;
