"""The model, as arrays: yesterday, last week and the days most like today, corrected by the level of now.

Everything is relative to the level of the last quarter of an hour, in logarithms: so the forecast scales with the
demand. How far each copy is to be believed, and how wrong the result was, is learnt from earlier origins of the same
history, per horizon, mostly from those at the same time of day: ramps that recur are learnt where they recur.
Rows, instants and quantile names are left to `models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
COPIED_DAYS = 14  # days that may be like today
COPIED_WEEKS = 4
USED_FOR_SECONDS = 3600  # a fit serves the origins of the hour after it
NEAR_MINUTES = (-45, 120)  # around that hour, earlier origins are dense: a ramp's edge is a matter of minutes
FIT_DAYS = 28  # earlier origins that weights and residuals are learnt from
NODE_MINUTES = (0, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 600, 720, 960, 1200, 1439)
SHAPE_HOURS = 6  # how much of today is compared with other days
RECENT_DAYS = 10  # an earlier origin counts half as much after so long
OFFSET_SHARE = 0.02  # of the last day's mean, added before logarithms: a small count is no catastrophe
SIMILARITY_LOG_WIDTH = 0.15  # difference in shape (logarithms) at which a day counts 1/e as much
PRIOR_SAMPLES = 40.0  # how many samples the belief of a short history is worth
PRIOR_LOG_DEVIATION = 0.25
PRIOR_RESIDUALS = 2.0

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Windows:
    """Sums and counts up to each index, so that the mean of any window costs two look-ups. `length` rows are seen."""

    sums: Array
    counts: Array
    step_seconds: int

    @property
    def length(self) -> int:
        """Return how many rows are seen."""
        return len(self.sums) - 1

    def log_mean(self, start: Array, end: Array, offset: float) -> Array:
        """Return log(mean of rows [start, end) + offset); NaN where no row of the window is known."""
        low, high = np.clip(start, 0, self.length), np.clip(end, 0, self.length)
        counts = self.counts[high] - self.counts[low]
        sums = np.maximum(self.sums[high] - self.sums[low], 0.0)
        known = (counts > 0) & (high > 0)
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=known)
        return np.where(known, np.log(means + offset), np.nan)

    def steps(self, seconds: float) -> int:
        """Return a span in whole steps, at least one."""
        return max(1, round(seconds / self.step_seconds))


def windows_of(values: Array, step_seconds: int) -> Windows:
    """Return the running sums of values (NaN = gap)."""
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    return Windows(sums, np.concatenate([[0.0], np.cumsum(known)]), step_seconds)


@dataclass(frozen=True, slots=True)
class Fit:
    """What earlier origins taught. weights: (nodes, features); residuals: sorted per node, with cumulative weights."""

    nodes: Array  # horizons in steps
    weights: Array
    residuals: Array
    cumulative: Array
    samples: Array  # effective number of residuals per node
    offset: float
    highest: float  # no forecast goes above it


def features(windows: Windows, origins: Array, horizons: Array, offset: float) -> tuple[Array, Array]:
    """Return (origins, horizons, features) relative to the level at each origin, and that level's logarithm.

    A feature that the history does not reach is 0: as if that day had had the level of now.
    """
    now = origins[:, None]
    level = windows.log_mean(origins - windows.steps(900), origins, offset)
    hour = windows.log_mean(origins - windows.steps(3600), origins, offset)
    for seconds in (3600, 6 * 3600, DAY_SECONDS, WEEK_SECONDS):  # through a gap, the level before it
        level = np.where(np.isfinite(level), level, windows.log_mean(origins - windows.steps(seconds), origins, offset))
    day_copy, day_level = _copies(windows, origins, horizons, offset, DAY_SECONDS, COPIED_DAYS)
    week_copy, week_level = _copies(windows, origins, horizons, offset, WEEK_SECONDS, COPIED_WEEKS)
    likeness = _likeness(windows, origins, horizons, offset)
    like = _weighted(day_copy, likeness)
    like_level = _weighted(day_level, likeness)
    recent = [
        windows.log_mean(now - windows.steps(300), now, offset),
        hour[:, None],
        windows.log_mean(now - windows.steps(6 * 3600), now, offset),
        windows.log_mean(now - 2 * windows.steps(900), now - windows.steps(900), offset),
    ]
    columns = [
        day_copy[..., 0],
        _mean(day_copy[..., :7]),
        _highest(day_copy[..., :7]),
        like,
        week_copy[..., 0],
        _mean(week_copy),
        day_level[..., 0],
        _mean(day_level[..., :7]),
        _highest(day_level[..., :7]),
        like_level,
        week_level[..., 0],
        _mean(week_level),
        *(np.broadcast_to(column, like.shape) for column in recent),
    ]
    stacked = np.stack(columns, axis=-1) - level[:, None, None]
    ones = np.ones((*like.shape, 1))
    return np.concatenate([np.where(np.isfinite(stacked), stacked, 0.0), ones], axis=-1), level


def _copies(
    windows: Windows, origins: Array, horizons: Array, offset: float, period_seconds: int, count: int
) -> tuple[Array, Array]:
    """Return what was at the same time in earlier periods, and the level at the origin's time in them."""
    period = windows.steps(period_seconds)
    half = round(450 / windows.step_seconds)  # a quarter of an hour around the instant
    whole = (horizons + half) // period + 1  # periods back, so that nothing after the origin is needed
    lags = (whole[:, None] + np.arange(count)[None, :]) * period
    at = origins[:, None, None] + horizons[None, :, None] - lags[None, :, :]
    copy = windows.log_mean(at - half, at + half + 1, offset)
    distinct, which = np.unique(whole, return_inverse=True)
    before = origins[:, None, None] - (distinct[:, None] + np.arange(count)[None, :]) * period
    return copy, windows.log_mean(before - windows.steps(900), before, offset)[:, which]


def _likeness(windows: Windows, origins: Array, horizons: Array, offset: float) -> Array:
    """Return (origins, horizons, days): how like today's last hours each copied day's were; 0 where unknown."""
    hour, day = windows.steps(3600), windows.steps(DAY_SECONDS)
    ends = origins[:, None] - hour * np.arange(SHAPE_HOURS)[None, :]
    today = windows.log_mean(ends - hour, ends, offset)[:, None, :]
    others = ends[:, None, :] - (day * (1 + np.arange(COPIED_DAYS)))[None, :, None]
    distance = np.abs(windows.log_mean(others - hour, others, offset) - today)
    known = np.isfinite(distance)
    mean = np.where(known, distance, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    likeness = np.where(known.any(axis=-1), np.exp(-mean / SIMILARITY_LOG_WIDTH) + 1e-9, 0.0)
    days_ahead = (horizons + round(450 / windows.step_seconds)) // day
    copied = np.minimum(days_ahead[:, None] + np.arange(COPIED_DAYS)[None, :], COPIED_DAYS - 1)
    copied_likeness: Array = likeness[:, copied]
    return copied_likeness


def _weighted(values: Array, weights: Array) -> Array:
    known = np.isfinite(values)
    weight = np.where(known, weights, 0.0)
    total = weight.sum(axis=-1)
    weighted = (np.where(known, values, 0.0) * weight).sum(axis=-1)
    means: Array = np.divide(weighted, total, out=np.full_like(total, np.nan), where=total > 0)
    return means


def _mean(values: Array) -> Array:
    return _weighted(values, np.ones_like(values))


def _highest(values: Array) -> Array:
    highest = np.where(np.isfinite(values), values, -np.inf).max(axis=-1)
    return np.where(np.isfinite(highest), highest, np.nan)


def fit(values: Array, step_seconds: int) -> Fit:
    """Learn from every earlier origin of the last FIT_DAYS in `values` (NaN = gap), as of their end."""
    windows = windows_of(values, step_seconds)
    offset = _offset(windows)
    nodes = np.unique([round(minutes * 60 / step_seconds) for minutes in NODE_MINUTES])
    origins = _earlier_origins(windows)
    highest = 2.0 * float(np.nanmax(values, initial=0.0)) + offset
    inputs, level = features(windows, origins, nodes, offset)
    at = origins[:, None] + nodes[None, :]
    actual = windows.log_mean(at, at + 1, offset)
    target = actual - level[:, None]
    known = np.isfinite(target) & (at < windows.length)
    target = np.where(known, target, 0.0)
    weight = _weights_of(windows, origins, step_seconds)
    learnt = _ridge(inputs, target, known * weight[0][:, None])
    residual = target - np.einsum("ohf,hf->oh", inputs, learnt)
    residual *= 1 + inputs.shape[-1] / np.maximum(_effective(known * weight[0][:, None]), 1.0)  # they were fitted to
    sorted_residuals, cumulative = _sorted_residuals(residual, known * weight[1][:, None])
    samples = _effective(known * weight[1][:, None])
    return Fit(nodes, learnt, sorted_residuals, cumulative, samples, offset, highest)


def predict(model: Fit, values: Array, step_seconds: int, horizons: Array, quantiles: Array) -> Array:
    """Return (horizons, quantiles): demand for the steps `horizons` (0 = the first) after the end of `values`."""
    windows = windows_of(values, step_seconds)
    inputs, level = features(windows, np.array([windows.length]), horizons, model.offset)
    if not np.isfinite(level[0]):
        level = np.array([_last_level(windows, model.offset)])
    position = np.interp(horizons, model.nodes, np.arange(len(model.nodes)))
    centre = level[0] + (inputs[0] * _between(model.weights, position)).sum(axis=-1)
    spread = _between(_residual_quantiles(model, quantiles), position)
    answer = np.exp(np.minimum(centre[:, None] + spread, np.log(model.highest + model.offset))) - model.offset
    return np.sort(np.maximum(answer, 0.0), axis=1)


def _offset(windows: Windows) -> float:
    day = windows.steps(DAY_SECONDS)
    for length in (day, windows.length):
        start = max(0, windows.length - length)
        count = windows.counts[-1] - windows.counts[start]
        if count > 0 and windows.sums[-1] > windows.sums[start]:
            return float(OFFSET_SHARE * (windows.sums[-1] - windows.sums[start]) / count)
    return 1e-9  # nothing but zeros: any offset keeps the logarithm finite


def _last_level(windows: Windows, offset: float) -> float:
    """Return the level before a long gap: that of the last known row, or of nothing at all."""
    known = np.flatnonzero(np.diff(windows.counts) > 0)
    if len(known) == 0:
        return float(np.log(offset))
    at = np.array([known[-1]])
    return float(windows.log_mean(at, at + 1, offset)[0])


def _earlier_origins(windows: Windows) -> Array:
    """Return the origins to learn from: every hour, and every quarter of an hour around this time of day."""
    minutes_of_day = np.unique(np.concatenate([np.arange(0, 1440, 60), np.arange(*NEAR_MINUTES, 15) % 1440]))
    seconds_ago = (1 + np.arange(FIT_DAYS))[:, None] * DAY_SECONDS - minutes_of_day[None, :] * 60
    steps_ago = np.unique(np.round(seconds_ago.ravel() / windows.step_seconds).astype(int))
    origins = windows.length - steps_ago[steps_ago > 0]
    earlier: Array = origins[origins > 0]
    return earlier


def _weights_of(windows: Windows, origins: Array, step_seconds: int) -> tuple[Array, Array]:
    """Return how much each earlier origin counts for the weights, and for the residuals: near this time of day more."""
    ago = (windows.length - origins) * step_seconds
    apart = np.abs((ago + USED_FOR_SECONDS / 2 + DAY_SECONDS / 2) % DAY_SECONDS - DAY_SECONDS / 2)
    recent = 0.5 ** (ago / (RECENT_DAYS * DAY_SECONDS))
    for_weights = recent * (0.2 + np.exp(-0.5 * (apart / 7200) ** 2))
    for_residuals = recent * (0.05 + np.exp(-0.5 * (apart / 3600) ** 2))
    return for_weights, for_residuals


def _ridge(inputs: Array, target: Array, weight: Array) -> Array:
    """Weighted least squares per horizon, shrunk towards a mean of the corrected copies."""
    count = inputs.shape[-1]
    prior = np.zeros(count)
    prior[[1, 3, 5]], prior[[7, 9, 11]] = 1 / 3, -1 / 3
    weighted = inputs * weight[..., None]
    gram = np.einsum("ohf,ohg->hfg", weighted, inputs, optimize=True)
    moment = np.einsum("ohf,oh->hf", weighted, target, optimize=True)
    total = weight.sum(axis=0)
    scale = np.einsum("hff->hf", gram) / np.maximum(total, 1e-12)[:, None] + 1e-4
    penalty = PRIOR_SAMPLES * scale
    gram = gram + penalty[:, :, None] * np.eye(count)
    return np.linalg.solve(gram, (moment + penalty * prior)[..., None])[..., 0]


def _effective(weight: Array) -> Array:
    """Return per node how many equal samples the weighted ones are worth (Kish)."""
    effective: Array = weight.sum(axis=0) ** 2 / np.maximum((weight**2).sum(axis=0), 1e-12)
    return effective


def _sorted_residuals(residual: Array, weight: Array) -> tuple[Array, Array]:
    order = np.argsort(residual, axis=0)
    ordered = np.take_along_axis(weight, order, axis=0)
    cumulative = np.cumsum(ordered, axis=0) / np.maximum(ordered.sum(axis=0), 1e-12)
    return np.take_along_axis(residual, order, axis=0), cumulative


def _residual_quantiles(model: Fit, quantiles: Array) -> Array:
    """Return (nodes, quantiles) of the residuals, leaning on a belief where few are known."""
    found = np.zeros((len(model.nodes), len(quantiles)))
    believed = np.array([NormalDist(0.0, PRIOR_LOG_DEVIATION).inv_cdf(q) for q in quantiles])
    for node in range(len(model.nodes)):
        samples = model.samples[node]
        if samples > 0:
            # conformal: with n residuals known, the next one is the k-th highest with probability 1 / (n + 1)
            level = np.clip(0.5 + (quantiles - 0.5) * (1 + 1 / samples), 0.0, 1.0)
            at = np.searchsorted(model.cumulative[:, node], level - 1e-9)
            found[node] = model.residuals[np.minimum(at, len(model.residuals) - 1), node]
    share = (model.samples / (model.samples + PRIOR_RESIDUALS))[:, None]
    blended: Array = share * found + (1 - share) * believed
    return blended


def _between(by_node: Array, position: Array) -> Array:
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(by_node) - 1)
    share = (position - low)[:, None]
    interpolated: Array = by_node[low] * (1 - share) + by_node[high] * share
    return interpolated
