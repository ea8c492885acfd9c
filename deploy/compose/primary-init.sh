#!/bin/bash
# Run once by the image when the primary's data directory is made: a user for the replica, who may replicate; statements are counted.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -v password="$REPLICATION_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE replication WITH REPLICATION LOGIN PASSWORD :'password';
CREATE EXTENSION pg_stat_statements;
SELECT pg_create_physical_replication_slot('replica');
SQL
echo "host replication replication all scram-sha-256" >>"$PGDATA/pg_hba.conf"
