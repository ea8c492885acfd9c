#!/bin/bash
# `node`: one of the cluster's three, which hold the caches. `jobs`: alone, holds the job queue, and forgets nothing.
# The settings come by standard input: a password in a command line can be read by anybody.
set -euo pipefail
settings="requirepass $VALKEY_PASSWORD
dir /data
appendonly yes
save \"\"
maxmemory 256mb
"
case "$1" in
  node)
    settings+="maxmemory-policy volatile-lru
masterauth $VALKEY_PASSWORD
cluster-enabled yes
cluster-announce-hostname $VALKEY_HOSTNAME
cluster-preferred-endpoint-type hostname
"
    ;;
  jobs) settings+="maxmemory-policy noeviction
" ;;
  *)
    echo "expected node or jobs, got $1" >&2
    exit 2
    ;;
esac
exec valkey-server - <<<"$settings"
