CREATE TABLE IF NOT EXISTS tidegauge.alerts (
  alert_id String, kind LowCardinality(String), service LowCardinality(String), name String,
  severity LowCardinality(String), phase LowCardinality(String),
  started_at DateTime64(6, 'UTC'), fired_at Nullable(DateTime64(6, 'UTC')), ended_at Nullable(DateTime64(6, 'UTC')),
  frozen UInt8, notified_at Nullable(DateTime64(6, 'UTC')), notifications UInt32,
  summary String, details String, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY alert_id
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.alert_changes (
  at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)), alert_id String, service LowCardinality(String),
  name String, severity LowCardinality(String), phase LowCardinality(String), frozen UInt8, notifications UInt32,
  summary String
) ENGINE = MergeTree PARTITION BY toYear(at) ORDER BY (service, at)
TTL toDateTime(at) + INTERVAL 3 YEAR
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.alert_evaluations (
  name LowCardinality(String), evaluated_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(evaluated_at) ORDER BY name
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.alert_conditions (
  service LowCardinality(String), name String, severity LowCardinality(String), breached UInt8,
  summary String, details String, hold_seconds UInt32,
  posted_at DateTime64(6, 'UTC'), expires_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(posted_at) ORDER BY (service, name)
TTL toDateTime(expires_at) + INTERVAL 8 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.alert_silences (
  silence_id String, service String, name String,
  starts_at DateTime64(6, 'UTC'), ends_at DateTime64(6, 'UTC'), author String, reason String, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY silence_id
TTL toDateTime(ends_at) + INTERVAL 1 YEAR
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS tidegauge.alert_acknowledgements (
  episode String, author String, note String, at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(at) ORDER BY episode
TTL toDateTime(at) + INTERVAL 1 YEAR
SETTINGS non_replicated_deduplication_window = 1000;

