CREATE TABLE IF NOT EXISTS tidegauge.alerts_local ON CLUSTER 'main' (
  alert_id String, kind LowCardinality(String), service LowCardinality(String), name String,
  severity LowCardinality(String), phase LowCardinality(String),
  started_at DateTime64(6, 'UTC'), fired_at Nullable(DateTime64(6, 'UTC')), ended_at Nullable(DateTime64(6, 'UTC')),
  frozen UInt8, notified_at Nullable(DateTime64(6, 'UTC')), notifications UInt32,
  summary String, details String, version UInt64
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/alerts_local', '{replica}', version) ORDER BY alert_id
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.alerts ON CLUSTER 'main' AS tidegauge.alerts_local ENGINE = Distributed('main', 'tidegauge', 'alerts_local', cityHash64(alert_id));

CREATE TABLE IF NOT EXISTS tidegauge.alert_changes_local ON CLUSTER 'main' (
  at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)), alert_id String, service LowCardinality(String),
  name String, severity LowCardinality(String), phase LowCardinality(String), frozen UInt8, notifications UInt32,
  summary String
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/alert_changes_local', '{replica}') PARTITION BY toYear(at) ORDER BY (service, at)
TTL toDateTime(at) + INTERVAL 3 YEAR
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.alert_changes ON CLUSTER 'main' AS tidegauge.alert_changes_local ENGINE = Distributed('main', 'tidegauge', 'alert_changes_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.alert_evaluations_local ON CLUSTER 'main' (
  name LowCardinality(String), evaluated_at DateTime64(6, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/alert_evaluations_local', '{replica}', evaluated_at) ORDER BY name
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.alert_evaluations ON CLUSTER 'main' AS tidegauge.alert_evaluations_local ENGINE = Distributed('main', 'tidegauge', 'alert_evaluations_local', cityHash64(name));

CREATE TABLE IF NOT EXISTS tidegauge.alert_conditions_local ON CLUSTER 'main' (
  service LowCardinality(String), name String, severity LowCardinality(String), breached UInt8,
  summary String, details String, hold_seconds UInt32,
  posted_at DateTime64(6, 'UTC'), expires_at DateTime64(6, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/alert_conditions_local', '{replica}', posted_at) ORDER BY (service, name)
TTL toDateTime(expires_at) + INTERVAL 8 DAY
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.alert_conditions ON CLUSTER 'main' AS tidegauge.alert_conditions_local ENGINE = Distributed('main', 'tidegauge', 'alert_conditions_local', cityHash64(service, name));

CREATE TABLE IF NOT EXISTS tidegauge.alert_silences_local ON CLUSTER 'main' (
  silence_id String, service String, name String,
  starts_at DateTime64(6, 'UTC'), ends_at DateTime64(6, 'UTC'), author String, reason String, version UInt64
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/alert_silences_local', '{replica}', version) ORDER BY silence_id
TTL toDateTime(ends_at) + INTERVAL 1 YEAR
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.alert_silences ON CLUSTER 'main' AS tidegauge.alert_silences_local ENGINE = Distributed('main', 'tidegauge', 'alert_silences_local', cityHash64(silence_id));

CREATE TABLE IF NOT EXISTS tidegauge.alert_acknowledgements_local ON CLUSTER 'main' (
  episode String, author String, note String, at DateTime64(6, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/alert_acknowledgements_local', '{replica}', at) ORDER BY episode
TTL toDateTime(at) + INTERVAL 1 YEAR
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.alert_acknowledgements ON CLUSTER 'main' AS tidegauge.alert_acknowledgements_local ENGINE = Distributed('main', 'tidegauge', 'alert_acknowledgements_local', cityHash64(episode));

