"""The policy backtest as a job: read the history, let `scaling.backtest` judge the policy on it, keep the verdict.

`act` needs a verdict that passed (it is read at every decision). The command and the demo both call this; the judging
itself is pure and elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from collector.catalog import Reactive, Scaling, Service
from collector.clickhouse import Client
from forecaster.answers import read_csv
from forecaster.forecast.demand import clean_series
from forecaster.forecast.types import DemandSeries
from forecaster.history import read_history, read_known
from forecaster.instants import floored
from forecaster.scaling.backtest import START_DELAY, BacktestError, PolicyBacktest, backtest_policy
from forecaster.scaling.capacity import declared_capacity, reactive_spec
from forecaster.settings import Settings
from forecaster.shapes import plain_json
from forecaster.store import StoredBacktest, write_backtest
from forecaster.tick import scaling_of

_LONGEST_HISTORY = timedelta(weeks=10)
_TARGET_SHARE = 10 / 12  # of a replica's capacity that the autoscaler aims at, as in the shipped tidegauge.yaml
_CEILING_OVER_PEAK = 1.5


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """window: how much of the newest history is replayed (None: the judge's own); speed: clock seconds per real one."""

    settings: Settings
    speed: float = 1.0
    window: timedelta | None = None
    start_delay: timedelta = START_DELAY


def run_policy_backtest(
    client: Client,
    service: Service,
    *,
    now: datetime,
    request: BacktestRequest,
    progress: Callable[[float], None] | None = None,
) -> PolicyBacktest:
    """Judge the service's own policy on its history before `now`, and store the verdict.

    progress: called with the share that is done, 0..1. Raises BacktestError when there is no history, StoreError.
    """
    scaling = scaling_of(service)
    settings = request.settings
    known = read_known(client, service.name, finest=settings.step)
    if known is None:
        raise BacktestError(f"service {service.name!r}: expected demand in the record, got none; import or record some")
    end = floored(min(now, known.end), known.step)
    rows = read_history(client, service.name, since=end - _LONGEST_HISTORY, until=end, step=known.step)
    series = clean_series(service.name, rows, step=known.step, until=end)
    verdict = _judge(series, scaling, request=request, progress=progress)
    write_backtest(client, _stored(service.name, verdict, run_at=now))
    return verdict


def run_csv_backtest(
    path: Path, *, peak_replicas: int, request: BacktestRequest, progress: Callable[[float], None] | None = None
) -> PolicyBacktest:
    """Judge the default policy on a file, with replicas of which `peak_replicas` carry the file's peak.

    Raises ValueError for a malformed file, BacktestError for one that is too short.
    """
    imported = read_csv(path)
    rps = imported.frame["value"] / imported.step.total_seconds()
    rows = pd.DataFrame({"ds": imported.frame["ds"], "y": rps})
    step = max(request.settings.step, imported.step)
    if step % imported.step == timedelta(0) and step > imported.step:
        seconds = int(step.total_seconds())
        rows = rows.resample(f"{seconds}s", on="ds", origin="epoch").mean().dropna().reset_index()
    else:
        step = imported.step
    series = clean_series(path.stem, rows, step=step)
    scaling = scaling_for_peak(path.stem, peak_rps=float(series.frame["y"].max()), peak_replicas=peak_replicas)
    return _judge(series, scaling, request=request, progress=progress)


def scaling_for_peak(name: str, *, peak_rps: float, peak_replicas: int) -> Scaling:
    """Return the shipped policy for a service whose peak is carried by exactly `peak_replicas` replicas."""
    if peak_replicas < 1 or not peak_rps > 0:
        raise BacktestError(f"expected at least 1 replica and a peak above 0, got {peak_replicas} and {peak_rps} rps")
    capacity = peak_rps / peak_replicas
    return Scaling(
        kind="local",
        name=name,
        mode="act",
        min_replicas=1,  # Kubernetes' own default
        max_replicas=math.ceil(peak_replicas * _CEILING_OVER_PEAK),
        capacity_rps=(capacity, capacity),
        quantile=0.95,
        lead=timedelta(minutes=15),
        largest_step=4,
        cool_down=timedelta(minutes=5),
        reactive=Reactive(target_rps_per_replica=capacity * _TARGET_SHARE),
    )


def _judge(
    series: DemandSeries, scaling: Scaling, *, request: BacktestRequest, progress: Callable[[float], None] | None
) -> PolicyBacktest:
    window = None
    if request.window is not None:
        end = series.frame["ds"].iloc[-1].to_pydatetime() + series.step
        window = (end - request.window, end)
    return backtest_policy(
        series,
        scaling=scaling,
        capacity=declared_capacity(scaling, speed=request.speed),
        spec=reactive_spec(scaling, speed=request.speed),
        window=window,
        start_delay=request.start_delay,
        refresh=request.settings.refresh,
        progress=progress,
    )


def _stored(service: str, verdict: PolicyBacktest, *, run_at: datetime) -> StoredBacktest:
    window_from, window_to = verdict.window
    return StoredBacktest(service, run_at, verdict.passed, window_from, window_to, plain_json(verdict))
