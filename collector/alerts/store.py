"""The SQL of alerts: their state, changes, posted conditions, silences, acknowledgements.

Owns the tables of 0002_alerts.sql. Every write carries a token, so that a repeated one is stored once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from collector.alerts.decide import ServiceView, StoreView
from collector.alerts.replicas import read_replica_lags
from collector.alerts.state import Alert, Condition, Phase, Severity, Silence
from collector.catalog import Catalog
from collector.clickhouse import Client
from collector.slo.store import read_exclusions, read_slo_counts

_NEWEST_WITHIN = timedelta(days=3)
_ALERT_COLUMNS = (
    "alert_id, kind, service, name, severity, phase, toUnixTimestamp64Micro(started_at),"
    " toUnixTimestamp64Micro(fired_at), toUnixTimestamp64Micro(ended_at), frozen,"
    " toUnixTimestamp64Micro(notified_at), notifications, summary, details"
)


def read_store_view(client: Client, catalog: Catalog, *, now: datetime) -> StoreView:
    """Return what an evaluation at `now` (the end of a minute) needs of the store. Raises StoreError."""
    services, windows = [], catalog.alerts.policy.windows
    for service in catalog.services.values():
        if not service.slos:
            continue
        # The counts include the minute under way: one instant before its end they end exactly at `now`.
        exclusions = read_exclusions(client, service.name, since=now - max(windows), until=now)
        counts = read_slo_counts(
            client,
            service.name,
            service.slos,
            now=now - timedelta(microseconds=1),
            windows=windows,
            own_window=False,
            exclusions=exclusions,
        )
        services.append(ServiceView(service, _read_newest(client, service.name, now=now), counts, exclusions))
    lags = read_replica_lags(client, now=now, missing_after=catalog.alerts.policy.missing_after)
    return StoreView(
        services, read_posted(client, now=now), read_silences(client, now=now), read_acknowledged(client), lags
    )  # fmt: skip


def _read_newest(client: Client, service: str, *, now: datetime) -> datetime | None:
    rows = client.query_rows(
        "SELECT toUnixTimestamp(max(minute)) FROM red_1m WHERE service = {service:String}"
        " AND minute >= fromUnixTimestamp({since:Int64})",
        {"service": service, "since": int((now - _NEWEST_WITHIN).timestamp())},
    )
    newest = int(rows[0][0])
    return datetime.fromtimestamp(newest + 60, UTC) if newest else None


def read_alerts(client: Client, *, unresolved: bool = False) -> dict[str, Alert]:
    """Return every alert as it was last stored, or those that are not resolved, by id."""
    which = " WHERE phase != 'resolved'" if unresolved else ""
    rows = client.query_rows(f"SELECT {_ALERT_COLUMNS} FROM alerts FINAL{which} ORDER BY alert_id")  # noqa: S608 - constants
    return {row[0]: _alert(row) for row in rows}


def _alert(row: tuple[Any, ...]) -> Alert:
    return Alert(
        alert_id=row[0],
        kind=row[1],
        service=row[2],
        name=row[3],
        severity=cast("Severity", row[4]),
        phase=cast("Phase", row[5]),
        started_at=_instant(row[6]),
        fired_at=_optional_instant(row[7]),
        ended_at=_optional_instant(row[8]),
        frozen=bool(row[9]),
        notified_at=_optional_instant(row[10]),
        notifications=int(row[11]),
        summary=row[12],
        details=json.loads(row[13]),
    )


def write_alerts(client: Client, alerts: Sequence[Alert], *, now: datetime) -> None:
    """Store alerts as they are at `now`, and the change of each."""
    at = _micros(now)
    identity = f"{at}/" + ",".join(f"{each.episode}:{each.phase}:{each.notifications}" for each in alerts)
    shared: dict[str, list[Any]] = {
        "alert_id": [each.alert_id for each in alerts],
        "service": [each.service for each in alerts],
        "name": [each.name for each in alerts],
        "severity": [each.severity for each in alerts],
        "phase": [each.phase for each in alerts],
        "frozen": [int(each.frozen) for each in alerts],
        "notifications": [each.notifications for each in alerts],
        "summary": [each.summary for each in alerts],
    }
    changes: dict[str, list[Any]] = {**shared, "at": [at] * len(alerts)}
    client.insert_columns("alert_changes", changes, token=f"alert-changes/{identity}")
    state: dict[str, list[Any]] = {
        "kind": [each.kind for each in alerts],
        "started_at": [_micros(each.started_at) for each in alerts],
        "fired_at": [_optional_micros(each.fired_at) for each in alerts],
        "ended_at": [_optional_micros(each.ended_at) for each in alerts],
        "notified_at": [_optional_micros(each.notified_at) for each in alerts],
        "details": [json.dumps(dict(each.details), sort_keys=True) for each in alerts],
        "version": [at] * len(alerts),
    }
    state.update(shared)
    client.insert_columns("alerts", state, token=f"alerts/{identity}")


def read_last_evaluated(client: Client) -> datetime | None:
    """Return the instant of the last stored evaluation."""
    rows = client.query_rows("SELECT toUnixTimestamp64Micro(evaluated_at) FROM alert_evaluations FINAL")
    return _instant(rows[0][0]) if rows else None


def write_last_evaluated(client: Client, now: datetime) -> None:
    """Remember that alerts were evaluated at `now`."""
    columns: dict[str, list[Any]] = {"name": ["alerts"], "evaluated_at": [_micros(now)]}
    client.insert_columns("alert_evaluations", columns, token=f"evaluation/{_micros(now)}")


def write_posted(client: Client, condition: Condition, *, posted_at: datetime, expires_at: datetime) -> None:
    """Store a condition that somebody posted; a later one of the same service and name replaces it."""
    client.insert_columns(
        "alert_conditions",
        {
            "service": [condition.service],
            "name": [condition.name],
            "severity": [condition.severity],
            "breached": [int(condition.verdict == "breached")],
            "summary": [condition.summary],
            "details": [json.dumps(dict(condition.details), sort_keys=True)],
            "hold_seconds": [int(condition.hold.total_seconds())],
            "posted_at": [_micros(posted_at)],
            "expires_at": [_micros(expires_at)],
        },
        token=f"condition/{condition.alert_id}/{condition.verdict}/{_micros(posted_at)}",
    )


def read_posted(client: Client, *, now: datetime) -> list[Condition]:
    """Return the posted conditions that have not expired."""
    rows = client.query_rows(
        "SELECT service, name, severity, breached, summary, details, hold_seconds FROM alert_conditions FINAL"
        " WHERE expires_at > fromUnixTimestamp64Micro({now:Int64}) ORDER BY service, name",
        {"now": _micros(now)},
    )
    return [
        Condition(
            posted_id(service, name), "posted", service, name, cast("Severity", severity),
            "breached" if breached else "clear", summary, json.loads(details), timedelta(seconds=hold),
        )
        for service, name, severity, breached, summary, details, hold in rows
    ]  # fmt: skip


def posted_id(service: str, name: str) -> str:
    """Return the id of the alert of a posted condition."""
    return f"posted/{service}/{name}"


def write_silence(client: Client, silence: Silence, *, now: datetime) -> None:
    """Store a silence; a later one with the same id replaces it."""
    client.insert_columns(
        "alert_silences",
        {
            "silence_id": [silence.silence_id],
            "service": [silence.service],
            "name": [silence.name],
            "starts_at": [_micros(silence.starts_at)],
            "ends_at": [_micros(silence.ends_at)],
            "author": [silence.author],
            "reason": [silence.reason],
            "version": [_micros(now)],
        },
        token=f"silence/{silence.silence_id}/{_micros(silence.ends_at)}/{_micros(now)}",
    )


def read_silences(client: Client, *, now: datetime) -> list[Silence]:
    """Return the silences that have not ended."""
    rows = client.query_rows(
        "SELECT silence_id, service, name, toUnixTimestamp64Micro(starts_at), toUnixTimestamp64Micro(ends_at), author,"
        " reason FROM alert_silences FINAL WHERE ends_at > fromUnixTimestamp64Micro({now:Int64}) ORDER BY ends_at",
        {"now": _micros(now)},
    )
    return [Silence(row[0], row[1], row[2], _instant(row[3]), _instant(row[4]), row[5], row[6]) for row in rows]


def write_acknowledgement(client: Client, alert: Alert, *, author: str, note: str, now: datetime) -> None:
    """Store that somebody works on this episode: it is not repeated any more."""
    client.insert_columns(
        "alert_acknowledgements",
        {"episode": [alert.episode], "author": [author], "note": [note], "at": [_micros(now)]},
        token=f"acknowledgement/{alert.episode}/{author}/{_micros(now)}",
    )


def read_acknowledged(client: Client) -> Mapping[str, str]:
    """Return who acknowledged, by episode."""
    return dict(client.query_rows("SELECT episode, author FROM alert_acknowledgements FINAL"))


def _micros(instant: datetime) -> int:
    return round(instant.timestamp() * 1e6)


def _optional_micros(instant: datetime | None) -> int | None:
    return None if instant is None else _micros(instant)


def _instant(micros: int) -> datetime:
    return datetime.fromtimestamp(int(micros) / 1e6, UTC)


def _optional_instant(micros: int | None) -> datetime | None:
    return None if micros is None else _instant(micros)
