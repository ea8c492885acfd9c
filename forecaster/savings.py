"""What our floors were worth: each day in which they were moved, played with them and with the operator's floor alone.

Both branches come from the same simulator on the same recorded demand, so what it does not know of the world leaves
their difference alone. The branch with us follows the floors that were in force, not those that would be decided now.
A day is written once it is over; the days that lack a row are caught up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from collector.catalog import Service
from collector.clickhouse import Client
from collector.record import store as record
from forecaster import store
from forecaster.loop.world import World, scaling_of
from forecaster.scaling.capacity import declared_capacity, reactive_spec, replicas_for
from forecaster.scaling.simulator.simulate import simulate
from forecaster.scaling.types import Capacity
from forecaster.store.instants import between, epoch_milliseconds
from forecaster.store.outcomes import read_patches

DAY = timedelta(days=1)
START_DELAY = timedelta(minutes=2)
LOOKED_BACK = timedelta(days=7)  # as far as a forecaster that was away catches up
_WARM_UP = timedelta(hours=1)  # of the day before: both branches have settled when the day begins
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day, with us and without us. acted: how much of it our floor was above the operator's own."""

    day: date
    capacity_rps: float
    acted: timedelta
    with_under_provisioned_seconds: float
    without_under_provisioned_seconds: float
    with_replica_seconds: float
    without_replica_seconds: float


@dataclass(frozen=True, slots=True)
class Week:
    """The days of a week that begins on a Monday, summed; days: how many of it are known."""

    starts_on: date
    days: int
    acted: timedelta
    with_under_provisioned_seconds: float
    without_under_provisioned_seconds: float
    with_replica_seconds: float
    without_replica_seconds: float


def day_of(
    day: date, *, demand: pd.DataFrame, states: pd.DataFrame, service: Service, capacity: Capacity, speed: float
) -> Day | None:
    """Return a day with and without us; None when its demand or its floors are not known. Pure.

    demand: `ds`, `rps` of regular steps (NaN = gap); states: `ts`, `floor`, `operator_floor`, ascending; both reach
    back over the warm-up.
    """
    scaling = scaling_of(service)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = demand[(demand["ds"] >= start - _WARM_UP) & (demand["ds"] < start + DAY)]
    known = rows[(rows["ds"] >= start)]["rps"].notna()
    if known.sum() < 2 or states.empty:
        return None
    changed = [epoch_milliseconds(ts) for ts in states["ts"].dt.to_pydatetime()]
    ours, theirs = states["floor"].tolist(), states["operator_floor"].tolist()

    def at(floors: list[int], instant: datetime) -> int:
        return int(floors[max(0, bisect_right(changed, epoch_milliseconds(instant)) - 1)])

    spec = reactive_spec(scaling, speed=speed)
    first = float(rows["rps"].dropna().iloc[0])
    begin = rows["ds"].iloc[0].to_pydatetime()
    target = replicas_for(first, Capacity(spec.target_per_replica, spec.target_per_replica, "target"))

    def played(floors: list[int], frame: pd.DataFrame) -> tuple[float, float]:
        begun = min(max(target, at(floors, begin)), scaling.max_replicas)
        result = simulate(
            frame, capacity_rps=capacity.low_rps, spec=spec, start_delay=START_DELAY,
            floors=lambda instant: at(floors, instant), initial=begun,
        )  # fmt: skip
        return result.under_provisioned_seconds, result.replica_seconds

    warm = rows[rows["ds"] < start]
    (ours_under, ours_paid), (their_under, their_paid) = (
        tuple(whole - before for whole, before in zip(played(floors, rows), _before(floors, warm, played), strict=True))
        for floors in (ours, theirs)
    )
    acted = _acted(changed, ours, theirs, start)
    return Day(day, capacity.low_rps, acted, ours_under, their_under, ours_paid, their_paid)


def _before(floors: list[int], warm: pd.DataFrame, played: Any) -> tuple[float, float]:
    """Return what of a branch lies before the day: the simulator is causal, so it is the same played alone."""
    return played(floors, warm) if len(warm) >= 2 else (0.0, 0.0)


def _acted(changed: list[int], ours: list[int], theirs: list[int], start: datetime) -> timedelta:
    first, last = epoch_milliseconds(start), epoch_milliseconds(start + DAY)
    spans = zip(changed, [*changed[1:], last], ours, theirs, strict=True)
    return timedelta(
        milliseconds=sum(max(0, min(end, last) - max(begin, first)) for begin, end, we, they in spans if we > they)
    )


def weeks_of(days: Sequence[Day]) -> list[Week]:
    """Return days as weeks, oldest first."""
    weeks: dict[date, list[Day]] = {}
    for one in days:
        weeks.setdefault(one.day - timedelta(days=one.day.weekday()), []).append(one)
    return [
        Week(
            starts_on=starts_on,
            days=len(found),
            acted=sum((one.acted for one in found), timedelta()),
            with_under_provisioned_seconds=sum(one.with_under_provisioned_seconds for one in found),
            without_under_provisioned_seconds=sum(one.without_under_provisioned_seconds for one in found),
            with_replica_seconds=sum(one.with_replica_seconds for one in found),
            without_replica_seconds=sum(one.without_replica_seconds for one in found),
        )
        for starts_on, found in sorted(weeks.items())
    ]


def weigh_once(world: World, service: Service) -> int:
    """Play and store the days since our first patch that are over and have no row; return how many."""
    now, scaling = world.clock.now(), scaling_of(service)
    today = now.date()
    oldest = now - LOOKED_BACK
    acted = [one.at for one in read_patches(world.client, service.name, since=oldest, until=now) if one.applied]
    if not acted:
        return 0
    first = max(min(acted), oldest).date()
    done = {one.day for one in read_days(world.client, service.name, since=oldest - DAY, until=now)}
    extent = record.read_demand_extent(world.client, service.name)
    if extent is None:
        return 0
    step = extent.step
    capacity = declared_capacity(scaling, speed=world.clock.speed_now())
    written = 0
    for day in (first + timedelta(days=number) for number in range((today - first).days)):
        if day in done:
            continue
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        demand = record.read_demand(world.client, service.name, since=start - _WARM_UP, until=start + DAY, step=step)
        states = store.read_replica_states(world.client, service.name, since=start - _WARM_UP, until=start + DAY)
        stored = states["capacity_rps"].dropna() if len(states) else pd.Series(dtype="float64")
        known = Capacity(float(stored.median()), float(stored.median()), "as seen then") if len(stored) else capacity
        found = day_of(
            day, demand=_regular(demand, step), states=states, service=service, capacity=known,
            speed=world.clock.speed_now(),
        )  # fmt: skip
        if found is not None:
            write_day(world.client, service.name, found, now=now)
            written += 1
    return written


def _regular(demand: pd.DataFrame, step: timedelta) -> pd.DataFrame:
    """Return demand with a row for every step; what is not known is NaN."""
    if demand.empty:
        return demand
    whole = pd.date_range(demand["ds"].iloc[0], demand["ds"].iloc[-1], freq=step)
    return demand.set_index("ds").reindex(whole).rename_axis("ds").reset_index()


def write_day(client: Client, service: str, day: Day, *, now: datetime) -> None:
    """Store a day; the same day again replaces it."""
    row: dict[str, Any] = {
        "service": service,
        "day": day.day,
        "capacity_rps": day.capacity_rps,
        "acted_seconds": day.acted.total_seconds(),
        "with_under_provisioned_seconds": day.with_under_provisioned_seconds,
        "without_under_provisioned_seconds": day.without_under_provisioned_seconds,
        "with_replica_seconds": day.with_replica_seconds,
        "without_replica_seconds": day.without_replica_seconds,
        "written_at": epoch_milliseconds(now),
    }
    token = f"counterfactual/{service}/{day.day.isoformat()}/{epoch_milliseconds(now)}"
    client.insert_columns("counterfactuals", {name: [value] for name, value in row.items()}, token=token)


def read_days(client: Client, service: str, *, since: datetime, until: datetime) -> list[Day]:
    """Return the days with since <= midnight < until, oldest first."""
    rows = client.query_rows(
        "SELECT toUInt32(toRelativeDayNum(day)), capacity_rps, acted_seconds, with_under_provisioned_seconds,"
        " without_under_provisioned_seconds, with_replica_seconds, without_replica_seconds FROM counterfactuals FINAL"
        " WHERE service = {service:String}"
        " AND toDateTime(day, 'UTC') >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        " AND toDateTime(day, 'UTC') < fromUnixTimestamp64Milli({until:Int64}, 'UTC') ORDER BY day",
        {"service": service, **between(since, until)},
    )
    return [
        Day(_EPOCH + timedelta(days=int(number)), capacity, timedelta(seconds=acted), *figures)
        for number, capacity, acted, *figures in rows
    ]


def read_weeks(client: Client, service: str, *, since: datetime, until: datetime) -> list[Week]:
    """Return the weeks of the days with since <= midnight < until, oldest first."""
    return weeks_of(read_days(client, service, since=since, until=until))


def weeks_json(service: Service, weeks: Sequence[Week]) -> dict[str, Any]:
    """Return the weeks for people and programs; cost is null where tidegauge.yaml has no price."""
    cost = service.cost
    return {
        "service": service.name,
        "currency": cost.currency if cost else None,
        "weeks": [
            {
                "starts_on": week.starts_on.isoformat(),
                "days": week.days,
                "acted_seconds": week.acted.total_seconds(),
                **{
                    f"{branch}_us": {
                        "under_provisioned_seconds": under,
                        "replica_hours": paid / 3600,
                        "cost": paid / 3600 * cost.replica_hour if cost else None,
                    }
                    for branch, under, paid in (
                        ("with", week.with_under_provisioned_seconds, week.with_replica_seconds),
                        ("without", week.without_under_provisioned_seconds, week.without_replica_seconds),
                    )
                },
            }
            for week in weeks
        ],
    }
