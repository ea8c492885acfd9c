ALTER TABLE tidegauge.request_events_local ON CLUSTER 'main'
  ADD COLUMN IF NOT EXISTS minute DateTime('UTC') MATERIALIZED toStartOfMinute(ts) CODEC(Delta, ZSTD(1)) AFTER ts;

CREATE OR REPLACE TABLE tidegauge.request_events ON CLUSTER 'main' AS tidegauge.request_events_local ENGINE = Distributed('main', 'tidegauge', 'request_events_local', cityHash64(service, route));

