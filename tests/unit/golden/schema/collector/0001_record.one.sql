CREATE TABLE IF NOT EXISTS tidegauge.request_events (
  ts DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
  service LowCardinality(String),
  route LowCardinality(String),
  method LowCardinality(String),
  status UInt16 CODEC(ZSTD(1)),
  duration_us UInt32 CODEC(T64, ZSTD(1)),
  response_bytes UInt32 CODEC(T64, ZSTD(1)),
  region LowCardinality(String),
  instance LowCardinality(String),
  version LowCardinality(String),
  cache_level LowCardinality(String),
  database_target LowCardinality(String),
  user_agent_family LowCardinality(String),
  trace_id String CODEC(ZSTD(1))
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (service, route, ts)
TTL toDateTime(ts) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS tidegauge.red_1m (
  minute DateTime('UTC') CODEC(Delta, ZSTD(1)),
  service LowCardinality(String), route LowCardinality(String), method LowCardinality(String),
  version LowCardinality(String), region LowCardinality(String), status UInt16, cache_level LowCardinality(String),
  requests SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_max SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  response_bytes_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(minute)
ORDER BY (service, toStartOfHour(minute), route, method, version, region, status, cache_level, minute)
TTL minute + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS tidegauge.red_1m_mv TO tidegauge.red_1m AS
SELECT toStartOfMinute(ts) AS minute, service, route, method, version, region, status, cache_level,
  count() AS requests, sum(duration_us) AS duration_us_sum, max(duration_us) AS duration_us_max,
  sum(response_bytes) AS response_bytes_sum,
  sumMap(map(toUInt16(ceil(log2(greatest(duration_us, 1)) * 8)), toUInt64(1))) AS histogram
FROM tidegauge.request_events
GROUP BY minute, service, route, method, version, region, status, cache_level;

CREATE TABLE IF NOT EXISTS tidegauge.red_1h (
  hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
  service LowCardinality(String), route LowCardinality(String), method LowCardinality(String),
  version LowCardinality(String), region LowCardinality(String), status UInt16, cache_level LowCardinality(String),
  requests SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_max SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  response_bytes_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY toYear(hour)
ORDER BY (service, toDate(hour), route, method, version, region, status, cache_level, hour)
TTL hour + INTERVAL 3 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS tidegauge.red_1h_mv TO tidegauge.red_1h AS
SELECT toStartOfHour(minute) AS hour, service, route, method, version, region, status, cache_level,
  sum(requests) AS requests, sum(duration_us_sum) AS duration_us_sum, max(duration_us_max) AS duration_us_max,
  sum(response_bytes_sum) AS response_bytes_sum, sumMap(histogram) AS histogram
FROM tidegauge.red_1m
GROUP BY hour, service, route, method, version, region, status, cache_level;

CREATE TABLE IF NOT EXISTS tidegauge.demand_recorded (
  service LowCardinality(String),
  ts DateTime('UTC') CODEC(Delta, ZSTD(1)),
  step_seconds UInt32,
  value SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(ts) ORDER BY (service, step_seconds, ts)
TTL ts + INTERVAL 3 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS tidegauge.demand_recorded_mv TO tidegauge.demand_recorded AS
SELECT service, minute AS ts, toUInt32(60) AS step_seconds, toFloat64(sum(requests)) AS value
FROM tidegauge.red_1m GROUP BY service, ts;

CREATE TABLE IF NOT EXISTS tidegauge.demand_imported (
  service LowCardinality(String),
  ts DateTime('UTC') CODEC(Delta, ZSTD(1)),
  step_seconds UInt32,
  value Float64 CODEC(ZSTD(1)),
  source LowCardinality(String),
  imported_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(imported_at) PARTITION BY toYYYYMM(ts) ORDER BY (service, step_seconds, ts)
TTL ts + INTERVAL 3 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS tidegauge.event_batches (
  received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
  batch_id String, client_id LowCardinality(String), service LowCardinality(String),
  events UInt32, generated_total UInt64, dropped_total UInt64
) ENGINE = MergeTree PARTITION BY toDate(received_at) ORDER BY (client_id, received_at)
TTL toDateTime(received_at) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS tidegauge.markers (
  id String, service LowCardinality(String), kind LowCardinality(String),
  starts_at DateTime64(3, 'UTC'), ends_at DateTime64(3, 'UTC'), text String, masks_history UInt8
) ENGINE = ReplacingMergeTree ORDER BY (service, starts_at, id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.load_runs (
  run_id String, service LowCardinality(String), scenario String, target String,
  started_at DateTime64(3, 'UTC'), ended_at DateTime64(3, 'UTC'), reported_at DateTime64(6, 'UTC'),
  status LowCardinality(String), summary String
) ENGINE = ReplacingMergeTree(reported_at) ORDER BY (service, run_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.load_seconds (
  run_id String, second DateTime('UTC') CODEC(Delta, ZSTD(1)),
  intended UInt32, sent UInt32, done UInt32, failed UInt32, unsent UInt32,
  response_histogram Map(UInt16, UInt64) CODEC(ZSTD(1)), service_histogram Map(UInt16, UInt64) CODEC(ZSTD(1)),
  send_lag_us_max UInt32
) ENGINE = MergeTree PARTITION BY toYYYYMM(second) ORDER BY (run_id, second)
TTL second + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS tidegauge.capacities (
  service LowCardinality(String), measured_at DateTime64(3, 'UTC'), version String, source LowCardinality(String),
  low_rps Float64, high_rps Float64, details String
) ENGINE = MergeTree ORDER BY (service, measured_at)
SETTINGS non_replicated_deduplication_window = 1000;

