ALTER TABLE tidegauge.markers ADD COLUMN IF NOT EXISTS excludes_slo UInt8 DEFAULT 0;

CREATE TABLE IF NOT EXISTS tidegauge.series (
  series_id UInt64, name LowCardinality(String), service LowCardinality(String), kind LowCardinality(String),
  labels Map(LowCardinality(String), String), source LowCardinality(String), last_seen Date
) ENGINE = ReplacingMergeTree(last_seen) ORDER BY (name, service, series_id)
TTL last_seen + INTERVAL 100 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.samples (
  series_id UInt64 CODEC(Delta(8), ZSTD(1)),
  ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  digits Int8 CODEC(ZSTD(1)),
  scaled Int64 CODEC(Delta(8), T64('bit'), ZSTD(1)),
  raw Float64 CODEC(ZSTD(1)),
  value Float64 ALIAS if(digits < 0, raw, scaled / [1., 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9][greatest(digits, 0) + 1])
) ENGINE = ReplacingMergeTree PARTITION BY toMonday(ts) ORDER BY (series_id, ts)
TTL toDateTime(ts) + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS tidegauge.sample_histograms (
  series_id UInt64 CODEC(Delta(8), ZSTD(1)),
  ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  count Float64 CODEC(Delta(8), ZSTD(1)), sum Float64 CODEC(Delta(8), ZSTD(1)),
  scale Int8 CODEC(ZSTD(1)), zero_threshold Float64 CODEC(ZSTD(1)), zero_count Float64 CODEC(ZSTD(1)),
  positive Map(Int32, Float64) CODEC(ZSTD(1)), negative Map(Int32, Float64) CODEC(ZSTD(1)), reset UInt8 CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree PARTITION BY toMonday(ts) ORDER BY (series_id, ts)
TTL toDateTime(ts) + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

