-- How good past forecasts were, and who may act. Statements end in a semicolon at the end of a line.

-- How much history it rests on, what a guard replaced, which events are in it.
ALTER TABLE {database}.forecasts ADD COLUMN IF NOT EXISTS notes Array(LowCardinality(String));

-- One row per forecast and bucket of horizons, written when the bucket's last truth has come. Sums, so that rows add up:
-- pinball, covered: by level, in the order of quantiles. demand, absolute_error, pinball: in requests/s summed over points.
-- points 0: every truth of the bucket is a gap.
CREATE TABLE {database}.forecast_scores (
  service LowCardinality(String), bucket LowCardinality(String), origin DateTime('UTC') CODEC(Delta, ZSTD(1)),
  model LowCardinality(String), naive LowCardinality(String), step_seconds UInt32, points UInt32,
  demand Float64, absolute_error Float64, naive_absolute_error Float64,
  quantiles Array(Float64) CODEC(ZSTD(1)), pinball Array(Float64) CODEC(ZSTD(1)),
  naive_pinball Array(Float64) CODEC(ZSTD(1)), covered Array(UInt32) CODEC(ZSTD(1)),
  scored_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(scored_at) PARTITION BY toYYYYMM(origin) ORDER BY (service, bucket, origin)
TTL origin + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- Who wants to act for a name, since when, and until when they were heard of: all by the store's own clock, in real time.
CREATE TABLE {database}.leases (
  name LowCardinality(String), holder String, claimed_at DateTime64(6, 'UTC'), renewed_at DateTime64(6, 'UTC'),
  released UInt8
) ENGINE = MergeTree ORDER BY (name, holder, renewed_at)
TTL toDateTime(renewed_at) + INTERVAL 1 DAY;
