"""One evaluation of all alerts, from what was read to what is to be stored and told. Pure.

A condition that is no longer reported (an SLO taken out of tidegauge.yaml, a posted condition that expired) ends its
alert; conditions that could not be looked at (the store is away) leave theirs alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from collector.alerts.rules import (
    burn_conditions,
    is_stale,
    lag_condition,
    missing_condition,
    missing_slo_condition,
    silence_condition,
    spool_condition,
)
from collector.alerts.settings import MISSING_SHORT, AlertPolicy
from collector.alerts.state import Alert, Condition, Notice, Silence, advance, due_notice
from collector.catalog import Service
from collector.slo.objectives import Counts
from collector.slo.windows import Spans, overlap


@dataclass(frozen=True, slots=True)
class ServiceView:
    """What the record says of a service.

    newest: end of its newest recorded minute; counts: one mapping per SLO; exclusions: what markers take out of SLOs.
    """

    service: Service
    newest: datetime | None
    counts: Sequence[Mapping[timedelta, Counts]]
    exclusions: Spans = ()


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """What a sampler saw of a database replica: lag None when it does not replicate."""

    service: str
    replica: str
    lag: timedelta | None
    sampled_at: datetime


@dataclass(frozen=True, slots=True)
class StoreView:
    """What the store says at an evaluation."""

    services: Sequence[ServiceView]
    posted: Sequence[Condition]
    silences: Sequence[Silence]
    acknowledged: Collection[str]  # episodes
    lags: Sequence[ReplicaLag] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """alerts: all that are known, by id; changed: those to store; notices: what is to be told."""

    alerts: dict[str, Alert]
    changed: list[Alert]
    notices: list[Notice] = field(default_factory=list)


def conditions_of_store(view: StoreView, policy: AlertPolicy, *, now: datetime) -> list[Condition]:
    """Return the conditions of every service, and the posted ones."""
    conditions = list(view.posted)
    for seen in view.services:
        stale = is_stale(seen.newest, now=now, policy=policy) is not False
        name = seen.service.name
        excluded = _excluded_lately(seen.exclusions, now)
        conditions.append(missing_condition(name, seen.newest, now=now, policy=policy, excluded=excluded))
        for slo, counts in zip(seen.service.slos, seen.counts, strict=True):
            conditions += burn_conditions(name, slo, counts, policy, stale=stale)
            conditions.append(missing_slo_condition(name, slo, counts, policy, stale=stale or excluded))
    for each in view.lags:
        fresh = now - each.sampled_at <= policy.missing_after
        conditions.append(lag_condition(each.service, each.replica, each.lag, policy, fresh=fresh))
    return conditions


def _excluded_lately(exclusions: Spans, now: datetime) -> bool:
    end = int(now.timestamp())
    return overlap(exclusions, end - int(MISSING_SHORT.total_seconds()), end) > 0


def conditions_of_collector(
    *, spool_age: timedelta | None, last_evaluated: datetime | None, now: datetime, policy: AlertPolicy
) -> list[Condition]:
    """Return the conditions of the collector itself."""
    return [spool_condition(spool_age, policy), silence_condition(last_evaluated, now=now, policy=policy)]


def decide(
    known: Mapping[str, Alert],
    own: Iterable[Condition],
    view: StoreView | None,
    policy: AlertPolicy,
    *,
    now: datetime,
    silences: Sequence[Silence] = (),
    acknowledged: Collection[str] = (),
) -> Decision:
    """Advance every alert by one evaluation. view: None when the store is away; then the last known silences count."""
    conditions = [*own, *(conditions_of_store(view, policy, now=now) if view else [])]
    if view is not None:
        conditions += _ended({each.alert_id for each in conditions}, known)
        silences, acknowledged = view.silences, view.acknowledged
    decision = Decision(dict(known), [])
    for condition in conditions:
        before = known.get(condition.alert_id)
        after = advance(before, condition, now=now)
        if after is None:
            continue
        notice = due_notice(
            after,
            now=now,
            silenced=any(silence.covers(after, now) for silence in silences),
            acknowledged=after.episode in acknowledged,
            repeat=policy.repeat,
            newly_resolved=before is not None and before.phase == "firing" and after.phase == "resolved",
        )
        if notice is not None:
            after = notice.alert
            decision.notices.append(notice)
        decision.alerts[after.alert_id] = after
        if _differs(before, after):
            decision.changed.append(after)
    return decision


def _ended(reported: set[str], known: Mapping[str, Alert]) -> list[Condition]:
    return [
        Condition(
            alert.alert_id, alert.kind, alert.service, alert.name, alert.severity, "clear",
            f"{alert.service}: {alert.name} is no longer reported",
        )
        for alert in known.values()
        if alert.phase != "resolved" and alert.alert_id not in reported
    ]  # fmt: skip


def _differs(before: Alert | None, after: Alert) -> bool:
    # A summary with other numbers is no change of state: it is stored with the next one.
    return before is None or (before.phase, before.frozen, before.notifications, before.started_at) != (
        after.phase, after.frozen, after.notifications, after.started_at,
    )  # fmt: skip
