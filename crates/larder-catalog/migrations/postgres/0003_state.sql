-- What may be lost with the process.
-- COLLATE "C" compares bytewise, as SQLite does.

CREATE TABLE upload_progress (
    upload_id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bytes_received BIGINT NOT NULL,
    bytes_total    BIGINT,
    updated_at     BIGINT NOT NULL
);

CREATE TABLE last_uses (
    kind    TEXT COLLATE "C" NOT NULL,
    id      TEXT COLLATE "C" NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE TABLE workers (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    host       TEXT NOT NULL,
    pid        BIGINT NOT NULL,
    queues     TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);

CREATE TABLE job_beats (
    job_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    lease      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    progress   DOUBLE PRECISION,
    stage      TEXT
);
