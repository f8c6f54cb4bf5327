-- Jobs. Conditions of partial indexes are spelled as the queries spell them.

CREATE TABLE jobs (
    id               TEXT NOT NULL PRIMARY KEY,
    kind             TEXT NOT NULL,
    queue            TEXT NOT NULL,
    args             TEXT NOT NULL,
    unique_key       TEXT,
    priority         INTEGER NOT NULL,
    state            TEXT NOT NULL,
    attempts         INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    crashes          INTEGER NOT NULL,
    run_at           INTEGER NOT NULL,
    lease            INTEGER NOT NULL,
    leased_by        TEXT,
    lease_expires_at INTEGER,
    cancel_requested INTEGER NOT NULL,
    rerun            INTEGER NOT NULL,
    error            TEXT,
    bucket           TEXT,
    subject          TEXT,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    finished_at      INTEGER
) STRICT;
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX jobs_due ON jobs (queue, priority DESC, run_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lease_expires_at) WHERE state = 'running';
CREATE INDEX jobs_backlog ON jobs (bucket) WHERE state = 'queued';
CREATE INDEX jobs_by_time ON jobs (created_at, id);
CREATE INDEX jobs_by_subject ON jobs (subject) WHERE subject IS NOT NULL;
CREATE INDEX jobs_counted ON jobs (queue, state, run_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE job_attempts (
    job_id     TEXT NOT NULL,
    lease      INTEGER NOT NULL,
    worker     TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT NOT NULL,
    error      TEXT,
    PRIMARY KEY (job_id, lease)
) STRICT;
CREATE INDEX job_attempts_ended ON job_attempts (ended_at) WHERE ended_at IS NOT NULL;
