CREATE TABLE IF NOT EXISTS tidegauge.load_requests_local ON CLUSTER 'main' (
  run_id String,
  intended DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
  sent Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
  first_byte Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
  done Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
  status Nullable(UInt16) CODEC(ZSTD(1)),
  name LowCardinality(String),
  error LowCardinality(Nullable(String))
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/load_requests_local', '{replica}') PARTITION BY toDate(intended) ORDER BY (run_id, intended)
TTL toDateTime(intended) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.load_requests ON CLUSTER 'main' AS tidegauge.load_requests_local ENGINE = Distributed('main', 'tidegauge', 'load_requests_local', cityHash64(run_id));

