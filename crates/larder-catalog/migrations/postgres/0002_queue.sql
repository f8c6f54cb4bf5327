-- Jobs. Conditions of partial indexes are spelled as the queries spell them.
-- COLLATE "C" compares bytewise, as SQLite does.

CREATE TABLE jobs (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind             TEXT NOT NULL,
    queue            TEXT COLLATE "C" NOT NULL,
    args             TEXT NOT NULL,
    unique_key       TEXT COLLATE "C",
    priority         BIGINT NOT NULL,
    state            TEXT COLLATE "C" NOT NULL,
    attempts         BIGINT NOT NULL,
    max_attempts     BIGINT NOT NULL,
    crashes          BIGINT NOT NULL,
    run_at           BIGINT NOT NULL,
    lease            BIGINT NOT NULL,
    leased_by        TEXT,
    lease_expires_at BIGINT,
    cancel_requested BIGINT NOT NULL,
    rerun            BIGINT NOT NULL,
    error            TEXT,
    bucket           TEXT COLLATE "C",
    subject          TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    started_at       BIGINT,
    finished_at      BIGINT
);
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
    job_id     TEXT COLLATE "C" NOT NULL,
    lease      BIGINT NOT NULL,
    worker     TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at   BIGINT,
    outcome    TEXT NOT NULL,
    error      TEXT,
    PRIMARY KEY (job_id, lease)
);
CREATE INDEX job_attempts_ended ON job_attempts (ended_at) WHERE ended_at IS NOT NULL;
