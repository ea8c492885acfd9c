ALTER TABLE tidegauge.markers_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS excludes_slo UInt8 DEFAULT 0;

CREATE OR REPLACE TABLE tidegauge.markers ON CLUSTER 'main' AS tidegauge.markers_local ENGINE = Distributed('main', 'tidegauge', 'markers_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.series_local ON CLUSTER 'main' (
  series_id UInt64, name LowCardinality(String), service LowCardinality(String), kind LowCardinality(String),
  labels Map(LowCardinality(String), String), source LowCardinality(String), last_seen Date
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/series_local', '{replica}', last_seen) ORDER BY (name, service, series_id)
TTL last_seen + INTERVAL 100 DAY
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.series ON CLUSTER 'main' AS tidegauge.series_local ENGINE = Distributed('main', 'tidegauge', 'series_local', cityHash64(name, service));

CREATE TABLE IF NOT EXISTS tidegauge.samples_local ON CLUSTER 'main' (
  series_id UInt64 CODEC(Delta(8), ZSTD(1)),
  ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  digits Int8 CODEC(ZSTD(1)),
  scaled Int64 CODEC(Delta(8), T64('bit'), ZSTD(1)),
  raw Float64 CODEC(ZSTD(1)),
  value Float64 ALIAS if(digits < 0, raw, scaled / [1., 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9][greatest(digits, 0) + 1])
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/samples_local', '{replica}') PARTITION BY toMonday(ts) ORDER BY (series_id, ts)
TTL toDateTime(ts) + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.samples ON CLUSTER 'main' AS tidegauge.samples_local ENGINE = Distributed('main', 'tidegauge', 'samples_local', cityHash64(series_id));

CREATE TABLE IF NOT EXISTS tidegauge.sample_histograms_local ON CLUSTER 'main' (
  series_id UInt64 CODEC(Delta(8), ZSTD(1)),
  ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  count Float64 CODEC(Delta(8), ZSTD(1)), sum Float64 CODEC(Delta(8), ZSTD(1)),
  scale Int8 CODEC(ZSTD(1)), zero_threshold Float64 CODEC(ZSTD(1)), zero_count Float64 CODEC(ZSTD(1)),
  positive Map(Int32, Float64) CODEC(ZSTD(1)), negative Map(Int32, Float64) CODEC(ZSTD(1)), reset UInt8 CODEC(ZSTD(1))
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/sample_histograms_local', '{replica}') PARTITION BY toMonday(ts) ORDER BY (series_id, ts)
TTL toDateTime(ts) + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.sample_histograms ON CLUSTER 'main' AS tidegauge.sample_histograms_local ENGINE = Distributed('main', 'tidegauge', 'sample_histograms_local', cityHash64(series_id));

