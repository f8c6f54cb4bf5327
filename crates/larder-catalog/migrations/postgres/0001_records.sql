-- Records. Times are milliseconds since the Unix epoch, booleans 0 or 1, JSON and ids text.
-- COLLATE "C" compares bytewise, as SQLite does.

-- Buckets and presets come from the configuration file or from the API.
CREATE TABLE buckets (
    name            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    policy          TEXT NOT NULL,
    managed_by_file BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);

CREATE TABLE presets (
    name            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    recipe          TEXT NOT NULL,
    managed_by_file BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);

CREATE TABLE assets (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bucket            TEXT COLLATE "C" NOT NULL,
    key               TEXT COLLATE "C" NOT NULL,
    version           BIGINT NOT NULL,
    status            TEXT NOT NULL,
    store             TEXT NOT NULL,
    place             TEXT NOT NULL,
    fingerprint       TEXT NOT NULL,
    size_bytes        BIGINT NOT NULL,
    sha256            TEXT NOT NULL,
    md5               TEXT NOT NULL,
    content_type      TEXT NOT NULL,
    original_filename TEXT,
    owner             TEXT,
    metadata          TEXT NOT NULL,
    tags              TEXT NOT NULL,
    width_px          BIGINT,
    height_px         BIGINT,
    frames            BIGINT,
    has_gps           BIGINT NOT NULL,
    description       TEXT,
    perceptual_hash   BIGINT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    expires_at        BIGINT,
    deleted_at        BIGINT,
    trash_place       TEXT
);
-- A deleted asset frees its key.
CREATE UNIQUE INDEX assets_by_key ON assets (bucket, key) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_sha256 ON assets (bucket, sha256) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_age ON assets (bucket, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_owner ON assets (owner) WHERE deleted_at IS NULL AND owner IS NOT NULL;
CREATE INDEX assets_by_expiry ON assets (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX assets_in_trash ON assets (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX assets_by_place ON assets (store, place);

CREATE TABLE variants (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    asset_id      TEXT COLLATE "C" NOT NULL,
    source_sha256 TEXT NOT NULL,
    recipe        TEXT NOT NULL,
    recipe_digest TEXT NOT NULL,
    preset        TEXT,
    status        TEXT NOT NULL,
    store         TEXT NOT NULL,
    place         TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    size_bytes    BIGINT NOT NULL,
    sha256        TEXT NOT NULL,
    content_type  TEXT NOT NULL,
    width_px      BIGINT,
    height_px     BIGINT,
    frames        BIGINT,
    error         TEXT,
    encoder       TEXT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX variants_by_identity ON variants (asset_id, source_sha256, recipe_digest);
CREATE INDEX variants_stale ON variants (updated_at) WHERE status = 'stale';
CREATE INDEX variants_unused ON variants (last_used_at) WHERE status = 'ready' AND preset IS NULL;
CREATE INDEX variants_by_place ON variants (store, place);

CREATE TABLE uploads (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bucket              TEXT COLLATE "C" NOT NULL,
    key                 TEXT COLLATE "C",
    status              TEXT NOT NULL,
    stage               TEXT NOT NULL,
    progress_percentage BIGINT NOT NULL,
    bytes_received      BIGINT NOT NULL,
    bytes_total         BIGINT,
    error               TEXT,
    asset_id            TEXT COLLATE "C",
    asset_version       BIGINT,
    staging_place       TEXT,
    sha256              TEXT,
    md5                 TEXT,
    size_bytes          BIGINT,
    content_type        TEXT,
    declared_type       TEXT,
    original_filename   TEXT,
    owner               TEXT,
    metadata            TEXT NOT NULL,
    tags                TEXT NOT NULL,
    door                TEXT NOT NULL,
    credential          TEXT COLLATE "C",
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    expires_at          BIGINT NOT NULL,
    asset_expires_at    BIGINT,
    finished_at         BIGINT
);
CREATE INDEX uploads_by_time ON uploads (created_at, id);
CREATE INDEX uploads_by_bucket ON uploads (bucket, created_at, id);
CREATE INDEX uploads_by_asset ON uploads (asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX uploads_open ON uploads (expires_at) WHERE finished_at IS NULL;
CREATE INDEX uploads_ended ON uploads (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE idempotency (
    scope             TEXT COLLATE "C" NOT NULL,
    key               TEXT COLLATE "C" NOT NULL,
    body_digest       TEXT NOT NULL,
    state             TEXT NOT NULL,
    status            BIGINT,
    headers           TEXT,
    body              TEXT,
    upload_id         TEXT COLLATE "C",
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    -- Takes the place of expires_at once the answer is stored.
    answer_expires_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

CREATE TABLE api_keys (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    scope         TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT,
    rotated_to    TEXT COLLATE "C"
);

-- One row for each key that was written to lately.
CREATE TABLE place_writes (
    bucket     TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    fence      BIGINT NOT NULL,
    holder     TEXT,
    expires_at BIGINT NOT NULL,
    intent     TEXT,
    PRIMARY KEY (bucket, key)
);
CREATE INDEX place_writes_interrupted ON place_writes (expires_at) WHERE intent IS NOT NULL;

CREATE TABLE schedules (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    cron    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    args    TEXT NOT NULL,
    next_at BIGINT NOT NULL,
    last_at BIGINT,
    enabled BIGINT NOT NULL
);
