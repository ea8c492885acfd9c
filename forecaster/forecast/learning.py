"""How far the copies of other days are to be believed, and how wrong that was: learnt from earlier origins.

Per horizon, weighted least squares on what `seasonal` saw from earlier origins of the same history, mostly from those
at the same time of day: ramps that recur are learnt where they recur. Quantiles are those of the residuals, with the
correction of conformal prediction, and upper ones lean on what the days like today reached.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.forecast import seasonal
from forecaster.forecast.calibration import Residuals, effective, quantiles_of, residuals_of
from forecaster.forecast.interface import Refusal
from forecaster.forecast.windows import DAY_SECONDS, Array, Windows

USED_FOR_SECONDS = 3600  # a fit serves the origins of the hour after it
NEAR_MINUTES = (-45, 120)  # around that hour, earlier origins are dense: a ramp's edge is a matter of minutes
FIT_DAYS = 28  # earlier origins that weights and residuals are learnt from
COARSE_SECONDS, COARSE_FIT_DAYS = 3600, 56  # steps so long are few: it takes more days to tell who is right
RECENT_DAYS = 10  # an earlier origin counts half as much after so long
NODE_MINUTES = (0, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 600, 720, 960, 1200, 1439)
OFFSET_SHARE = 0.02  # of the last day's mean, added before logarithms: a small count is no catastrophe
LEAST_OFFSET = 1e-9  # any offset keeps the logarithm finite
PRIOR_SAMPLES = 40.0  # how many samples the belief of a short history is worth
RECURRING_SHARE = 0.4  # how far an upper quantile goes towards what the days like today reached


@dataclass(frozen=True, slots=True)
class Lessons:
    """What earlier origins saw, and what came: inputs (origins, nodes, features) and actual, relative to level."""

    origins: Array
    nodes: Array  # horizons in steps
    inputs: Array
    level: Array
    actual: Array  # 0 where not known
    known: Array
    for_weights: Array  # how much each origin counts
    for_residuals: Array
    offset: float


@dataclass(frozen=True, slots=True)
class Fit:
    """What earlier origins taught. weights: (nodes, features)."""

    nodes: Array  # horizons in steps
    weights: Array
    residuals: Residuals
    offset: float
    highest: float  # no forecast goes above it


def fit_days(step_seconds: int) -> int:
    """Return how many days of earlier origins are learnt from at this step."""
    return COARSE_FIT_DAYS if step_seconds >= COARSE_SECONDS else FIT_DAYS


def lessons(windows: Windows, offset: float) -> Lessons:
    """Return what every earlier origin of the last `fit_days` saw, and what came."""
    nodes = np.unique([round(minutes * 60 / windows.step_seconds) for minutes in NODE_MINUTES])
    origins = _earlier_origins(windows)
    inputs, level = seasonal.features(windows, origins, nodes, offset)
    at = origins[:, None] + nodes[None, :]
    actual = windows.log_mean(at, at + 1, offset) - level[:, None]
    known = np.isfinite(actual) & (at < windows.length)
    weights = _weights_of(windows, origins, windows.step_seconds)
    return Lessons(origins, nodes, inputs, level, np.where(known, actual, 0.0), known, *weights, offset)


def fit(values: Array, taught: Lessons) -> Fit:
    """Learn from the lessons of `values` (NaN = gap), as of their end."""
    highest = 2.0 * float(np.nanmax(values, initial=0.0)) + taught.offset
    weight = taught.known * taught.for_weights[:, None]
    learnt = _ridge(taught.inputs, taught.actual, weight)
    residual = taught.actual - np.einsum("ohf,hf->oh", taught.inputs, learnt)
    residual *= 1 + 0.5 * taught.inputs.shape[-1] / np.maximum(effective(weight), 1.0)  # they were fitted to
    return Fit(
        taught.nodes,
        learnt,
        residuals_of(residual, taught.known * taught.for_residuals[:, None]),
        taught.offset,
        highest,
    )


def unseen(taught: Lessons, fold: Array) -> Array:
    """Return (origins, nodes) relative to level, each from the lessons of other folds (origins, nodes) only."""
    found = np.zeros(fold.shape)
    for which in np.unique(fold):
        learnt = _ridge(taught.inputs, taught.actual, (taught.known & (fold != which)) * taught.for_weights[:, None])
        found = np.where(fold == which, np.einsum("ohf,hf->oh", taught.inputs, learnt), found)
    return found


def centre(model: Fit, windows: Windows, horizons: Array) -> tuple[Array, float]:
    """Return (horizons) of log(demand + offset) from the end of `windows`, and the level's logarithm there."""
    inputs, level = seasonal.features(windows, np.array([windows.length]), horizons, model.offset)
    known = float(level[0]) if np.isfinite(level[0]) else _last_level(windows, model.offset)
    position = np.interp(horizons, model.nodes, np.arange(len(model.nodes)))
    middle: Array = known + (inputs[0] * between(model.weights, position)).sum(axis=-1)
    return middle, known


def predict(model: Fit, windows: Windows, horizons: Array, quantiles: Array) -> Array | Refusal:
    """Return (horizons, quantiles): demand for the steps `horizons` (0 = the first) after the end of `windows`."""
    spread = quantiles_of(model.residuals, quantiles)
    if isinstance(spread, Refusal):
        return spread
    position = np.interp(horizons, model.nodes, np.arange(len(model.nodes)))
    log_demand = centre(model, windows, horizons)[0][:, None] + between(spread, position)
    return finished(model, _raised(model, windows, horizons, quantiles, log_demand))


def finished(model: Fit, log_demand: Array) -> Array:
    """Return demand from logarithms (horizons, quantiles): clipped, in order."""
    answer = np.exp(np.minimum(log_demand, np.log(model.highest + model.offset))) - model.offset
    return np.sort(np.maximum(answer, 0.0), axis=1)


def _raised(model: Fit, windows: Windows, horizons: Array, quantiles: Array, log_demand: Array) -> Array:
    """Return upper quantiles raised towards what the days like today reached."""
    missing = np.maximum(seasonal.recurring(windows, horizons, quantiles, model.offset) - log_demand, 0.0)
    share = RECURRING_SHARE * np.minimum(1.0, (horizons + 1) * windows.step_seconds / seasonal.LEVEL_SECONDS)
    raised: Array = log_demand + share[:, None] * missing * (quantiles > 0.5)  # only upper quantiles are raised
    return raised


def offset_of(windows: Windows) -> float:
    """Return what is added to demand before logarithms: a share of the mean of the last day that had any."""
    day = windows.steps(DAY_SECONDS)
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
    days_ago = 1 + np.arange(fit_days(windows.step_seconds))
    seconds_ago = days_ago[:, None] * DAY_SECONDS - minutes_of_day[None, :] * 60
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


def between(by_node: Array, position: Array) -> Array:
    """Return rows of (nodes, ...) interpolated at fractional positions."""
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(by_node) - 1)
    share = (position - low)[:, None]
    interpolated: Array = by_node[low] * (1 - share) + by_node[high] * share
    return interpolated
