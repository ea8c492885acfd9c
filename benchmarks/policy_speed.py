"""How long it takes to play 60 days of five minutes from stored forecasts, and to decide for many services."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from forecaster.forecast.types import DemandSeries
from forecaster.judging.check import BacktestRequest, scaling_for_peak
from forecaster.judging.report import WARM_UP
from forecaster.scaling.backtest.field import Field
from forecaster.scaling.backtest.hands import hold_shared
from forecaster.scaling.backtest.rolling import LEVELS, RollingForecasts, horizons_for, origins_of
from forecaster.scaling.capacity import declared_capacity, reactive_spec
from forecaster.scaling.plan import decide
from forecaster.scaling.types import HpaState, Situation
from forecaster.settings import Settings

START = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=5)
PLAYED, HISTORY = timedelta(days=60), timedelta(days=30)
SPREAD = 0.1


def made_up(span: timedelta, *, seed: int) -> DemandSeries:
    """Return a day, a week and noise."""
    index = np.arange(span // STEP)
    day = 1 + 0.6 * np.sin(index / 288 * 2 * np.pi)
    week = np.where(index // 288 % 7 >= 5, 0.6, 1.0)
    values = 100 * day * week * np.random.default_rng(seed).lognormal(0, SPREAD, len(index))
    starts = pd.to_datetime(START.timestamp() + 300.0 * index, unit="s", utc=True)
    return DemandSeries("made-up", STEP, pd.DataFrame({"ds": starts, "y": values}))


def field_of(series: DemandSeries, window: tuple[datetime, datetime]) -> Field:
    """Return the usual field of a series."""
    request = BacktestRequest(Settings())
    scaling = scaling_for_peak(series.name, peak_rps=float(series.frame["y"].max()), peak_replicas=20)
    return Field(
        series=series,
        met=series.frame.rename(columns={"y": "rps"}),
        window=window,
        scaling=scaling,
        capacity=declared_capacity(scaling, speed=1.0),
        spec=reactive_spec(scaling, speed=1.0),
        start_delay=request.start_delay,
        refresh=request.settings.refresh,
        data_delay=request.data_delay,
    )


def stored(ground: Field, *, horizons: int) -> RollingForecasts:
    """Return forecasts as if stored: the truth, blurred; what they say does not matter to how long playing takes."""
    origins = origins_of(
        ground.series, window=ground.window, refresh=ground.refresh, data_delay=ground.data_delay, before=WARM_UP
    )
    values = ground.series.frame["y"].to_numpy(dtype=np.float64)
    first = (origins - int(START.timestamp())) // 300
    ahead = values[np.minimum(first[:, None] + np.arange(horizons), len(values) - 1)]
    blur = np.random.default_rng(2).lognormal(0, SPREAD, len(origins))[:, None]
    spread = np.exp(SPREAD * np.array([0.0, 0.25, 0.52, 0.84, 1.04, 1.28, 1.44, 1.64, 1.96, 2.33]))
    return RollingForecasts("made-up", "stored", LEVELS, STEP, origins, (ahead * blur)[..., None] * spread)


def play_seconds(*, processes: int) -> float:
    """Return what playing 60 days under all policies takes."""
    series = made_up(HISTORY + PLAYED, seed=1)
    ground = field_of(series, (START + HISTORY, START + HISTORY + PLAYED))
    horizons = horizons_for(series, ground.scaling, ground.refresh, ground.data_delay)
    return hold_shared(ground, stored(ground, horizons=horizons), processes=processes).play_seconds


def decisions_seconds(services: int) -> float:
    """Return what one decision for each of so many services takes, each on a forecast of its own for a day."""
    series = made_up(timedelta(days=32), seed=1)
    now = START + timedelta(days=30)
    ground = field_of(series, (now, now + timedelta(hours=8)))
    forecasts = stored(ground, horizons=288)
    hpa = HpaState(1, 3, 30, desired=5, current=5, ready=5)
    asked, forecast_from = [], forecasts.by_origin()
    for index in range(services):
        origin = datetime.fromtimestamp(int(forecasts.origins[index % len(forecasts.origins)]), UTC)
        asked.append((origin, forecast_from(origin)))
    began = time.perf_counter()
    for origin, forecast in asked:
        decide(
            Situation(
                now=origin,
                service="made-up",
                scaling=ground.scaling,
                mode="act",
                forecast=forecast,
                capacity=ground.capacity,
                hpa=hpa,
                metric_at=origin,
                last_lowered_at=None,
                backtest_passed=True,
            )
        )
    return time.perf_counter() - began
