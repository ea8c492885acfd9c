CREATE TABLE IF NOT EXISTS tidegauge.request_events_local ON CLUSTER 'main' (
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
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/request_events_local', '{replica}') PARTITION BY toDate(ts) ORDER BY (service, route, ts)
TTL toDateTime(ts) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.request_events ON CLUSTER 'main' AS tidegauge.request_events_local ENGINE = Distributed('main', 'tidegauge', 'request_events_local', cityHash64(service, route));

CREATE TABLE IF NOT EXISTS tidegauge.red_1m_local ON CLUSTER 'main' (
  minute DateTime('UTC') CODEC(Delta, ZSTD(1)),
  service LowCardinality(String), route LowCardinality(String), method LowCardinality(String),
  version LowCardinality(String), region LowCardinality(String), status UInt16, cache_level LowCardinality(String),
  requests SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_max SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  response_bytes_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
) ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/tidegauge/red_1m_local', '{replica}') PARTITION BY toYYYYMM(minute)
ORDER BY (service, toStartOfHour(minute), route, method, version, region, status, cache_level, minute)
TTL minute + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.red_1m ON CLUSTER 'main' AS tidegauge.red_1m_local ENGINE = Distributed('main', 'tidegauge', 'red_1m_local', cityHash64(service, route));

CREATE MATERIALIZED VIEW IF NOT EXISTS tidegauge.red_1m_mv ON CLUSTER 'main' TO tidegauge.red_1m_local AS
SELECT toStartOfMinute(ts) AS minute, service, route, method, version, region, status, cache_level,
  count() AS requests, sum(duration_us) AS duration_us_sum, max(duration_us) AS duration_us_max,
  sum(response_bytes) AS response_bytes_sum,
  sumMap(map(toUInt16(ceil(log2(greatest(duration_us, 1)) * 8)), toUInt64(1))) AS histogram
FROM tidegauge.request_events_local
GROUP BY minute, service, route, method, version, region, status, cache_level;

CREATE TABLE IF NOT EXISTS tidegauge.red_1h_local ON CLUSTER 'main' (
  hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
  service LowCardinality(String), route LowCardinality(String), method LowCardinality(String),
  version LowCardinality(String), region LowCardinality(String), status UInt16, cache_level LowCardinality(String),
  requests SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  duration_us_max SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  response_bytes_sum SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
) ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/tidegauge/red_1h_local', '{replica}') PARTITION BY toYear(hour)
ORDER BY (service, toDate(hour), route, method, version, region, status, cache_level, hour)
TTL hour + INTERVAL 3 YEAR
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.red_1h ON CLUSTER 'main' AS tidegauge.red_1h_local ENGINE = Distributed('main', 'tidegauge', 'red_1h_local', cityHash64(service, route));

CREATE MATERIALIZED VIEW IF NOT EXISTS tidegauge.red_1h_mv ON CLUSTER 'main' TO tidegauge.red_1h_local AS
SELECT toStartOfHour(minute) AS hour, service, route, method, version, region, status, cache_level,
  sum(requests) AS requests, sum(duration_us_sum) AS duration_us_sum, max(duration_us_max) AS duration_us_max,
  sum(response_bytes_sum) AS response_bytes_sum, sumMap(histogram) AS histogram
FROM tidegauge.red_1m_local
GROUP BY hour, service, route, method, version, region, status, cache_level;

CREATE TABLE IF NOT EXISTS tidegauge.demand_recorded_local ON CLUSTER 'main' (
  service LowCardinality(String),
  ts DateTime('UTC') CODEC(Delta, ZSTD(1)),
  step_seconds UInt32,
  value SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1))
) ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/tidegauge/demand_recorded_local', '{replica}') PARTITION BY toYYYYMM(ts) ORDER BY (service, step_seconds, ts)
TTL ts + INTERVAL 3 YEAR
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.demand_recorded ON CLUSTER 'main' AS tidegauge.demand_recorded_local ENGINE = Distributed('main', 'tidegauge', 'demand_recorded_local', cityHash64(service, step_seconds));

CREATE MATERIALIZED VIEW IF NOT EXISTS tidegauge.demand_recorded_mv ON CLUSTER 'main' TO tidegauge.demand_recorded_local AS
SELECT service, minute AS ts, toUInt32(60) AS step_seconds, toFloat64(sum(requests)) AS value
FROM tidegauge.red_1m_local GROUP BY service, ts;

CREATE TABLE IF NOT EXISTS tidegauge.demand_imported_local ON CLUSTER 'main' (
  service LowCardinality(String),
  ts DateTime('UTC') CODEC(Delta, ZSTD(1)),
  step_seconds UInt32,
  value Float64 CODEC(ZSTD(1)),
  source LowCardinality(String),
  imported_at DateTime64(6, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/demand_imported_local', '{replica}', imported_at) PARTITION BY toYYYYMM(ts) ORDER BY (service, step_seconds, ts)
TTL ts + INTERVAL 3 YEAR
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.demand_imported ON CLUSTER 'main' AS tidegauge.demand_imported_local ENGINE = Distributed('main', 'tidegauge', 'demand_imported_local', cityHash64(service, step_seconds));

CREATE TABLE IF NOT EXISTS tidegauge.event_batches_local ON CLUSTER 'main' (
  received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
  batch_id String, client_id LowCardinality(String), service LowCardinality(String),
  events UInt32, generated_total UInt64, dropped_total UInt64
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/event_batches_local', '{replica}') PARTITION BY toDate(received_at) ORDER BY (client_id, received_at)
TTL toDateTime(received_at) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.event_batches ON CLUSTER 'main' AS tidegauge.event_batches_local ENGINE = Distributed('main', 'tidegauge', 'event_batches_local', cityHash64(client_id));

CREATE TABLE IF NOT EXISTS tidegauge.markers_local ON CLUSTER 'main' (
  id String, service LowCardinality(String), kind LowCardinality(String),
  starts_at DateTime64(3, 'UTC'), ends_at DateTime64(3, 'UTC'), text String, masks_history UInt8
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/markers_local', '{replica}') ORDER BY (service, starts_at, id)
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.markers ON CLUSTER 'main' AS tidegauge.markers_local ENGINE = Distributed('main', 'tidegauge', 'markers_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.load_runs_local ON CLUSTER 'main' (
  run_id String, service LowCardinality(String), scenario String, target String,
  started_at DateTime64(3, 'UTC'), ended_at DateTime64(3, 'UTC'), reported_at DateTime64(6, 'UTC'),
  status LowCardinality(String), summary String
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/load_runs_local', '{replica}', reported_at) ORDER BY (service, run_id)
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.load_runs ON CLUSTER 'main' AS tidegauge.load_runs_local ENGINE = Distributed('main', 'tidegauge', 'load_runs_local', cityHash64(service, run_id));

CREATE TABLE IF NOT EXISTS tidegauge.load_seconds_local ON CLUSTER 'main' (
  run_id String, second DateTime('UTC') CODEC(Delta, ZSTD(1)),
  intended UInt32, sent UInt32, done UInt32, failed UInt32, unsent UInt32,
  response_histogram Map(UInt16, UInt64) CODEC(ZSTD(1)), service_histogram Map(UInt16, UInt64) CODEC(ZSTD(1)),
  send_lag_us_max UInt32
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/load_seconds_local', '{replica}') PARTITION BY toYYYYMM(second) ORDER BY (run_id, second)
TTL second + INTERVAL 95 DAY
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.load_seconds ON CLUSTER 'main' AS tidegauge.load_seconds_local ENGINE = Distributed('main', 'tidegauge', 'load_seconds_local', cityHash64(run_id));

CREATE TABLE IF NOT EXISTS tidegauge.capacities_local ON CLUSTER 'main' (
  service LowCardinality(String), measured_at DateTime64(3, 'UTC'), version String, source LowCardinality(String),
  low_rps Float64, high_rps Float64, details String
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/capacities_local', '{replica}') ORDER BY (service, measured_at)
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.capacities ON CLUSTER 'main' AS tidegauge.capacities_local ENGINE = Distributed('main', 'tidegauge', 'capacities_local', cityHash64(service));

