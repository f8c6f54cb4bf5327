-- What may be lost with the process.

CREATE TABLE upload_progress (
    upload_id      TEXT NOT NULL PRIMARY KEY,
    bytes_received INTEGER NOT NULL,
    bytes_total    INTEGER,
    updated_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE last_uses (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

CREATE TABLE workers (
    id         TEXT NOT NULL PRIMARY KEY,
    host       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    queues     TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE job_beats (
    job_id     TEXT NOT NULL PRIMARY KEY,
    lease      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    progress   REAL,
    stage      TEXT
) STRICT;
