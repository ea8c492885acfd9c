-- What became of decisions, who gave orders, and what the floors were worth. Statements end in a semicolon at the end of a line.

-- Made of the service, origin, watermark and model: the same forecast written again has the same id.
ALTER TABLE {database}.forecasts ADD COLUMN IF NOT EXISTS id String CODEC(ZSTD(1));

-- actor: tidegauge, or the account that asked for it; forced: against the mode or without a passed backtest.
-- guardrails: what changed the floor on its way, in order; why stands in reasons. warnings: what people are told, as JSON.
-- lead_seconds: what the decision reckoned with. '' in the rows from before these columns.
ALTER TABLE {database}.decisions
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

-- One row per attempt to change a floor. action: apply or release; decision_id is empty for a release.
CREATE TABLE {database}.floor_patches (
  id String, service LowCardinality(String), patched_at DateTime64(3, 'UTC'), action LowCardinality(String),
  decision_id String, actor LowCardinality(String), forced UInt8, reason String,
  floor_before Nullable(UInt32), floor_after Nullable(UInt32), ready_before Nullable(UInt32),
  resource_version String, applied UInt8, error String
) ENGINE = MergeTree PARTITION BY toYYYYMM(patched_at) ORDER BY (service, patched_at)
TTL toDateTime(patched_at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- How long a raise took until its replicas were ready; NULL: another change came first, or they never were.
CREATE TABLE {database}.patch_leads (
  service LowCardinality(String), patched_at DateTime64(3, 'UTC'), patch_id String,
  ready_at Nullable(DateTime64(3, 'UTC')), seconds Nullable(Float64), written_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(written_at) PARTITION BY toYYYYMM(patched_at) ORDER BY (service, patched_at, patch_id)
TTL toDateTime(patched_at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- What came in the time that a decision had to see to: [due_at, until). NULL: nobody knows.
CREATE TABLE {database}.decision_outcomes (
  service LowCardinality(String), decided_at DateTime64(3, 'UTC'), decision_id String,
  due_at DateTime64(3, 'UTC'), until DateTime64(3, 'UTC'),
  demand_rps Nullable(Float64), replicas_needed Nullable(UInt32), ready Nullable(UInt32),
  enough Nullable(UInt8), floor_enough Nullable(UInt8), written_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(written_at) PARTITION BY toYYYYMM(decided_at) ORDER BY (service, decided_at, decision_id)
TTL toDateTime(decided_at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- What people ordered: pause, resume, release, mode. scope '*': all services. ordered_at: real time, whatever the clock.
CREATE TABLE {database}.operator_orders (
  scope LowCardinality(String), ordered_at DateTime64(6, 'UTC'), id String, kind LowCardinality(String),
  value String, actor LowCardinality(String), reason String, forced UInt8
) ENGINE = MergeTree PARTITION BY toYear(ordered_at) ORDER BY (scope, ordered_at)
TTL toDateTime(ordered_at) + INTERVAL 3 YEAR
SETTINGS non_replicated_deduplication_window = 10000;

-- One row per service and day in mode act: with our floors, and with the operator's alone, played by the same simulator.
-- shard by service
CREATE TABLE {database}.counterfactuals (
  service LowCardinality(String), day Date, capacity_rps Float64, acted_seconds Float64,
  with_under_provisioned_seconds Float64, without_under_provisioned_seconds Float64,
  with_replica_seconds Float64, without_replica_seconds Float64, written_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(written_at) PARTITION BY toYear(day) ORDER BY (service, day)
TTL day + INTERVAL 3 YEAR
SETTINGS non_replicated_deduplication_window = 1000;
