"""How good one forecast was, and what many of them say together: skill against the seasonal naive one, and drift.

Pure. A score is a set of sums over the points of a bucket of horizons, so that scores of many forecasts add up to the
same figures as a backtest over them. Reading forecasts and truths is left to `scoring`, the table to `score_store`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from forecaster.forecast.baselines import naive, with_quantiles
from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array

NAIVE_HISTORY = timedelta(weeks=4)  # what the naive forecast sees, however much more the series holds
WEEKLY_FROM = timedelta(weeks=3)  # with less before the origin, the day before is the yardstick: as in the backtest


@dataclass(frozen=True, slots=True)
class Bucket:
    """Horizons from `after` (included) to `until` (excluded) after the origin."""

    name: str
    after: timedelta
    until: timedelta


BUCKETS = (
    Bucket("1h", timedelta(0), timedelta(hours=1)),
    Bucket("6h", timedelta(hours=1), timedelta(hours=6)),
    Bucket("24h", timedelta(hours=6), timedelta(hours=24)),
    Bucket("7d", timedelta(hours=24), timedelta(days=7)),
)


@dataclass(frozen=True, slots=True)
class Score:
    """One forecast in one bucket, as sums over its points. pinball, naive_pinball, covered: by level of `quantiles`."""

    service: str
    bucket: str
    origin: datetime
    model: str
    naive: str
    step: timedelta
    points: int
    demand: float
    absolute_error: float
    naive_absolute_error: float
    quantiles: tuple[float, ...]
    pinball: tuple[float, ...]
    naive_pinball: tuple[float, ...]
    covered: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Many forecasts in one bucket. Ratios are to the seasonal naive forecast: under 1 is better; None: unknown.

    quantile_loss: mean over the levels of 2 x pinball / demand. coverage: by level, the share of truths at or below it.
    """

    bucket: str
    origins: int
    points: int
    quantile_loss: float | None
    relative_quantile_loss: float | None
    relative_error: float | None
    coverage: dict[float, float]

    @property
    def skill(self) -> float | None:
        """Return 1 - relative quantile loss: 0 is as good as the naive forecast, 1 is perfect."""
        return None if self.relative_quantile_loss is None else 1 - self.relative_quantile_loss


def score_forecast(forecast: Forecast, series: DemandSeries, bucket: Bucket) -> Score:
    """Score one bucket of a forecast by the truths in `series`, which also holds what the naive forecast rests on.

    Truths that are gaps do not count; a bucket without any has 0 points. Raises ValueError on different steps.
    """
    if forecast.step != series.step:
        raise ValueError(f"forecast of {forecast.name}: expected truths every {forecast.step}, got {series.step}")
    step = int(series.step.total_seconds())
    first, last = (round(edge / series.step) for edge in (bucket.after, bucket.until))
    answer = forecast.frame.drop(columns="ds").to_numpy(dtype=np.float64)[first:last]
    values = series.frame["y"].to_numpy(dtype=np.float64)
    start = series.frame["ds"].iloc[0].to_pydatetime()
    origin = round((forecast.origin - start) / series.step)
    truth = _between(values, origin + first, origin + first + len(answer))
    season = WEEK_SECONDS if origin * series.step >= WEEKLY_FROM else DAY_SECONDS
    levels = np.array(forecast.quantiles)
    seen = values[max(0, origin - NAIVE_HISTORY // series.step) : max(0, origin)]
    horizons = np.arange(first + len(answer))
    usual = (
        with_quantiles(naive(season), seen, horizons, step, levels)[first:] if np.isfinite(seen).any() else answer * 0
    )
    known = np.isfinite(truth)
    own, other = (_sums(truth[known], found[known], levels) for found in (answer, usual))
    return Score(
        service=forecast.name,
        bucket=bucket.name,
        origin=forecast.origin,
        model=forecast.model,
        naive="naive_week" if season == WEEK_SECONDS else "naive_day",
        step=forecast.step,
        points=int(known.sum()),
        demand=float(np.abs(truth[known]).sum()),
        absolute_error=own[0],
        naive_absolute_error=other[0],
        quantiles=forecast.quantiles,
        pinball=own[1],
        naive_pinball=other[1],
        covered=tuple(int(count) for count in (truth[known][:, None] <= answer[known]).sum(axis=0)),
    )


def summarise(scores: Sequence[Score]) -> tuple[Summary, ...]:
    """Return one summary per bucket that any score has, nearest first; a level counts where a forecast had it."""
    return tuple(
        _summary(bucket.name, [score for score in scores if score.bucket == bucket.name])
        for bucket in BUCKETS
        if any(score.bucket == bucket.name for score in scores)
    )


def _summary(bucket: str, scores: Sequence[Score]) -> Summary:
    demand = sum(score.demand for score in scores)
    losses, naives = ([_mean(getattr(score, name)) for score in scores] for name in ("pinball", "naive_pinball"))
    absolute, usual = (
        math.fsum(getattr(score, name) for score in scores) for name in ("absolute_error", "naive_absolute_error")
    )
    points: dict[float, int] = {}
    covered: dict[float, int] = {}
    for score in scores:
        for level, count in zip(score.quantiles, score.covered, strict=True):
            points[level] = points.get(level, 0) + score.points
            covered[level] = covered.get(level, 0) + count
    return Summary(
        bucket=bucket,
        origins=len(scores),
        points=sum(score.points for score in scores),
        quantile_loss=2 * math.fsum(losses) / demand if demand > 0 else None,
        relative_quantile_loss=math.fsum(losses) / math.fsum(naives) if math.fsum(naives) > 0 else None,
        relative_error=absolute / usual if usual > 0 else None,
        coverage={level: covered[level] / points[level] for level in sorted(points) if points[level]},
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _sums(truth: Array, answer: Array, levels: Array) -> tuple[float, tuple[float, ...]]:
    """Return the absolute error of the level next to 0.5, and the pinball loss by level, both summed over points."""
    middle = int(np.argmin(np.abs(levels - 0.5)))
    over = truth[:, None] - answer
    pinball = np.maximum(levels * over, (levels - 1) * over).sum(axis=0)
    return float(np.abs(over[:, middle]).sum()), tuple(float(value) for value in pinball)


def _between(values: Array, start: int, end: int) -> Array:
    """Return values[start:end] of that length, gaps where the series does not reach."""
    found = np.full(end - start, np.nan)
    low, high = max(0, start), min(end, len(values))
    if low < high:
        found[low - start : high - start] = values[low:high]
    return found
