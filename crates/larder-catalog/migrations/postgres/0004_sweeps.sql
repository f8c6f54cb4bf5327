-- Indexes for what backfills and sweeps look for. Conditions are spelled as the queries spell them.

CREATE INDEX assets_by_id ON assets (bucket, id) WHERE deleted_at IS NULL;
CREATE INDEX place_writes_idle ON place_writes (expires_at) WHERE holder IS NULL AND intent IS NULL;
