"""The gate before mode `act`: read the history, let `scaling.backtest.gate` judge the policy on it, keep the verdict.

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
from collector.record.store import read_watermark
from forecaster.api.shapes import plain_json
from forecaster.forecast.demand import clean_series
from forecaster.forecast.types import DemandSeries
from forecaster.forecast.wall_clock import zone_for
from forecaster.history import read_history, read_known
from forecaster.loop.look import read_capacity
from forecaster.loop.tick import scaling_of
from forecaster.scaling.backtest.field import BacktestError, Field, Net, last_third
from forecaster.scaling.backtest.gate import PolicyBacktest, backtest_policy
from forecaster.scaling.backtest.rolling import RollingForecasts
from forecaster.scaling.capacity import reactive_spec
from forecaster.settings import Settings
from forecaster.store import StoredBacktest, write_backtest
from forecaster.store.instants import floored

_LONGEST_HISTORY = timedelta(weeks=10)
_FINEST_MET = timedelta(minutes=1)
_TARGET_SHARE = 10 / 12  # of a replica's capacity that the autoscaler aims at, as in the shipped tidegauge.yaml
_CEILING_OVER_PEAK = 1.5


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """window: how much of the newest history is replayed (None: its last third); speed: clock seconds per real one.

    kept: the folder of stored forecasts, None: none are kept; processes: that make the forecasts.
    """

    settings: Settings
    speed: float = 1.0
    window: timedelta | None = None
    start_delay: timedelta = timedelta(minutes=2)
    kept: Path | None = None
    processes: int = 1

    @property
    def data_delay(self) -> timedelta:
        """Return how long after its end a step of demand is known, in the clock's time: as in the live loop."""
        return self.settings.settle * self.speed


def run_policy_backtest(
    client: Client,
    service: Service,
    *,
    now: datetime,
    request: BacktestRequest,
    forecasts: RollingForecasts | None = None,
    progress: Callable[[float], None] | None = None,
) -> PolicyBacktest:
    """Judge the service's own policy, at its own risk, on its history before `now`, and store the verdict.

    forecasts: from every decision of the window, made where not given. progress: called with the share that is done,
    0..1. Raises BacktestError when there is no history, StoreError.
    """
    verdict = backtest_policy(
        field_from_record(client, service, now=now, request=request),
        kept=request.kept,
        processes=request.processes,
        forecasts=forecasts,
        progress=progress,
    )
    write_backtest(client, _stored(service.name, verdict, run_at=now))
    return verdict


def field_from_record(client: Client, service: Service, *, now: datetime, request: BacktestRequest) -> Field:
    """Return a service's history as a field, its own autoscaler under every floor. Raises ValueError, StoreError."""
    scaling = scaling_of(service)
    series = history_of(client, service, now=now, request=request)
    window, spec = window_of(series, request), reactive_spec(scaling, speed=request.speed)
    return Field(
        series=series,
        met=met_in(client, service, window),
        window=window,
        scaling=scaling,
        capacity=read_capacity(client, service, now=now, speed=request.speed)[0],
        spec=spec,
        start_delay=request.start_delay,
        refresh=request.settings.refresh,
        data_delay=request.data_delay,
        net=Net((0.0,), (spec.target_per_replica,)),
        watched=is_watched(client, service),
    )


def history_of(client: Client, service: Service, *, now: datetime, request: BacktestRequest) -> DemandSeries:
    """Return the demand that a backtest of a service may use. Raises BacktestError when there is none, StoreError."""
    known = read_known(client, service.name, finest=request.settings.step)
    if known is None:
        raise BacktestError(f"service {service.name!r}: expected demand in the record, got none; import or record some")
    end = floored(min(now, known.end), known.step)
    rows = read_history(client, service.name, since=end - _LONGEST_HISTORY, until=end, step=known.step)
    return clean_series(service.name, rows, step=known.step, until=end, zone=zone_for(service.timezone))


def window_of(series: DemandSeries, request: BacktestRequest) -> tuple[datetime, datetime]:
    """Return what of a series is replayed. Raises BacktestError when that is nothing."""
    if request.window is None:
        return last_third(series)
    end = series.frame["ds"].iloc[-1].to_pydatetime() + series.step
    start = max(end - request.window, series.frame["ds"].iloc[0].to_pydatetime() + series.step)
    if start >= end:
        raise BacktestError(f"series {series.name!r}: expected more than one step of history, got less")
    return start, end


def is_watched(client: Client, service: Service) -> bool:
    """Say whether a service's requests are counted as they come; else its demand was imported only."""
    return read_watermark(client, service.name) is not None


def met_in(client: Client, service: Service, window: tuple[datetime, datetime]) -> pd.DataFrame:
    """Return the demand (`ds`, `rps`) that replicas met in a window, by the minute where all is known so finely."""
    known = read_known(client, service.name, finest=_FINEST_MET)
    if known is None:
        raise BacktestError(f"service {service.name!r}: expected demand in the record, got none; import or record some")
    rows = read_history(client, service.name, since=window[0], until=window[1], step=known.step)
    series = clean_series(service.name, rows, step=known.step, until=window[1])
    return series.frame.rename(columns={"y": "rps"})


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
        paced=True,
        lead=timedelta(minutes=15),
        largest_step=4,
        cool_down=timedelta(minutes=5),
        reactive=Reactive(target_rps_per_replica=capacity * _TARGET_SHARE),
    )


def _stored(service: str, verdict: PolicyBacktest, *, run_at: datetime) -> StoredBacktest:
    window_from, window_to = verdict.window
    return StoredBacktest(service, run_at, verdict.passed, window_from, window_to, plain_json(verdict))
