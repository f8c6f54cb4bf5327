-- What was answered for each bucket, by the hour, and how long it took.

CREATE TABLE request_figures (
    bucket    TEXT COLLATE "C" NOT NULL,
    hour_at   BIGINT NOT NULL,
    requests  BIGINT NOT NULL,
    refused   BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    PRIMARY KEY (bucket, hour_at)
);

CREATE TABLE request_times (
    bucket   TEXT COLLATE "C" NOT NULL,
    hour_at  BIGINT NOT NULL,
    -- The time that these took at most, in microseconds.
    up_to_us BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    PRIMARY KEY (bucket, hour_at, up_to_us)
);
