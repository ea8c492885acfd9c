#!/bin/bash
# Makes one cluster of the nodes of VALKEY_NODES, once; after a restart, in which they got other addresses, they meet again.
set -euo pipefail
read -ra nodes <<<"$VALKEY_NODES"
addresses=()
for node in "${nodes[@]}"; do
  until [ "$(valkey-cli -h "$node" ping)" = PONG ]; do sleep 1; done
  addresses+=("$(getent hosts "$node" | cut -d ' ' -f 1)")
done
if valkey-cli -h "${nodes[0]}" cluster info | grep -q 'cluster_slots_assigned:16384'; then
  for address in "${addresses[@]}"; do valkey-cli -h "${nodes[0]}" cluster meet "$address" 6379; done
else
  valkey-cli --cluster create "${addresses[@]/%/:6379}" --cluster-yes
fi
until valkey-cli -h "${nodes[0]}" cluster info | grep -q 'cluster_state:ok'; do sleep 1; done
