#!/bin/bash
# A streaming replica: copies the primary once, then follows it.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  until pg_basebackup -h postgres-primary -U replication -D "$PGDATA" -S replica -R -X stream; do
    rm -rf "${PGDATA:?}"/*
    sleep 2
  done
fi
exec postgres -D "$PGDATA" -c hot_standby=on -c shared_preload_libraries=pg_stat_statements -c listen_addresses='*'
