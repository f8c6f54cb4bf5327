-- What was answered for each bucket, by the hour, and how long it took.

CREATE TABLE request_figures (
    bucket    TEXT NOT NULL,
    hour_at   INTEGER NOT NULL,
    requests  INTEGER NOT NULL,
    refused   INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    PRIMARY KEY (bucket, hour_at)
) STRICT;

CREATE TABLE request_times (
    bucket   TEXT NOT NULL,
    hour_at  INTEGER NOT NULL,
    -- The time that these took at most, in microseconds.
    up_to_us INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (bucket, hour_at, up_to_us)
) STRICT;
