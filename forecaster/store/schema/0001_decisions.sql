-- What the forecaster believed, decided and saw. Statements end in a semicolon at the end of a line.
-- Instants are of the clock in use, rates in requests/s of it. NULL says "there was none": never 0, never 1970.

CREATE TABLE {database}.forecasts (
  service LowCardinality(String), origin DateTime('UTC'), model LowCardinality(String), step_seconds UInt32,
  ds DateTime('UTC') CODEC(Delta, ZSTD(1)),
  quantiles Array(Float64) CODEC(ZSTD(1)), values_rps Array(Float64) CODEC(ZSTD(1)),
  created_at DateTime64(3, 'UTC'), history_from DateTime('UTC'), watermark DateTime('UTC')
) ENGINE = MergeTree PARTITION BY toYYYYMM(origin) ORDER BY (service, origin, ds)
TTL origin + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE {database}.decisions (
  id String, service LowCardinality(String), decided_at DateTime64(3, 'UTC'), mode LowCardinality(String),
  outcome LowCardinality(String),
  floor_before UInt32, floor_after UInt32, floor_wanted UInt32, applied UInt8, error String,
  reasons Array(String), needed_at Nullable(DateTime64(3, 'UTC')),
  forecast_origin Nullable(DateTime('UTC')), model LowCardinality(String), quantile Float64,
  capacity_low_rps Nullable(Float64), capacity_high_rps Nullable(Float64), plan String
) ENGINE = MergeTree PARTITION BY toYYYYMM(decided_at) ORDER BY (service, decided_at)
TTL toDateTime(decided_at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- capacity_rps: of one replica, the low end of its interval.
CREATE TABLE {database}.replica_states (
  service LowCardinality(String), ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
  operator_floor UInt32, floor UInt32, ceiling UInt32, desired UInt32, current UInt32, ready UInt32,
  capacity_rps Nullable(Float64)
) ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY (service, ts)
TTL toDateTime(ts) + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE {database}.policy_backtests (
  service LowCardinality(String), run_at DateTime64(3, 'UTC'), passed UInt8,
  window_from DateTime('UTC'), window_to DateTime('UTC'), report String
) ENGINE = MergeTree ORDER BY (service, run_at)
SETTINGS non_replicated_deduplication_window = 1000;
