"""Forecasts from every origin of a window, made once by the live forecast function and kept on disk.

A backtest plays many settings over the same forecasts; making them is by far its slowest part. Each origin sees rows
before it only, and is trained as often as the live loop trains, so what is kept is what the loop would have stored.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.catalog import Scaling
from forecaster.forecast.interface import Model
from forecaster.forecast.models import (
    MODEL,
    TRAIN_AHEAD_SECONDS,
    TRAIN_EVERY_SECONDS,
    LearntHours,
    column_of,
    forecast_demand,
)
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.scaling.plan import looked_at

Array = npt.NDArray[Any]
ForecastFrom = Callable[[datetime], Forecast | NoForecast]
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)


@dataclass(frozen=True, slots=True)
class RollingForecasts:
    """origins: epoch seconds (n,), ascending; values: (n, horizons, levels) in the series' unit, NaN where none.

    fit_seconds: what making them took; 0 when they were read from disk.
    """

    series: str
    model: str
    levels: tuple[float, ...]
    step: timedelta
    origins: Array
    values: Array
    fit_seconds: float = 0.0

    def by_origin(self) -> ForecastFrom:
        """Return what gives the forecast from an origin as the live loop would hold it; ValueError for one not made.

        Their frames are parts of one: to make each anew would take longer than to decide on it.
        """
        step, horizons = int(self.step.total_seconds()), self.values.shape[1]
        frame = pd.DataFrame(
            self.values.reshape(-1, len(self.levels)), columns=[column_of(level) for level in self.levels]
        )
        starts = self.origins[:, None] + step * np.arange(horizons)
        frame.insert(0, "ds", pd.to_datetime(starts.ravel(), unit="s", utc=True))
        known = np.asarray(np.isfinite(self.values).all(axis=(1, 2)))
        places = {origin: index for index, origin in enumerate(self.origins.tolist())}

        def of(origin: datetime) -> Forecast | NoForecast:
            index = places.get(round(origin.timestamp()))
            if index is None:
                raise ValueError(
                    f"series {self.series!r}: expected a forecast from {origin.isoformat()}, none was made"
                )
            if not known[index]:
                return NoForecast(self.series, origin, "the history before this origin carried no forecast")
            rows = frame.iloc[index * horizons : (index + 1) * horizons]
            return Forecast(
                self.series, origin, self.model, self.step, self.levels, rows, history_from=origin, watermark=origin
            )

        return of

    def quantile(self, level: float) -> Array:
        """Return (origins, horizons) of one level; raises ValueError when it was not forecast."""
        if level not in self.levels:
            raise ValueError(f"expected one of the levels {list(self.levels)}, got {level:g}")
        found: Array = self.values[:, :, self.levels.index(level)]
        return found


def origins_of(
    series: DemandSeries,
    *,
    window: tuple[datetime, datetime],
    refresh: timedelta,
    data_delay: timedelta = timedelta(0),
    before: timedelta = timedelta(0),
) -> Array:
    """Return the origin (epoch seconds) of every decision of a window, and of the span `before` it.

    An origin lies on the series' grid; one of the window is the newest that was known at its decision.
    """
    step, start = int(series.step.total_seconds()), int(series.frame["ds"].iloc[0].timestamp())
    every = max(step, math.ceil(refresh / series.step) * step)
    known_from, known_to = (instant.timestamp() - data_delay.total_seconds() for instant in window)
    first = start + math.floor((known_from - start) / step) * step
    earlier = max(0, min(int(before.total_seconds()), first - start - step) // every)
    found: Array = np.arange(first - earlier * every, known_to, every, dtype=np.int64)
    return found[found > start]


def levels_for(scaling: Scaling) -> tuple[float, ...]:
    """Return the quantiles that a backtest forecasts: those of the risk curve, and the service's own."""
    return tuple(sorted({*LEVELS, scaling.quantile}))


def horizons_for(series: DemandSeries, scaling: Scaling, refresh: timedelta, data_delay: timedelta) -> int:
    """Return how many steps from its origin a decision looks at."""
    return -(-(looked_at(scaling, refresh) + series.step + data_delay) // series.step)


def roll(
    series: DemandSeries,
    *,
    origins: Sequence[int] | Array,
    horizons: int,
    levels: Sequence[float] = LEVELS,
    model: Model = MODEL,
    processes: int = 1,
    kept: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> RollingForecasts:
    """Return a forecast of `horizons` steps from each origin (epoch seconds, on the series' grid, ascending).

    kept: a folder to read them from, or to write them to; None: they are made anew. progress: the share that is done.
    """
    asked = _Asked(series, tuple(int(origin) for origin in origins), horizons, tuple(sorted(set(levels))), model)
    path = None if kept is None else kept / f"{asked.digest()}.npz"
    if path is not None and path.is_file():
        with np.load(path) as stored:
            return asked.answer(stored["values"], 0.0)
    began = time.perf_counter()
    values = np.concatenate([part for _, part in sorted(_parts(asked, processes, progress))])
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(unfinished, values=values)
        unfinished.replace(path)
    return asked.answer(values, time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Asked:
    series: DemandSeries
    origins: tuple[int, ...]
    horizons: int
    levels: tuple[float, ...]
    model: Model

    def answer(self, values: Array, seconds: float) -> RollingForecasts:
        origins = np.array(self.origins, dtype=np.int64)
        return RollingForecasts(
            self.series.name, self.model.name, self.levels, self.series.step, origins, values, seconds
        )

    def digest(self) -> str:
        """Name what the answer depends on: the model, the question, and every value before the last origin."""
        frame = self.series.frame
        seen = frame[frame["ds"] < datetime.fromtimestamp(self.origins[-1], UTC)]
        parts = (self.model.name, self.series.step, seen["ds"].iloc[0], self.origins, self.horizons, self.levels)
        found = hashlib.sha256(repr(parts if self.series.zone is None else (*parts, self.series.zone)).encode())
        found.update(seen["y"].to_numpy(dtype=np.float64).tobytes())
        return f"{self.series.name}-{found.hexdigest()[:24]}"

    def blocks(self) -> list[_Asked]:
        """Return the question in parts that each need one training."""
        origins = np.array(self.origins)
        of = (origins - TRAIN_AHEAD_SECONDS) // TRAIN_EVERY_SECONDS
        return [replace(self, origins=tuple(origins[of == block].tolist())) for block in np.unique(of)]


def _parts(asked: _Asked, processes: int, progress: Callable[[float], None] | None) -> Iterator[tuple[int, Array]]:
    blocks = asked.blocks()
    workers = min(processes, len(blocks))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else None
    with pool or nullcontext():
        waiting = [(block.origins[0], block) for block in blocks]
        if pool is None:
            answers = ((first, _answered(block)) for first, block in waiting)
        else:
            running = {pool.submit(_answered, block): first for first, block in waiting}
            answers = ((running[done], done.result()) for done in as_completed(running))
        for count, answer in enumerate(answers, 1):
            yield answer
            if progress is not None:
                progress(count / len(blocks))


def _answered(asked: _Asked) -> Array:
    learnt = LearntHours()
    found = np.full((len(asked.origins), asked.horizons, len(asked.levels)), np.nan)
    for index, origin in enumerate(asked.origins):
        answer = forecast_demand(
            asked.series,
            origin=datetime.fromtimestamp(origin, UTC),
            horizon=asked.horizons * asked.series.step,
            quantiles=asked.levels,
            learnt=learnt,
            model=asked.model,
        )
        if isinstance(answer, Forecast):
            found[index] = answer.frame.drop(columns="ds").to_numpy(dtype=np.float64)
    return found
