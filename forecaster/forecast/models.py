"""A forecast of one series from one origin: which rows are seen, which steps are answered, in what columns.

The arithmetic is in `learning` and `seasonal`. It learns as of the last full hour and predicts from the
origin: so whoever forecasts often from one series may keep what was learnt (`LearntHours`) and gets the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.forecast import learning
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast

MODEL = "seasonal-1"
HISTORY = timedelta(weeks=6)
COARSE_STEP, COARSE_HISTORY = timedelta(hours=1), timedelta(weeks=26)
LEARN_EVERY_SECONDS = 3600
LEAST_TO_LEARN = timedelta(days=1)  # with less before the hour, everything up to the origin is learnt from


class ForecastError(ValueError):
    """A forecast was asked for in a way that has no answer: says what was expected and what came."""


@dataclass(slots=True)
class LearntHours:
    """What was learnt of ONE series, by how many of its rows were seen: only a saving, never a different answer."""

    fits: dict[int, learning.Fit] = field(default_factory=dict)


def forecast_demand(
    series: DemandSeries,
    *,
    origin: datetime,
    horizon: timedelta,
    quantiles: Sequence[float],
    learnt: LearntHours | None = None,
) -> Forecast | NoForecast:
    """Return demand from `origin` (floored to the series' steps) over `horizon`, in the series' unit.

    Sees rows with ds < origin only, at most `history_for(step)` of them. Raises ForecastError on quantiles outside
    (0, 1), an origin without a zone or a horizon shorter than nothing.
    """
    levels = _levels(quantiles)
    if origin.tzinfo is None or horizon <= timedelta(0):
        raise ForecastError(f"expected an aware origin and a positive horizon, got {origin.isoformat()} and {horizon}")
    step = int(series.step.total_seconds())
    first = int(series.frame["ds"].iloc[0].timestamp()) if len(series.frame) else 0
    seen = math.floor((origin.timestamp() - first) / step)
    if len(series.frame) == 0 or seen <= 0:
        return NoForecast(series.name, origin, "no rows before the origin")
    values = _seen(series, seen)
    if not np.isfinite(values).any():
        days = history_for(series.step).days
        return NoForecast(series.name, origin, f"every row of the last {days} days before the origin is a gap")
    horizons = np.arange(math.ceil(horizon / series.step))
    fit = _fit(series, values, first=first, seen=seen, learnt=learnt)
    answer = learning.predict(fit, values, step, horizons, np.array(levels))
    start = first + seen * step
    frame = pd.DataFrame(answer, columns=[column_of(level) for level in levels])
    frame.insert(0, "ds", pd.to_datetime(start + step * horizons, unit="s", utc=True))
    newest = seen - len(values) + int(np.flatnonzero(np.isfinite(values))[-1]) + 1
    return Forecast(
        name=series.name,
        origin=datetime.fromtimestamp(start, UTC),
        model=MODEL,
        step=series.step,
        quantiles=levels,
        frame=frame,
        history_from=datetime.fromtimestamp(first + (seen - len(values)) * step, UTC),
        watermark=datetime.fromtimestamp(first + newest * step, UTC),
    )


def column_of(quantile: float) -> str:
    """Return the column's name of a quantile: 0.5 is `q0.5`."""
    return f"q{quantile:g}"


def _levels(quantiles: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(sorted({float(quantile) for quantile in quantiles}))
    if not levels or not (levels[0] > 0 and levels[-1] < 1):
        raise ForecastError(f"expected quantiles inside (0, 1), got {list(quantiles)}")
    return levels


def history_for(step: timedelta) -> timedelta:
    """Return how much of the past a forecast at this step sees: coarse steps are few, and their weeks differ more."""
    return COARSE_HISTORY if step >= COARSE_STEP else HISTORY


def _seen(series: DemandSeries, seen: int) -> npt.NDArray[Any]:
    """Return the newest part of the first `seen` steps; steps after the series' end are gaps."""
    longest = max(1, history_for(series.step) // series.step)
    start = max(0, seen - longest)
    known = series.frame["y"].to_numpy(dtype=np.float64)[start:seen]
    return np.concatenate([known, np.full(seen - start - len(known), np.nan)])


def _fit(
    series: DemandSeries, values: npt.NDArray[Any], *, first: int, seen: int, learnt: LearntHours | None
) -> learning.Fit:
    step = int(series.step.total_seconds())
    origin = first + seen * step
    hour = origin - origin % LEARN_EVERY_SECONDS
    before_hour = math.ceil((hour - first) / step)
    end = before_hour if before_hour * step >= LEAST_TO_LEARN.total_seconds() else seen
    if learnt is not None and end in learnt.fits:
        return learnt.fits[end]
    rows = _seen(series, end)
    if not np.isfinite(rows).any():
        return learning.fit(values, step)
    fit = learning.fit(rows, step)
    if learnt is not None:
        learnt.fits[end] = fit
    return fit
