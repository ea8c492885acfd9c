"""What the values of variables and the folders of mounts may be, by name, for compose and Kubernetes alike.

A variable that no rule speaks of is a finding: a new one brings its rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tests.deployment.known import IMAGES, foreign, target_of

_SECRET = r"\$\{[A-Z_]+:\?[^}]+\}"
_HOST = r"[a-z][a-z0-9.-]*:\d{2,5}"
_HTTP = rf"http://{_HOST}"
_POSTGRES = (
    rf"postgresql://(booking|replication):{_SECRET}@{_HOST}(,{_HOST})?/booking(\?target_session_attrs=read-write)?"
)
_REDIS = rf"redis://:{_SECRET}@{_HOST}/0"
_REPLICA = rf"(search|analytics|profiles)@(us-east-1|us-west-2|eu-west-1)={_POSTGRES}"
_RULES = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r".*(PASSWORD|TOKEN|SECRET|AUTH)", _SECRET),
        (r"(REFERENCE_APP_DATABASE|TIDEGAUGE_SAMPLE_POSTGRES)_URLS?", rf"{_POSTGRES}( {_POSTGRES})*"),
        (r"(REFERENCE_APP(_JOBS)?|TIDEGAUGE_SAMPLE)_REDIS_URLS?", rf"{_REDIS}( {_REDIS})*"),
        (r"REFERENCE_APP_REPLICAS", rf"{_REPLICA}( {_REPLICA})*"),
        (r"TIDEGAUGE_\w+_URL|REFERENCE_APP_EDGE_ORIGINS", _HTTP),
        (r"ORIGIN_\w+|DASHBOARD", _HOST),
        (r"\w+_BIND_ADDRESS", r"0\.0\.0\.0|127\.0\.0\.1"),
        (r"\w+_VERSION", re.escape(IMAGES["ours"]["version"])),
        (r"REFERENCE_APP_REDIS_CLUSTER", "on|off"),
        (r"\w+(_PORT|_SECONDS|_MAX|_SHARD)", r"[1-9]\d*"),
        (r"CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1"),
        (r"TIDEGAUGE_CLICKHOUSE_(CLUSTER|DATABASE)", "tidegauge"),
        (r"(TIDEGAUGE_)?CLICKHOUSE_USER", "tidegauge(_reader)?"),
        (r"POSTGRES_(USER|DB)", "booking"),
        (r"REFERENCE_APP_REGION", "us-east|us-west|eu-west"),
        (r"TIDEGAUGE_CONFIG", "/etc/tidegauge/tidegauge.yaml"),
        (r"TIDEGAUGE_DASHBOARD_ACCESS", "proxy|oidc"),
        (r"TIDEGAUGE_DASHBOARD_OPERATORS", "operator|group:operators"),  # the door's only name; the proxy's group
        (r"PGDATA", "/var/lib/postgresql/18/docker"),  # the image's own, whose folder is the volume's
        (r"CERTIFICATE", r"/certificates/edge\.pem"),
        (r"CERTIFICATE_KEY", r"/certificates/edge\.key"),
        (r"STATIC", "/static"),
        (r"CACHE", "/var/cache/nginx/answers"),
        (r"RUN", "/run/(door|edge)"),
        # held to the names of services elsewhere
        (r"CLICKHOUSE_REPLICA|FOLLOWER|VALKEY_HOSTNAME|VALKEY_NODES|HTTPS_SUFFIX|TIDEGAUGE_LOAD_ALLOWED_HOSTS", ".+"),
    )
)
_OUR_FOLDERS = frozenset({"/data", "/tmp", "/etc/tidegauge"})


def value_findings(name: str, value: str) -> Iterator[str]:
    """Yield what is wrong with a variable's value. Empty: it comes from a Secret, or takes another's place."""
    if value == "":
        return
    rules = [rule for pattern, rule in _RULES if pattern.fullmatch(name)]
    if not rules:
        yield f"{name}: no rule says what it may be (tests/deployment/values.py)"
    elif not rules[0].fullmatch(value):
        yield f"{name}={value}"


def mount_findings(image: str, folders: Collection[str]) -> Iterator[str]:
    """Yield the folders of mounts in which an image looks for nothing."""
    if target_of(image):
        known = _OUR_FOLDERS | ({"/var/cache/nginx"} if target_of(image) == "edge" else set())
    else:
        known = foreign()[image].folders if image in foreign() else frozenset()
    yield from (f"{image} has nothing in {folder}" for folder in folders if folder not in known)
