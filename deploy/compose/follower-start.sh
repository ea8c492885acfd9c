#!/bin/bash
# A streaming follower (read replica or standby): copies the primary once, then follows it over a slot of its own.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  copy=(pg_basebackup -h postgres-primary -p 5432 -U replication -D "$PGDATA" -R -X stream -S "$FOLLOWER")
  # The slot is made with the first copy; after one that broke off it is there already.
  until "${copy[@]}" -C || { rm -rf "${PGDATA:?}"/* && "${copy[@]}"; }; do
    rm -rf "${PGDATA:?}"/*
    sleep 2
  done
fi
exec postgres -D "$PGDATA" -c config_file=/etc/postgresql/postgresql.conf
