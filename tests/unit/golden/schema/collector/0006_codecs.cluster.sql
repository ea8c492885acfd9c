ALTER TABLE tidegauge.request_events_local ON CLUSTER 'main'
  MODIFY COLUMN ts DateTime64(6, 'UTC') CODEC(Delta, T64('bit'), ZSTD(6)),
  MODIFY COLUMN duration_us UInt32 CODEC(T64('bit'), ZSTD(6)),
  MODIFY COLUMN response_bytes UInt32 CODEC(T64('bit'), ZSTD(6)),
  MODIFY COLUMN service LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN route LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN method LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN region LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN instance LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN version LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN cache_level LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN database_target LowCardinality(String) CODEC(ZSTD(9)),
  MODIFY COLUMN user_agent_family LowCardinality(String) CODEC(ZSTD(9));

CREATE OR REPLACE TABLE tidegauge.request_events ON CLUSTER 'main' AS tidegauge.request_events_local ENGINE = Distributed('main', 'tidegauge', 'request_events_local', cityHash64(service, route));

ALTER TABLE tidegauge.red_1m_local ON CLUSTER 'main'
  MODIFY COLUMN service LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN route LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN method LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN version LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN region LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN cache_level LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN status UInt16 CODEC(ZSTD(1));

CREATE OR REPLACE TABLE tidegauge.red_1m ON CLUSTER 'main' AS tidegauge.red_1m_local ENGINE = Distributed('main', 'tidegauge', 'red_1m_local', cityHash64(service, route));

ALTER TABLE tidegauge.red_1h_local ON CLUSTER 'main'
  MODIFY COLUMN service LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN route LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN method LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN version LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN region LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN cache_level LowCardinality(String) CODEC(ZSTD(1)),
  MODIFY COLUMN status UInt16 CODEC(ZSTD(1));

CREATE OR REPLACE TABLE tidegauge.red_1h ON CLUSTER 'main' AS tidegauge.red_1h_local ENGINE = Distributed('main', 'tidegauge', 'red_1h_local', cityHash64(service, route));

