-- The viewer's country, as the CDN in front of the service says it; empty when none does.

ALTER TABLE {database}.request_events
  ADD COLUMN IF NOT EXISTS country LowCardinality(String) CODEC(ZSTD(6)) AFTER region;
