-- Indexes for what backfills and sweeps look for. Conditions are spelled as the queries spell them.

CREATE INDEX assets_by_id ON assets (bucket, id) WHERE deleted_at IS NULL;
CREATE INDEX place_writes_idle ON place_writes (expires_at) WHERE holder IS NULL AND intent IS NULL;

-- Lists of all uploads and jobs go by id, which begins with the time.
DROP INDEX uploads_by_time;
DROP INDEX jobs_by_time;
