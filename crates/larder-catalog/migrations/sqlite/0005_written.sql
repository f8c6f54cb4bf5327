-- When the bytes under a key were last written, which is not when the asset first came: rules of
-- retention count from it.

ALTER TABLE assets ADD COLUMN written_at INTEGER NOT NULL DEFAULT 0;
UPDATE assets SET written_at = CASE WHEN version > 1 THEN updated_at ELSE created_at END;

CREATE INDEX assets_by_written ON assets (bucket, written_at) WHERE deleted_at IS NULL;
DROP INDEX assets_in_trash;
CREATE INDEX assets_in_trash ON assets (bucket, deleted_at) WHERE deleted_at IS NOT NULL;

-- Any variant may be unused, not only one without a preset: a preset's former recipe, above all.
DROP INDEX variants_unused;
CREATE INDEX variants_by_use ON variants (last_used_at, id) WHERE status = 'ready';
