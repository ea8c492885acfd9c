-- What the dashboard may do in a ClickHouse of one's own: read, within limits. An administrator runs this once, and gives the
-- role to the account of the dashboard: CREATE USER ... IDENTIFIED WITH sha256_hash BY '...' DEFAULT ROLE tidegauge_reader.

CREATE SETTINGS PROFILE IF NOT EXISTS tidegauge_reader
SETTINGS readonly = 2, max_execution_time = 30 MAX 60, max_memory_usage = 4000000000 MAX 4000000000,
  max_result_rows = 1000000 MAX 1000000, max_threads = 4 MAX 8, max_concurrent_queries_for_user = 32 MAX 32;

CREATE QUOTA IF NOT EXISTS tidegauge_reader KEYED BY user_name FOR INTERVAL 1 minute MAX queries = 6000;

CREATE ROLE IF NOT EXISTS tidegauge_reader SETTINGS PROFILE 'tidegauge_reader';

GRANT SELECT ON {database}.* TO tidegauge_reader;
