"""The judgements: each a pure function of facts that returns findings with what to do. None touches the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tidegauge.doctor.facts import Answer, Database, Disk, Right, Store, Unreachable
from tidegauge.doctor.findings import Finding

LEAST_PYTHON = (3, 11)  # of pyproject.toml
TRIED_CLICKHOUSE = (25, 8)  # the oldest that deploy/images.toml names
LEAST_FREE_BYTES, FEW_FREE_BYTES = 512 * 2**20, 5 * 2**30
WRONG_CLOCK_SECONDS, ODD_CLOCK_SECONDS = 30.0, 2.0  # an alert's minute is evaluated 3 s after its end
LATE_SECONDS = 60
LAG_SECONDS = 5.0  # the app does not read a replica that lags more


def check_python(version: Sequence[int]) -> Finding:
    """Return whether this Python is new enough."""
    found = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) < LEAST_PYTHON:
        return Finding("python", "broken", found, f"use Python {'.'.join(map(str, LEAST_PYTHON))} or newer")
    return Finding("python", "well", found)


def check_settings(problems: Mapping[str, str], *, configuration: str) -> list[Finding]:
    """Return what the settings' own readers said: problems by what was read (empty: nothing)."""
    advice = "docs/configuration.md lists every setting; `tidegauge config check` judges the file"
    broken = [Finding(f"settings of {name}", "broken", text, advice) for name, text in problems.items()]
    return broken or [Finding("settings", "well", f"the environment and {configuration} can be read")]


def check_ports(taken: Sequence[tuple[int, str, str]], *, runs: bool) -> list[Finding]:
    """Return whether a stack could start. taken: (port, part, setting) that somebody has; runs: it is our own stack."""
    if runs:
        return [Finding("ports", "well", "the stack of this data directory runs")]
    if not taken:
        return [Finding("ports", "well", "all that `tidegauge up` wants are free")]
    return [
        Finding(
            "ports", "warning", f"{port} for {part} is taken", f"stop who has it, or set {setting}: it matters to `up`"
        )
        for port, part, setting in taken
    ]


def check_disk(disk: Disk) -> Finding:
    """Return whether there is room for the record and its spool."""
    free = f"{disk.free_bytes / 2**30:.1f} GiB free in {disk.path}"
    if not disk.writable:
        return Finding("disk", "broken", f"{disk.path} cannot be written", "set TIDEGAUGE_DATA to a folder of yours")
    if disk.free_bytes < LEAST_FREE_BYTES:
        return Finding("disk", "broken", free, "make room: events are refused when the spool's disk is full")
    if disk.free_bytes < FEW_FREE_BYTES:
        return Finding(
            "disk", "warning", free, "a busy service's record takes gigabytes; TIDEGAUGE_RETENTION keeps less"
        )
    return Finding("disk", "well", free)


def check_clock(name: str, theirs: float | None, ours: float) -> Finding:
    """Return whether a server's clock is ours (both real, epoch seconds)."""
    if theirs is None:
        return Finding(f"clock of {name}", "left out", "it does not tell the time")
    apart = theirs - ours
    found = f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    advice = "let both follow NTP: minutes, alerts and forecasts are put together by the clock"
    if abs(apart) > WRONG_CLOCK_SECONDS:
        return Finding(f"clock of {name}", "broken", found, advice)
    return Finding(
        f"clock of {name}",
        "warning" if abs(apart) > ODD_CLOCK_SECONDS else "well",
        found,
        advice * (abs(apart) > ODD_CLOCK_SECONDS),
    )


def check_store(store: Store | Unreachable, *, wanted: bool, cluster: str | None) -> list[Finding]:
    """Return how the ClickHouse is. wanted: a URL is set; without one it is the embedded store's default place."""
    if isinstance(store, Unreachable):
        if wanted:
            return [Finding("clickhouse", "broken", store.why, "look at TIDEGAUGE_CLICKHOUSE_URL, _USER and _PASSWORD")]
        return [
            Finding("clickhouse", "left out", "none is set and none runs", "`tidegauge up` starts the embedded one")
        ]
    return [_store_version(store), *_store_settings(store), _store_zone(store), *_store_replication(store, cluster)]


def _store_version(store: Store) -> Finding:
    numbers = [int(part) for part in store.version.split(".")[:2] if part.isdecimal()]
    if tuple(numbers) < TRIED_CLICKHOUSE:
        tried = ".".join(map(str, TRIED_CLICKHOUSE))
        return Finding("clickhouse version", "warning", store.version, f"nothing older than {tried} was tried: upgrade")
    return Finding("clickhouse version", "well", store.version)


def _store_settings(store: Store) -> list[Finding]:
    found = []
    if store.settings.get("readonly", "0") != "0":
        advice = "collector and forecaster need an account that may write; the dashboard's may only read"
        found.append(Finding("clickhouse account", "broken", "it may only read", advice))
    if store.settings.get("insert_deduplicate", "1") == "0":
        advice = "remove insert_deduplicate = 0 from the account's profile: a batch sent twice would be stored twice"
        found.append(Finding("clickhouse settings", "warning", "insert_deduplicate is off", advice))
    return found or [Finding("clickhouse settings", "well", "the account may write, inserts are deduplicated")]


def _store_zone(store: Store) -> Finding:
    if store.timezone in ("UTC", "Etc/UTC"):
        return Finding("clickhouse time zone", "well", store.timezone)
    advice = "set <timezone>UTC</timezone>: hours and days of the record are UTC's"
    return Finding("clickhouse time zone", "warning", store.timezone, advice)


def _store_replication(store: Store, cluster: str | None) -> list[Finding]:
    if cluster is None:
        return [Finding("clickhouse replication", "left out", "TIDEGAUGE_CLICKHOUSE_CLUSTER is not set: one server")]
    if not store.nodes:
        advice = "name a cluster of system.clusters in TIDEGAUGE_CLICKHOUSE_CLUSTER"
        return [Finding("clickhouse replication", "broken", f"the server knows no cluster {cluster}", advice)]
    missing = sorted({"shard", "replica"} - store.macros)
    if missing:
        advice = "define them in <macros> of every server: the tables' paths in Keeper name them"
        return [Finding("clickhouse replication", "broken", f"no macro {' and '.join(missing)}", advice)]
    bad = [
        Finding(
            "clickhouse replication", "broken",
            f"{each.table} is {'read-only' if each.readonly else f'{each.delay_seconds} s behind'}",
            "look at Keeper (system.zookeeper_connection) and system.replication_queue",
        )
        for each in store.replicas
        if each.readonly or each.delay_seconds > LATE_SECONDS
    ]  # fmt: skip
    text = f"{store.nodes} servers in {cluster}, {len(store.replicas)} replicated tables keep up"
    return bad or [Finding("clickhouse replication", "well", text)]


def check_database(database: Database | Unreachable | None) -> list[Finding]:
    """Return how the app's PostgreSQL is; None: no URL is set."""
    if database is None:
        return [Finding("postgresql", "left out", "REFERENCE_APP_DATABASE_URL is not set")]
    if isinstance(database, Unreachable):
        return [Finding("postgresql", "broken", database.why, "look at REFERENCE_APP_DATABASE_URL")]
    if database.in_recovery:
        advice = "name the primary, or both with ?target_session_attrs=read-write"
        return [Finding("postgresql", "broken", "REFERENCE_APP_DATABASE_URL names a replica", advice)]
    late = [
        Finding("postgresql replication", "warning", f"{each.name}: {each.state}, {_lag(each.lag_seconds)}",
                "the app passes it over until it keeps up: look at its log and its disk")
        for each in database.followers
        if each.state != "streaming" or (each.lag_seconds or 0) > LAG_SECONDS
    ]  # fmt: skip
    return late or [Finding("postgresql", "well", f"primary, {len(database.followers)} replicas keep up")]


def _lag(seconds: float | None) -> str:
    return "lag unknown" if seconds is None else f"{seconds:.1f} s behind"


def check_tokens(asked: Mapping[str, Answer | Unreachable | None], *, url: str, wanted: bool) -> list[Finding]:
    """Return whether the collector takes our tokens. asked: by role; None: no token is set for it.

    wanted: the collector's URL is set; without one nobody has to be there.
    """
    away = next((answer for answer in asked.values() if isinstance(answer, Unreachable)), None)
    if away is not None:
        if wanted:
            return [Finding("collector", "broken", away.why, "start it, or look at TIDEGAUGE_COLLECTOR_URL")]
        return [Finding("collector", "left out", f"none at {url}", "`tidegauge up` starts one")]
    return [_token(role, answer, url) for role, answer in asked.items()]


def _token(role: str, answer: Answer | Unreachable | None, url: str) -> Finding:
    name = f"TIDEGAUGE_{role.upper()}_TOKEN"
    if answer is None:
        return Finding(f"token to {role}", "left out", f"{name} is not set")
    status = answer.status if isinstance(answer, Answer) else 0
    if status in (401, 403):
        advice = f"set {name} to the one that the collector was started with"
        return Finding(f"token to {role}", "broken", f"the collector at {url} answers {status}", advice)
    return Finding(f"token to {role}", "well", f"the collector at {url} takes it")


def check_prometheus(service: str, url: str, metric: str, answer: Answer | Unreachable) -> Finding:
    """Return whether a service's Prometheus answers and has its counter."""
    name = f"prometheus of {service}"
    if isinstance(answer, Unreachable):
        return Finding(name, "broken", f"{url}: {answer.why}", f"look at services.{service}.prometheus.url")
    if answer.status != 200:
        return Finding(name, "broken", f"{url} answers {answer.status}", "is it a Prometheus, and may we ask it?")
    if not answer.series:
        advice = f"look at services.{service}.prometheus.requests_metric and match: nothing is pulled"
        return Finding(name, "broken", f"{url} has no series {metric}", advice)
    return Finding(name, "well", f"{url} has {answer.series} series of {metric}")


def check_rights(rights: Iterable[Right] | Unreachable | None) -> list[Finding]:
    """Return what the forecaster may not do that it has to; None: no service is scaled in Kubernetes."""
    if rights is None:
        return [Finding("kubernetes", "left out", "no service of the configuration is scaled there")]
    if isinstance(rights, Unreachable):
        return [Finding("kubernetes", "broken", rights.why, "look at KUBECONFIG and `context` of scaling.target")]
    refused = [
        Finding("kubernetes rights", "broken", f"may not {each.verb} {each.resource} in {each.namespace}",
                "apply deploy/kubernetes/base/forecaster-rbac.yaml, and run as its account")
        for each in rights
        if not each.allowed
    ]  # fmt: skip
    return refused or [Finding("kubernetes rights", "well", "may read and patch what it scales")]


def check_zones(local: str, services: Mapping[str, str]) -> list[Finding]:
    """Return in which zones local times are read. local: this machine's; services: each one's `timezone`."""
    found = [
        Finding("time zone", "warning", f"{name} is in UTC, this machine in {local}",
                f"set services.{name}.timezone if its users live by {local}: days and holidays are its own")
        for name, zone in services.items()
        if zone == "UTC" and local not in ("UTC", "GMT")
    ]  # fmt: skip
    return found or [Finding("time zone", "well", ", ".join(f"{name}: {zone}" for name, zone in services.items()))]
