ALTER TABLE tidegauge.load_seconds
  ADD COLUMN IF NOT EXISTS users Nullable(UInt32) CODEC(ZSTD(1));

