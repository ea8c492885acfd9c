"""How far the copies of other days are to be believed, and how wrong that was: learnt from earlier origins.

Per horizon, weighted least squares on what `seasonal` saw from earlier origins of the same history, mostly from those
at the same time of day: ramps that recur are learnt where they recur. Quantiles are those of the residuals, with the
correction of conformal prediction, and upper ones lean on what the days like today reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from forecaster.forecast import seasonal
from forecaster.forecast.windows import Array, Windows, windows_of

USED_FOR_SECONDS = 3600  # a fit serves the origins of the hour after it
NEAR_MINUTES = (-45, 120)  # around that hour, earlier origins are dense: a ramp's edge is a matter of minutes
FIT_DAYS = 28  # earlier origins that weights and residuals are learnt from
RECENT_DAYS = 10  # an earlier origin counts half as much after so long
NODE_MINUTES = (0, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 600, 720, 960, 1200, 1439)
OFFSET_SHARE = 0.02  # of the last day's mean, added before logarithms: a small count is no catastrophe
LEAST_OFFSET = 1e-9  # any offset keeps the logarithm finite
PRIOR_SAMPLES = 40.0  # how many samples the belief of a short history is worth
PRIOR_LOG_DEVIATION = 0.25
PRIOR_RESIDUALS = 2.0
RECURRING_SHARE = 0.4  # how far an upper quantile goes towards what the days like today reached


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


def fit(values: Array, step_seconds: int) -> Fit:
    """Learn from every earlier origin of the last FIT_DAYS in `values` (NaN = gap), as of their end."""
    windows = windows_of(values, step_seconds)
    offset = _offset(windows)
    nodes = np.unique([round(minutes * 60 / step_seconds) for minutes in NODE_MINUTES])
    origins = _earlier_origins(windows)
    highest = 2.0 * float(np.nanmax(values, initial=0.0)) + offset
    inputs, level = seasonal.features(windows, origins, nodes, offset)
    at = origins[:, None] + nodes[None, :]
    actual = windows.log_mean(at, at + 1, offset)
    target = actual - level[:, None]
    known = np.isfinite(target) & (at < windows.length)
    target = np.where(known, target, 0.0)
    weight = _weights_of(windows, origins, step_seconds)
    learnt = _ridge(inputs, target, known * weight[0][:, None])
    residual = target - np.einsum("ohf,hf->oh", inputs, learnt)
    residual *= 1 + 0.5 * inputs.shape[-1] / np.maximum(
        _effective(known * weight[0][:, None]), 1.0
    )  # they were fitted to
    sorted_residuals, cumulative = _sorted_residuals(residual, known * weight[1][:, None])
    samples = _effective(known * weight[1][:, None])
    return Fit(nodes, learnt, sorted_residuals, cumulative, samples, offset, highest)


def predict(model: Fit, values: Array, step_seconds: int, horizons: Array, quantiles: Array) -> Array:
    """Return (horizons, quantiles): demand for the steps `horizons` (0 = the first) after the end of `values`."""
    windows = windows_of(values, step_seconds)
    inputs, level = seasonal.features(windows, np.array([windows.length]), horizons, model.offset)
    if not np.isfinite(level[0]):
        level = np.array([_last_level(windows, model.offset)])
    position = np.interp(horizons, model.nodes, np.arange(len(model.nodes)))
    centre = level[0] + (inputs[0] * _between(model.weights, position)).sum(axis=-1)
    spread = _between(_residual_quantiles(model, quantiles), position)
    log_demand = centre[:, None] + spread
    missing = np.maximum(seasonal.recurring(windows, horizons, quantiles, model.offset) - log_demand, 0.0)
    share = RECURRING_SHARE * np.minimum(1.0, (horizons + 1) * step_seconds / seasonal.LEVEL_SECONDS)
    log_demand += share[:, None] * missing * (quantiles > 0.5)  # only upper quantiles are raised
    answer = np.exp(np.minimum(log_demand, np.log(model.highest + model.offset))) - model.offset
    return np.sort(np.maximum(answer, 0.0), axis=1)


def _offset(windows: Windows) -> float:
    day = windows.steps(seasonal.DAY_SECONDS)
    for length in (day, windows.length):
        start = max(0, windows.length - length)
        count = windows.counts[-1] - windows.counts[start]
        if count > 0 and windows.sums[-1] > windows.sums[start]:
            return max(LEAST_OFFSET, float(OFFSET_SHARE * (windows.sums[-1] - windows.sums[start]) / count))
    return LEAST_OFFSET  # nothing but zeros


def _last_level(windows: Windows, offset: float) -> float:
    """Return the level before a long gap: that of the last known row, or of nothing at all."""
    known = np.flatnonzero(np.diff(windows.counts) > 0)
    if len(known) == 0:
        return float(np.log(offset))
    at = np.array([known[-1]])
    return float(windows.log_mean(at, at + 1, offset)[0])


def _earlier_origins(windows: Windows) -> Array:
    """Return the origins to learn from: every hour, and every quarter of an hour around this time of day."""
    minutes_of_day = np.unique(np.concatenate([np.arange(0, 1440, 120), np.arange(*NEAR_MINUTES, 15) % 1440]))
    seconds_ago = (1 + np.arange(FIT_DAYS))[:, None] * seasonal.DAY_SECONDS - minutes_of_day[None, :] * 60
    steps_ago = np.unique(np.round(seconds_ago.ravel() / windows.step_seconds).astype(int))
    origins = windows.length - steps_ago[steps_ago > 0]
    earlier: Array = origins[origins > 0]
    return earlier


def _weights_of(windows: Windows, origins: Array, step_seconds: int) -> tuple[Array, Array]:
    """Return how much each earlier origin counts for the weights, and for the residuals: near this time of day more."""
    ago = (windows.length - origins) * step_seconds
    apart = np.abs(
        (ago + USED_FOR_SECONDS / 2 + seasonal.DAY_SECONDS / 2) % seasonal.DAY_SECONDS - seasonal.DAY_SECONDS / 2
    )
    recent = 0.5 ** (ago / (RECENT_DAYS * seasonal.DAY_SECONDS))
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
