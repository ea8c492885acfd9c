ALTER TABLE tidegauge.request_events
  ADD COLUMN IF NOT EXISTS minute DateTime('UTC') MATERIALIZED toStartOfMinute(ts) CODEC(Delta, ZSTD(1)) AFTER ts;

