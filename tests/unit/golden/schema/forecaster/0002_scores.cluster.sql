ALTER TABLE tidegauge.forecasts_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS notes Array(LowCardinality(String));

CREATE OR REPLACE TABLE tidegauge.forecasts ON CLUSTER 'main' AS tidegauge.forecasts_local ENGINE = Distributed('main', 'tidegauge', 'forecasts_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.forecast_scores_local ON CLUSTER 'main' (
  service LowCardinality(String), bucket LowCardinality(String), origin DateTime('UTC') CODEC(Delta, ZSTD(1)),
  model LowCardinality(String), naive LowCardinality(String), step_seconds UInt32, points UInt32,
  demand Float64, absolute_error Float64, naive_absolute_error Float64,
  quantiles Array(Float64) CODEC(ZSTD(1)), pinball Array(Float64) CODEC(ZSTD(1)),
  naive_pinball Array(Float64) CODEC(ZSTD(1)), covered Array(UInt32) CODEC(ZSTD(1)),
  scored_at DateTime64(3, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/forecast_scores_local', '{replica}', scored_at) PARTITION BY toYYYYMM(origin) ORDER BY (service, bucket, origin)
TTL origin + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.forecast_scores ON CLUSTER 'main' AS tidegauge.forecast_scores_local ENGINE = Distributed('main', 'tidegauge', 'forecast_scores_local', cityHash64(service, bucket));

CREATE TABLE IF NOT EXISTS tidegauge.leases_local ON CLUSTER 'main' (
  name LowCardinality(String), holder String, claimed_at DateTime64(6, 'UTC'), renewed_at DateTime64(6, 'UTC'),
  released UInt8
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/leases_local', '{replica}') ORDER BY (name, holder, renewed_at)
TTL toDateTime(renewed_at) + INTERVAL 1 DAY;

CREATE TABLE IF NOT EXISTS tidegauge.leases ON CLUSTER 'main' AS tidegauge.leases_local ENGINE = Distributed('main', 'tidegauge', 'leases_local', cityHash64(name, holder));

