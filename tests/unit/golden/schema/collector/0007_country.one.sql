ALTER TABLE tidegauge.request_events
  ADD COLUMN IF NOT EXISTS country LowCardinality(String) CODEC(ZSTD(6)) AFTER region;

