"""`tidegauge backtest policy`: every policy on the last third of a file or a service's history, and the answer's JSON.

What is played and measured is in `scaling.backtest.contest`; the verdict that lets a policy act is `check`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from collector.catalog import Service
from collector.clickhouse import Client
from forecaster.csv_file import read_csv
from forecaster.forecast.demand import clean_series
from forecaster.judging.check import (
    BacktestRequest,
    met_in,
    scaling_for_peak,
    window_of,
)
from forecaster.loop.look import read_capacity
from forecaster.loop.tick import scaling_of
from forecaster.scaling.backtest.contest import OURS, REACTIVE, SETTINGS, Contest, Entry
from forecaster.scaling.backtest.counterfactual import FloorSet, WeekApart, weeks_apart
from forecaster.scaling.backtest.field import Field
from forecaster.scaling.backtest.hands import hold_shared
from forecaster.scaling.backtest.rolling import RollingForecasts, horizons_for, levels_for, origins_of, roll
from forecaster.scaling.capacity import declared_capacity, reactive_spec
from forecaster.store import read_decisions
from forecaster.store.instants import text_of

WARM_UP = timedelta(days=2)  # forecasts before the window, from whose errors the mean forecast's margin is learnt
COMPARED = timedelta(weeks=8)
MOST_DECISIONS = 50_000
KEPT = "forecasts"  # folder of TIDEGAUGE_DATA


@dataclass(frozen=True, slots=True)
class Ask:
    """Which policies to play, on how many processes. kept: the folder of stored forecasts; None: none are kept."""

    policies: tuple[str, ...] = tuple(SETTINGS)
    processes: int = 1
    kept: Path | None = None


def field_from_csv(path: Path, *, peak_replicas: int, request: BacktestRequest) -> Field:
    """Return a file as a field: its own step is what replicas meet, forecasts see steps of five minutes at least.

    One replica carries the file's peak / peak_replicas. Raises ValueError for a malformed file, BacktestError for one
    that is too short.
    """
    imported = read_csv(path)
    seconds = imported.step.total_seconds()
    rows = pd.DataFrame({"ds": imported.frame["ds"], "y": imported.frame["value"] / seconds})
    met = clean_series(path.stem, rows, step=imported.step)
    step = max(request.settings.step, imported.step)
    if step % imported.step == timedelta(0) and step > imported.step:
        mean = rows.resample(f"{int(step.total_seconds())}s", on="ds", origin="epoch").mean()
        rows = mean.dropna().reset_index()
    else:
        step = imported.step
    series = clean_series(path.stem, rows, step=step)
    scaling = scaling_for_peak(path.stem, peak_rps=float(met.frame["y"].max()), peak_replicas=peak_replicas)
    return Field(
        series=series,
        met=met.frame.rename(columns={"y": "rps"}),
        window=window_of(series, request),
        scaling=scaling,
        capacity=declared_capacity(scaling, speed=request.speed),
        spec=reactive_spec(scaling, speed=request.speed),
        start_delay=request.start_delay,
        refresh=request.settings.refresh,
        data_delay=request.data_delay,
    )


def apart_from_record(client: Client, service: Service, *, now: datetime, request: BacktestRequest) -> list[WeekApart]:
    """Return the weeks with us and without us since the first floor of the last two months. Raises StoreError."""
    scaling, since = scaling_of(service), now - COMPARED
    stored = read_decisions(client, service.name, since=since, until=now, limit=MOST_DECISIONS, changes_only=True)
    floors = [FloorSet(one.decision.at, one.decision.floor_after) for one in reversed(stored) if one.applied]
    if not floors:
        return []
    return weeks_apart(
        met_in(client, service, (floors[0].at, now)),
        floors,
        capacity=read_capacity(client, service, now=now, speed=request.speed)[0],
        spec=reactive_spec(scaling, speed=request.speed),
        start_delay=request.start_delay,
    )


def make_forecasts(ground: Field, ask: Ask, *, progress: Callable[[float], None] | None = None) -> RollingForecasts:
    """Make the forecasts from every decision of the window, or read them where they are kept."""
    earlier = WARM_UP if "mean" in ask.policies else timedelta(0)
    return roll(
        ground.series,
        origins=origins_of(
            ground.series,
            window=ground.window,
            refresh=ground.refresh,
            data_delay=ground.data_delay,
            before=earlier,
        ),
        horizons=horizons_for(ground.series, ground.scaling, ground.refresh, ground.data_delay),
        levels=levels_for(ground.scaling),
        kept=ask.kept,
        processes=ask.processes,
        progress=progress,
    )


def run_contest(
    ground: Field, ask: Ask, forecasts: RollingForecasts, *, progress: Callable[[float], None] | None = None
) -> Contest:
    """Play the policies asked for. progress: the share that is done. Raises BacktestError."""
    own, target = round(1 - ground.scaling.quantile, 6), ground.spec.target_per_replica / ground.capacity.low_rps
    settings = {
        **SETTINGS,
        OURS: tuple(sorted({*SETTINGS[OURS], own}, reverse=True)),
        REACTIVE: tuple(sorted({*SETTINGS[REACTIVE], round(target, 4)})),
    }
    return hold_shared(
        ground, forecasts, policies=ask.policies, settings=settings, processes=ask.processes, progress=progress
    )


def contest_json(contest: Contest) -> dict[str, Any]:
    """Return the answer of `--json`; its schema is in docs/policy-backtest.md."""
    return {
        "series": contest.series,
        "step_seconds": int(contest.step.total_seconds()),
        "window": {"from": text_of(contest.window[0]), "to": text_of(contest.window[1])},
        "capacity_rps": contest.capacity_rps,
        "policies": [entry_json(entry) for entry in contest.entries],
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return one setting of one policy."""
    toll = entry.toll
    return {
        "name": entry.name,
        "setting": entry.setting,
        "under_provisioned_minutes": round(toll.under_provisioned_minutes, 4),
        "minutes": round(toll.minutes, 4),
        "replica_hours": round(toll.replica_hours, 4),
        "unserved_ratio": round(toll.unserved_ratio, 8),
        "scale_events": toll.scale_events,
    }


def front(entries: Sequence[Entry]) -> list[Entry]:
    """Return a risk curve: the settings that no other of the same policy beats in both cost and minutes."""
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda one: (one.toll.replica_hours, one.toll.under_provisioned_minutes)):
        if not kept or entry.toll.under_provisioned_minutes < kept[-1].toll.under_provisioned_minutes:
            kept.append(entry)
    return kept
