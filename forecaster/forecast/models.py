"""A forecast of one series from one origin: which rows are seen, which steps are answered, in what columns.

The arithmetic is the model's (`interface`). It trains as of the half day that ended an hour ago or more, learns as of
the last full hour and predicts from the origin: so whoever forecasts often from one series may keep what was learnt
(`LearntHours`) and gets the same numbers, and may do the slow part within that hour (`train_ahead`), off the way.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.forecast.ensemble import Ensemble
from forecaster.forecast.fleet import FleetProfile, borrowed_by, halfway
from forecaster.forecast.interface import Fitted, Model, Past, Refusal
from forecaster.forecast.learning import offset_of
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.forecast.wall_clock import LARGEST_CHANGE, ask_ahead, back_from, on_the_wall

MODEL: Model = Ensemble()
HISTORY = timedelta(weeks=6)
COARSE_STEP, COARSE_HISTORY = timedelta(hours=1), timedelta(weeks=26)
LEARN_EVERY_SECONDS = 3600
TRAIN_EVERY_SECONDS = 12 * 3600
TRAIN_AHEAD_SECONDS = 3600  # a training is used this long after its half day has ended
KEPT_FITS, KEPT_TRAINED = 2, 2  # 3 MB per service
LEAST_TO_LEARN = timedelta(days=1)  # with less before the hour, everything up to the origin is learnt from


class ForecastError(ValueError):
    """A forecast was asked for in a way that has no answer: says what was expected and what came."""


@dataclass(slots=True)
class LearntHours:
    """What was learnt of ONE series, by model and until when (epoch): only a saving, never a different answer.

    The newest are kept: a loop that forecasts every few minutes learns once per hour and trains once per half day.
    """

    fits: dict[tuple[str, int], Fitted] = field(default_factory=dict)
    trained: dict[tuple[str, int], Any] = field(default_factory=dict)
    training: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)


def forecast_demand(
    series: DemandSeries,
    *,
    origin: datetime,
    horizon: timedelta,
    quantiles: Sequence[float],
    learnt: LearntHours | None = None,
    model: Model = MODEL,
    fleet: FleetProfile | None = None,
) -> Forecast | NoForecast:
    """Return demand from `origin` (floored to the series' steps) over `horizon`, in the series' unit.

    fleet: a shape to borrow while the history is shorter than two days; from the second on by half.

    A series with a zone is seen on its users' wall clock (`wall_clock`).

    Sees rows with ds < origin only, at most `history_for(step)` of them. Raises ForecastError on quantiles outside
    (0, 1), an origin without a zone or a horizon shorter than nothing.
    """
    levels = _levels(quantiles)
    if origin.tzinfo is None or horizon <= timedelta(0):
        raise ForecastError(f"expected an aware origin and a positive horizon, got {origin.isoformat()} and {horizon}")
    if series.zone is not None and len(series.frame):
        wall = on_the_wall(series, origin)
        there = forecast_demand(
            wall.series, origin=wall.origin, horizon=ask_ahead(series, origin, horizon), quantiles=levels,
            learnt=learnt, model=model, fleet=fleet,
        )  # fmt: skip
        return back_from(there, series, origin=origin, horizon=horizon)
    seen = _steps_before(series, origin)
    if seen <= 0:
        return NoForecast(series.name, origin, "no rows before the origin")
    past = _past(series, seen)
    if not np.isfinite(past.values).any():
        days = history_for(series.step).days
        return NoForecast(series.name, origin, f"every row of the last {days} days before the origin is a gap")
    horizons = np.arange(math.ceil(horizon / series.step))
    answer, told = _answered(past, lambda: _fit(series, seen, model, learnt), horizons, np.array(levels), fleet)
    if isinstance(answer, Refusal):
        return NoForecast(series.name, origin, answer.reason)
    if not np.isfinite(answer).all():
        return NoForecast(series.name, origin, f"model {model.name} answered with numbers that are none")
    return _forecast(series, past, model=model.name, levels=levels, answer=answer, notes=(_ground(past), *told))


def _answered(
    past: Past,
    fit: Callable[[], Fitted],
    horizons: npt.NDArray[Any],
    levels: npt.NDArray[Any],
    fleet: FleetProfile | None,
) -> tuple[npt.NDArray[Any] | Refusal, tuple[str, ...]]:
    """Return (horizons, levels), by what was learnt, by the fleet's shape, or by both; and what to know of it."""
    lent = borrowed_by(past, fleet, horizons, levels) if fleet is not None else None
    told = (f"the day's shape is borrowed from {fleet.services} services",) if fleet is not None else ()
    if lent is not None and past.known_seconds < LEAST_TO_LEARN.total_seconds():
        return lent, told
    found = fit()
    answer = found.predict(past, horizons, levels)
    if lent is None or isinstance(answer, Refusal):
        return answer, found.notes
    return halfway(answer, lent, offset_of(past.windows())), (*told, *found.notes)


def _forecast(
    series: DemandSeries,
    past: Past,
    *,
    model: str,
    levels: tuple[float, ...],
    answer: npt.NDArray[Any],
    notes: tuple[str, ...],
) -> Forecast:
    """Return an answer (horizons, levels) from the end of `past` as a forecast."""
    step = past.step_seconds
    frame = pd.DataFrame(answer, columns=[column_of(level) for level in levels])
    frame.insert(0, "ds", pd.to_datetime(past.end + step * np.arange(len(answer)), unit="s", utc=True))
    newest = int(np.flatnonzero(np.isfinite(past.values))[-1]) + 1
    return Forecast(
        name=series.name,
        origin=datetime.fromtimestamp(past.end, UTC),
        model=model,
        step=series.step,
        quantiles=levels,
        frame=frame,
        history_from=datetime.fromtimestamp(past.start, UTC),
        watermark=datetime.fromtimestamp(past.start + newest * step, UTC),
        notes=notes,
    )


def learn(series: DemandSeries, *, origin: datetime, learnt: LearntHours, model: Model = MODEL) -> None:
    """Train and fit what a forecast from `origin` needs, so that the forecast itself is quick. Does nothing twice.

    For a scheduler that staggers the slow part over its services. Without known demand before the origin: nothing.
    """
    series, origin = _as_seen(series, origin)
    seen = _steps_before(series, origin)
    if seen > 0 and np.isfinite(_seen(series, seen)).any():
        _fit(series, seen, model, learnt)


def train_ahead(series: DemandSeries, *, origin: datetime, learnt: LearntHours, model: Model = MODEL) -> None:
    """Train on the half day that has just ended at `origin`, before forecasts need it. Does nothing twice.

    A training takes seconds: who does it here keeps the forecasts of a live loop waiting for none. May run in a thread
    of its own beside them.
    """
    series, origin = _as_seen(series, origin)
    first = int(series.frame["ds"].iloc[0].timestamp()) if len(series.frame) else 0
    if len(series.frame) and origin.timestamp() > first:
        _trained(series, math.floor(origin.timestamp()), model, learnt)


def _as_seen(series: DemandSeries, origin: datetime) -> tuple[DemandSeries, datetime]:
    if series.zone is None or not len(series.frame):
        return series, origin
    wall = on_the_wall(series, origin)
    return wall.series, wall.origin


def forget_what_is_past(learnt: LearntHours) -> None:
    """Drop what no forecast from the newest origin on will ask for: of many services it is most of the memory."""
    if not learnt.fits:
        return
    newest = max(end for _, end in learnt.fits)
    needed = newest - TRAIN_AHEAD_SECONDS
    needed -= needed % TRAIN_EVERY_SECONDS
    with learnt.training:
        learnt.fits = {key: fit for key, fit in learnt.fits.items() if key[1] == newest}
        learnt.trained = {key: trained for key, trained in learnt.trained.items() if key[1] >= needed}


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


def history_to_read(step: timedelta) -> timedelta:
    """Return how long before an origin a series must reach, for the answer to be that of the whole history.

    What was learnt up to half a day ago rests on as much history before that, by a clock that may have been set back.
    """
    before = timedelta(seconds=TRAIN_EVERY_SECONDS + TRAIN_AHEAD_SECONDS + LEARN_EVERY_SECONDS)
    return history_for(step) + before + LARGEST_CHANGE


def _steps_before(series: DemandSeries, origin: datetime) -> int:
    """Return how many steps of a series have begun before an origin; none of a series without rows."""
    if not len(series.frame):
        return 0
    first = float(series.frame["ds"].iloc[0].timestamp())
    return math.floor((origin.timestamp() - first) / series.step.total_seconds())


def _seen(series: DemandSeries, seen: int) -> npt.NDArray[Any]:
    """Return the newest part of the first `seen` steps; steps after the series' end are gaps."""
    longest = max(1, history_for(series.step) // series.step)
    start = max(0, seen - longest)
    known = series.frame["y"].to_numpy(dtype=np.float64)[start:seen]
    return np.concatenate([known, np.full(seen - start - len(known), np.nan)])


def _past(series: DemandSeries, seen: int) -> Past:
    step, values = int(series.step.total_seconds()), _seen(series, seen)
    first = int(series.frame["ds"].iloc[0].timestamp())
    return Past(values, step, first + (seen - len(values)) * step)


def _fit(series: DemandSeries, seen: int, model: Model, learnt: LearntHours | None) -> Fitted:
    step, first = int(series.step.total_seconds()), int(series.frame["ds"].iloc[0].timestamp())
    learnt = learnt if learnt is not None else LearntHours()
    end = _rows_before(first + seen * step, LEARN_EVERY_SECONDS, first, step)
    if end * step < LEAST_TO_LEARN.total_seconds() or not np.isfinite(_seen(series, end)).any():
        return model.fit(_past(series, seen), None)  # all there is, anew each time: it is little
    key = (model.name, first + end * step)
    if key not in learnt.fits:
        learnt.fits[key] = model.fit(
            _past(series, end), _trained(series, first + end * step - TRAIN_AHEAD_SECONDS, model, learnt)
        )
        _forget(learnt.fits, KEPT_FITS)
    return learnt.fits[key]


def _trained(series: DemandSeries, until: int, model: Model, learnt: LearntHours) -> Any:
    step, first = int(series.step.total_seconds()), int(series.frame["ds"].iloc[0].timestamp())
    end = _rows_before(until, TRAIN_EVERY_SECONDS, first, step)
    if end <= 0 or not np.isfinite(_seen(series, end)).any():
        return None
    key = (model.name, first + end * step)
    with learnt.training:  # who needs it while it is made waits for it, and does not make it too
        if key not in learnt.trained:
            learnt.trained[key] = model.train(_past(series, end))
            _forget(learnt.trained, KEPT_TRAINED)
        return learnt.trained[key]


def _rows_before(origin: int, every_seconds: int, first: int, step: int) -> int:
    """Return how many rows begin before the newest full hour (or half day) at or before `origin`."""
    return math.ceil((origin - origin % every_seconds - first) / step)


def _forget(kept: dict[tuple[str, int], Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


def _ground(past: Past) -> str:
    """Say how much history a forecast rests on, and what that allows."""
    days = past.known_seconds / 86_400
    if days < 1:
        return f"rests on {days * 24:.1f} h of history: the last level, no day to compare with"
    kind = "days are compared, no week yet" if days < 7 else "days and weeks are compared"
    return f"rests on {days:.1f} days of history: {kind}"
