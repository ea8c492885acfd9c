ALTER TABLE tidegauge.load_seconds_local ON CLUSTER 'main'
  ADD COLUMN IF NOT EXISTS users Nullable(UInt32) CODEC(ZSTD(1));

CREATE OR REPLACE TABLE tidegauge.load_seconds ON CLUSTER 'main' AS tidegauge.load_seconds_local ENGINE = Distributed('main', 'tidegauge', 'load_seconds_local', cityHash64(run_id));

