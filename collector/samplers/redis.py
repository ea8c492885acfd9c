"""Redis or Valkey by INFO: memory, clients, hits, evictions, keys, replication. The collector's only redis client."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import redis

from collector.samplers.reading import Reading, SourceUnreachableError

_TIMEOUT_SECONDS = 5
_GAUGES = {
    "connected_clients": "redis_connected_clients",
    "blocked_clients": "redis_blocked_clients",
    "used_memory": "redis_used_memory_bytes",
    "used_memory_rss": "redis_used_memory_rss_bytes",
    "maxmemory": "redis_max_memory_bytes",
    "mem_fragmentation_ratio": "redis_memory_fragmentation_ratio",
    "connected_slaves": "redis_connected_replicas",
    "uptime_in_seconds": "redis_uptime_seconds",
    "instantaneous_ops_per_sec": "redis_operations_per_second",
}
_COUNTERS = {
    "total_commands_processed": "redis_commands_total",
    "total_connections_received": "redis_connections_total",
    "rejected_connections": "redis_rejected_connections_total",
    "keyspace_hits": "redis_keyspace_hits_total",
    "keyspace_misses": "redis_keyspace_misses_total",
    "expired_keys": "redis_expired_keys_total",
    "evicted_keys": "redis_evicted_keys_total",
    "used_cpu_sys": "redis_cpu_system_seconds_total",
    "used_cpu_user": "redis_cpu_user_seconds_total",
}


def sample_redis(url: str) -> list[Reading]:
    """Ask one server. Raises SourceUnreachableError."""
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        ) as client:
            info: Any = client.info()
    except (redis.RedisError, OSError, ValueError) as error:
        raise SourceUnreachableError(f"Redis at {server_of(url)}: {error}") from error
    return list(readings_of(info, {"server": server_of(url)}))


def readings_of(info: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[Reading]:
    """Yield the readings of an INFO answer. A field that this server does not have gives none."""
    for known, kind in ((_GAUGES, "gauge"), (_COUNTERS, "counter")):
        for key, name in known.items():
            value = info.get(key)
            if isinstance(value, (int, float)) and math.isfinite(value):
                yield Reading(name, float(value), labels, "counter" if kind == "counter" else "gauge")
    for key, value in info.items():
        if key.startswith("db") and key[2:].isdigit() and isinstance(value, dict):
            yield Reading("redis_keys", float(value["keys"]), {**labels, "database": key[2:]})
    if "master_link_status" in info:
        yield Reading("redis_master_link_up", float(info["master_link_status"] == "up"), labels)


def server_of(url: str) -> str:
    """Return host and port (or the socket) of a URL: what may be shown."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
