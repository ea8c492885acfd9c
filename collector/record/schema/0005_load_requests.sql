-- Every request of a load run, as the load generator saw it. NULL: it never came to that.

CREATE TABLE {database}.load_requests (
  run_id String,
  intended DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
  sent Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
  first_byte Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
  done Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
  status Nullable(UInt16) CODEC(ZSTD(1)),
  name LowCardinality(String),
  error LowCardinality(Nullable(String))
) ENGINE = MergeTree PARTITION BY toDate(intended) ORDER BY (run_id, intended)
TTL toDateTime(intended) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;
