"""What a kind of event does to demand: learnt from its past occurrences as a profile over the forecast. Pure.

The effect is measured on the very forecast that it corrects: each past occurrence is forecast from six hours before it,
and the logarithm of truth over median is taken in the lead, in six parts of the event, and right after it. So whatever
the base model knows already (a match each Saturday) is not counted twice. An event's own expected factor is where the
learning starts from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from forecaster.calendar.types import Event
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast

PARTS = 6
BINS = PARTS + 2  # the lead, the parts, and one part's length after the end
AHEAD = timedelta(hours=6)
SHRINKAGE = 1.0  # occurrences that say "no effect beyond what was expected"
PRIOR_DEVIATION = 0.2  # of an occurrence's logarithm from its kind's, before any was seen
LARGEST = math.log(10)
LEAST_OCCURRENCES = 3
BETTER_BY = 0.02

Array = npt.NDArray[np.float64]
Base = Callable[[datetime, timedelta], Forecast | NoForecast]
"""The forecast without a calendar: (origin, horizon) -> what would have been said then."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One that has passed: what was forecast for its window, what came, and the logarithm of their ratio by bin."""

    event: Event
    bins: npt.NDArray[np.int64]  # per step of the window, -1 outside
    forecast: Array  # (steps, quantiles)
    truth: Array
    logs: Array  # (BINS,), NaN where nothing is known


@dataclass(frozen=True, slots=True)
class Effect:
    """logs: by bin, to be added to the logarithm of the event's own factor. deviation: of one occurrence from it."""

    kind: str
    logs: tuple[float, ...]
    deviation: float
    occurrences: int


@dataclass(frozen=True, slots=True)
class Trial:
    """Whether an effect earned its place: pinball loss with and without it on past occurrences it had not seen."""

    effect: Effect
    with_it: float
    without_it: float
    trials: int
    admitted: bool

    @property
    def words(self) -> str:
        """Say what was found, with figures."""
        if self.effect.occurrences < LEAST_OCCURRENCES:
            return f"{self.effect.occurrences} past occurrences are known, {LEAST_OCCURRENCES} are needed to prove it"
        change = 1 - self.with_it / self.without_it if self.without_it > 0 else 0.0
        return f"on {self.trials} past occurrences the loss with it was {change:.0%} lower"


def window_of(event: Event) -> tuple[datetime, datetime]:
    """Return from the lead's start to the end of what comes after."""
    return event.starts_at - event.lead, event.ends_at + (event.ends_at - event.starts_at) / PARTS


def bins_of(event: Event, seconds: Array) -> npt.NDArray[np.int64]:
    """Return the bin of each instant (epoch seconds): 0 lead, 1 to 6 parts of the event, 7 right after, -1 outside."""
    start, end = event.starts_at.timestamp(), event.ends_at.timestamp()
    part = (end - start) / PARTS
    inside = np.floor((seconds - start) / part).astype(np.int64) + 1
    found: npt.NDArray[np.int64] = np.where((seconds >= start) & (seconds < end + part), inside, -1)
    found[(seconds >= start - event.lead.total_seconds()) & (seconds < start)] = 0
    return found


def observe(event: Event, series: DemandSeries, base: Base) -> Occurrence | None:
    """Return a past occurrence as forecast from six hours before its window; None when too little was known."""
    start, end = window_of(event)
    origin = start - AHEAD
    forecast = base(origin, end - origin)
    if isinstance(forecast, NoForecast):
        return None
    seconds = epoch_of(forecast)
    first = series.frame["ds"].iloc[0].timestamp()
    at = np.round((seconds - first) / series.step.total_seconds()).astype(int)
    values = series.frame["y"].to_numpy(dtype=np.float64)
    truth = np.where((at >= 0) & (at < len(values)), values[np.clip(at, 0, len(values) - 1)], np.nan)
    bins = bins_of(event, seconds)
    answer = forecast.frame.drop(columns="ds").to_numpy(dtype=np.float64)
    logs = _logs(bins, answer[:, middle_of(forecast.quantiles)], truth)
    return Occurrence(event, bins, answer, truth, logs) if np.isfinite(logs).any() else None


def learn(kind: str, occurrences: Sequence[Occurrence]) -> Effect:
    """Return the mean of what the occurrences did beyond their own factors, shrunk towards nothing."""
    beyond = np.array([_beyond(one) for one in occurrences]).reshape(-1, BINS)
    known = np.isfinite(beyond)
    logs = np.where(known, beyond, 0.0).sum(axis=0) / (known.sum(axis=0) + SHRINKAGE)
    counts = np.maximum(known.sum(axis=1), 1)
    off = np.where(known, beyond - logs, 0.0).sum(axis=1) / counts
    count = len(occurrences)
    variance = (PRIOR_DEVIATION**2 + float((off**2).sum())) / (1 + count)
    return Effect(kind, tuple(float(log) for log in logs), math.sqrt(variance * (1 + 1 / max(count, 1))), count)


def prove(kind: str, occurrences: Sequence[Occurrence], levels: Sequence[float]) -> Trial:
    """Judge an effect on each occurrence with what those before it taught; occurrences: oldest first.

    It is admitted from three occurrences on, when the loss of all trials is at least 2 % lower with it, and lower in
    most of them.
    """
    with_it, without_it, wins = 0.0, 0.0, 0
    for index in range(1, len(occurrences)):
        one, effect = occurrences[index], learn(kind, occurrences[:index])
        changed = applied(one.forecast, one.bins, one.event, effect, levels)
        plain = _loss(one, one.forecast, levels)
        better = _loss(one, changed, levels)
        with_it, without_it, wins = with_it + better, without_it + plain, wins + (better < plain)
    trials = max(0, len(occurrences) - 1)
    enough = len(occurrences) >= LEAST_OCCURRENCES
    admitted = enough and with_it < (1 - BETTER_BY) * without_it and wins * 2 > trials
    return Trial(learn(kind, occurrences), with_it, without_it, trials, admitted)


def applied(values: Array, bins: npt.NDArray[np.int64], event: Event, effect: Effect, levels: Sequence[float]) -> Array:
    """Return (steps, quantiles) with the event's effect: moved as a whole, and wider by what occurrences differ.

    The median moves by the effect; a quantile's distance to it (in logarithms) and the event's own add in squares, so
    quantiles stay ascending.
    """
    inside = bins >= 0
    shift = np.where(inside, np.array(effect.logs)[np.maximum(bins, 0)] + _expected(event, bins), 0.0)
    normal = NormalDist()
    doubts = np.array([normal.inv_cdf(level) for level in levels]) * effect.deviation
    median = values[:, middle_of(levels)][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.log(values / median)
        wider = np.sign(doubts) * np.sqrt(distance**2 + doubts**2)
        changed = median * np.exp(shift[:, None] + wider)
    # A quantile of 0, or on the other side of the median than its level says, moves as it is.
    kept = np.isfinite(distance) & (distance * doubts >= 0)
    moved = np.where(kept, changed, values * np.exp(shift)[:, None])
    found: Array = np.where(inside[:, None], np.maximum.accumulate(moved, axis=1), values)
    return found


def middle_of(levels: Sequence[float]) -> int:
    """Return the index of the level next to 0.5."""
    return int(np.argmin(np.abs(np.array(levels) - 0.5)))


def epoch_of(forecast: Forecast) -> Array:
    """Return the starts of a forecast's steps, in epoch seconds."""
    stamps = forecast.frame["ds"].dt.tz_convert(None).to_numpy(dtype="datetime64[s]")
    seconds: Array = stamps.astype(np.int64).astype(np.float64)
    return seconds


def _logs(bins: npt.NDArray[np.int64], median: Array, truth: Array) -> Array:
    logs = np.full(BINS, np.nan)
    for index in range(BINS):
        here = (bins == index) & np.isfinite(truth) & (median > 0)
        if here.any():
            ratio = truth[here].sum() / median[here].sum()
            logs[index] = np.clip(math.log(ratio) if ratio > 0 else -LARGEST, -LARGEST, LARGEST)
    return logs


def _beyond(one: Occurrence) -> Array:
    beyond: Array = one.logs - _expected(one.event, np.arange(BINS))
    return beyond


def _expected(event: Event, bins: npt.NDArray[np.int64]) -> Array:
    """Return the logarithm of the expected factor: whole while it lasts, half of it in the lead and right after."""
    whole = math.log(event.factor) if event.factor is not None else 0.0
    found: Array = np.where((bins >= 1) & (bins <= PARTS), whole, np.where(bins >= 0, whole / 2, 0.0))
    return found


def _loss(one: Occurrence, answer: Array, levels: Sequence[float]) -> float:
    here = (one.bins >= 0) & np.isfinite(one.truth)
    over = one.truth[here][:, None] - answer[here]
    quantiles = np.array(levels)
    return float(np.maximum(quantiles * over, (quantiles - 1) * over).sum())
