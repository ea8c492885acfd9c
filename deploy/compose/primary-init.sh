#!/bin/bash
# Run once by the image when the primary's data directory is made: the role that followers copy with and the collector
# reads the server's statistics with; statements are counted.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -v password="$REPLICATION_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE replication WITH REPLICATION LOGIN PASSWORD :'password';
GRANT pg_monitor TO replication;
CREATE EXTENSION pg_stat_statements;
SQL
echo "host replication replication all scram-sha-256" >>"$PGDATA/pg_hba.conf"
