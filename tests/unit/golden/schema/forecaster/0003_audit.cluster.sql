ALTER TABLE tidegauge.forecasts_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS id String CODEC(ZSTD(1));

CREATE OR REPLACE TABLE tidegauge.forecasts ON CLUSTER 'main' AS tidegauge.forecasts_local ENGINE = Distributed('main', 'tidegauge', 'forecasts_local', cityHash64(service));

ALTER TABLE tidegauge.decisions_local ON CLUSTER 'main'
  ADD COLUMN IF NOT EXISTS forecast_id String,
  ADD COLUMN IF NOT EXISTS capacity_id String,
  ADD COLUMN IF NOT EXISTS capacity_source LowCardinality(String),
  ADD COLUMN IF NOT EXISTS actor LowCardinality(String) DEFAULT 'tidegauge',
  ADD COLUMN IF NOT EXISTS forced UInt8,
  ADD COLUMN IF NOT EXISTS guardrails Array(LowCardinality(String)),
  ADD COLUMN IF NOT EXISTS warnings String DEFAULT '[]',
  ADD COLUMN IF NOT EXISTS operator_floor Nullable(UInt32),
  ADD COLUMN IF NOT EXISTS ready Nullable(UInt32),
  ADD COLUMN IF NOT EXISTS lead_seconds Nullable(UInt32),
  ADD COLUMN IF NOT EXISTS resource_version String;

CREATE OR REPLACE TABLE tidegauge.decisions ON CLUSTER 'main' AS tidegauge.decisions_local ENGINE = Distributed('main', 'tidegauge', 'decisions_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.floor_patches_local ON CLUSTER 'main' (
  id String, service LowCardinality(String), patched_at DateTime64(3, 'UTC'), action LowCardinality(String),
  decision_id String, actor LowCardinality(String), forced UInt8, reason String,
  floor_before Nullable(UInt32), floor_after Nullable(UInt32), ready_before Nullable(UInt32),
  resource_version String, applied UInt8, error String
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/floor_patches_local', '{replica}') PARTITION BY toYYYYMM(patched_at) ORDER BY (service, patched_at)
TTL toDateTime(patched_at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.floor_patches ON CLUSTER 'main' AS tidegauge.floor_patches_local ENGINE = Distributed('main', 'tidegauge', 'floor_patches_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.patch_leads_local ON CLUSTER 'main' (
  service LowCardinality(String), patched_at DateTime64(3, 'UTC'), patch_id String,
  ready_at Nullable(DateTime64(3, 'UTC')), seconds Nullable(Float64), written_at DateTime64(3, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/patch_leads_local', '{replica}', written_at) PARTITION BY toYYYYMM(patched_at) ORDER BY (service, patched_at, patch_id)
TTL toDateTime(patched_at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.patch_leads ON CLUSTER 'main' AS tidegauge.patch_leads_local ENGINE = Distributed('main', 'tidegauge', 'patch_leads_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.decision_outcomes_local ON CLUSTER 'main' (
  service LowCardinality(String), decided_at DateTime64(3, 'UTC'), decision_id String,
  due_at DateTime64(3, 'UTC'), until DateTime64(3, 'UTC'),
  demand_rps Nullable(Float64), replicas_needed Nullable(UInt32), ready Nullable(UInt32),
  enough Nullable(UInt8), floor_enough Nullable(UInt8), written_at DateTime64(3, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/decision_outcomes_local', '{replica}', written_at) PARTITION BY toYYYYMM(decided_at) ORDER BY (service, decided_at, decision_id)
TTL toDateTime(decided_at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.decision_outcomes ON CLUSTER 'main' AS tidegauge.decision_outcomes_local ENGINE = Distributed('main', 'tidegauge', 'decision_outcomes_local', cityHash64(service));

CREATE TABLE IF NOT EXISTS tidegauge.operator_orders_local ON CLUSTER 'main' (
  scope LowCardinality(String), ordered_at DateTime64(6, 'UTC'), id String, kind LowCardinality(String),
  value String, actor LowCardinality(String), reason String, forced UInt8
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/tidegauge/operator_orders_local', '{replica}') PARTITION BY toYear(ordered_at) ORDER BY (scope, ordered_at)
TTL toDateTime(ordered_at) + INTERVAL 3 YEAR
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.operator_orders ON CLUSTER 'main' AS tidegauge.operator_orders_local ENGINE = Distributed('main', 'tidegauge', 'operator_orders_local', cityHash64(scope));

CREATE TABLE IF NOT EXISTS tidegauge.counterfactuals_local ON CLUSTER 'main' (
  service LowCardinality(String), day Date, capacity_rps Float64, acted_seconds Float64,
  with_under_provisioned_seconds Float64, without_under_provisioned_seconds Float64,
  with_replica_seconds Float64, without_replica_seconds Float64, written_at DateTime64(3, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/tidegauge/counterfactuals_local', '{replica}', written_at) PARTITION BY toYear(day) ORDER BY (service, day)
TTL day + INTERVAL 3 YEAR
SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS tidegauge.counterfactuals ON CLUSTER 'main' AS tidegauge.counterfactuals_local ENGINE = Distributed('main', 'tidegauge', 'counterfactuals_local', cityHash64(service));

