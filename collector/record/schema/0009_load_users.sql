-- How many users were at work in each second of a load run; none where they were not counted.

ALTER TABLE {database}.load_seconds
  ADD COLUMN IF NOT EXISTS users Nullable(UInt32) CODEC(ZSTD(1));
