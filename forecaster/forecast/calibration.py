"""Quantiles that hold: what earlier forecasts missed by, per horizon, weighted, with conformal prediction's correction.

Pure arithmetic on residuals (logarithms of truth over forecast). `scales` says where errors are larger, so that a ramp
gets a wide band and a quiet night a narrow one. A quantile far out in the tail is refused where too few errors are
known to carry it. `adapted` moves a level by how often it has held of late (adaptive conformal inference, Gibbs and
Candès 2021); storing what held is left to whoever scores the forecasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from forecaster.forecast.interface import Refusal
from forecaster.forecast.windows import Array

PRIOR_LOG_DEVIATION = 0.25
PRIOR_RESIDUALS = 2.0
TAIL = 0.99  # levels above it (and below 1 - it) need as many errors as it takes to have seen one beyond them
POOLED_NODES = 2  # a tail is taken from so many nodes around
LENT = 0.7  # the weight of a neighbouring node's residuals; of the one behind it, its square
SCALE_RIDGE = 0.02
SCALE_POWER = 0.85  # how far a learnt scale is believed; 0 would be one width for all
SCALE_SEEN = (0.02, 0.98)  # no scale beyond these quantiles of those that were learnt from
LEAST_ERROR = 1e-3  # logarithms: smaller errors say nothing about scale
ADAPTED_BY = 0.02
LEAST_LEFT = 0.0005  # an adapted level stays so far inside (0, 1)


@dataclass(frozen=True, slots=True)
class Residuals:
    """Per node: residuals sorted, cumulative weights, how many equal ones they are worth, how many are known."""

    ordered: Array
    cumulative: Array
    samples: Array
    known: Array


@dataclass(frozen=True, slots=True)
class Scale:
    """The logarithm of an error's size as a line in what was known at the origin."""

    line: Array
    mean: Array
    deviation: Array
    lowest: float
    highest: float
    middle: float


def residuals_of(residual: Array, weight: Array, *, neighbours: int = 0) -> Residuals:
    """Sort residuals (samples, nodes), weighted; weight 0 where unknown.

    neighbours: so many nodes on either side lend theirs, at ever less weight; they make a node's quantiles steadier,
    but count for no more samples: what missed at one horizon missed at the next.
    """
    samples, known = effective(weight), (weight > 0).sum(axis=0)
    residual, weight = _lent(residual, weight, neighbours)
    order = np.argsort(residual, axis=0)
    ordered = np.take_along_axis(weight, order, axis=0)
    cumulative = np.cumsum(ordered, axis=0) / np.maximum(ordered.sum(axis=0), 1e-12)
    return Residuals(np.take_along_axis(residual, order, axis=0), cumulative, samples, known)


def _lent(residual: Array, weight: Array, neighbours: int) -> tuple[Array, Array]:
    """Return residuals and weights (samples, nodes) followed by those of the nodes around."""
    nodes = np.arange(residual.shape[1])
    moves = [move for near in range(1, neighbours + 1) for move in (-near, near)]
    lenders = [np.clip(nodes + move, 0, len(nodes) - 1) for move in moves]
    shares = [LENT ** abs(move) * (lender == nodes + move) for move, lender in zip(moves, lenders, strict=True)]
    lent = [weight[:, lender] * share for lender, share in zip(lenders, shares, strict=True)]
    return (
        np.concatenate([residual, *(residual[:, lender] for lender in lenders)]),
        np.concatenate([weight, *lent]),
    )


def effective(weight: Array) -> Array:
    """Return per node how many equal samples the weighted ones are worth (Kish)."""
    worth: Array = weight.sum(axis=0) ** 2 / np.maximum((weight**2).sum(axis=0), 1e-12)
    return worth


def quantiles_of(residuals: Residuals, levels: Array) -> Array | Refusal:
    """Return (nodes, levels), leaning on a belief where few residuals are known; a reason where a level is too far out.

    Conformal: with n residuals known, the next one is above the k-th highest with probability k / (n + 1).
    """
    far = np.maximum(levels, 1 - levels) > TAIL + 1e-9
    pooled = _pooled(residuals.known)
    if far.any():
        needed = 1 / np.minimum(levels, 1 - levels)[far].min()
        if pooled.min() < needed - 1e-6:
            worst = float(levels[far][np.argmax(np.abs(levels[far] - 0.5))])
            return Refusal(
                f"quantile {worst:g} needs {needed:.0f} earlier errors per horizon, the history holds {pooled.min()}"
            )
    found = np.zeros((len(residuals.samples), len(levels)))
    believed = np.array([NormalDist(0.0, PRIOR_LOG_DEVIATION).inv_cdf(level) for level in levels])
    for node, samples in enumerate(residuals.samples):
        if samples > 0:
            corrected = np.clip(0.5 + (levels - 0.5) * (1 + 1 / samples), 0.0, 1.0)
            at = np.searchsorted(residuals.cumulative[:, node], corrected - 1e-9)
            found[node] = residuals.ordered[np.minimum(at, len(residuals.ordered) - 1), node]
        if far.any():
            found[node, far] = _tail(residuals, node, levels[far], found[node])
    share = (residuals.samples / (residuals.samples + PRIOR_RESIDUALS))[:, None]
    blended: Array = share * found + (1 - share) * believed
    return blended


def _pooled(known: Array) -> Array:
    return np.array([known[max(0, n - POOLED_NODES) : n + POOLED_NODES + 1].sum() for n in range(len(known))])


def _tail(residuals: Residuals, node: int, levels: Array, nearer: Array) -> Array:
    """Return far quantiles of the errors of the nodes around, never inside the nearer ones."""
    around = slice(max(0, node - POOLED_NODES), node + POOLED_NODES + 1)
    weight = np.diff(residuals.cumulative[:, around], axis=0, prepend=0.0)
    values = residuals.ordered[:, around][weight > 0]
    found: Array = np.quantile(values, levels)
    outside: Array = np.where(levels > 0.5, np.maximum(found, nearer.max()), np.minimum(found, nearer.min()))
    return outside


def fit_scale(facts: Array, residual: Array, weight: Array) -> Scale:
    """Learn how the size of errors (samples) follows from facts (samples, k), by weighted least squares."""
    mean, deviation = facts.mean(axis=0), facts.std(axis=0) + 1e-6
    mean[0], deviation[0] = 0.0, 1.0  # the constant
    inputs = (facts - mean) / deviation
    penalty = SCALE_RIDGE * weight.sum() * np.eye(facts.shape[1]) + 1e-12 * np.eye(facts.shape[1])
    penalty[0, 0] = 1e-12
    size = np.log(np.maximum(np.abs(residual), LEAST_ERROR))
    weighted = inputs * weight[:, None]
    line = np.linalg.solve(weighted.T @ inputs + penalty, weighted.T @ size)
    fitted = np.exp(inputs @ line)
    lowest, highest = np.quantile(fitted, SCALE_SEEN)
    return Scale(line, mean, deviation, float(lowest), float(highest), float(np.median(fitted)))


def scales(scale: Scale, facts: Array) -> Array:
    """Return how large errors are expected to be, relative to the usual one, for facts (..., k)."""
    fitted = np.exp(np.minimum(((facts - scale.mean) / scale.deviation) @ scale.line, 50.0))
    relative: Array = (np.clip(fitted, scale.lowest, scale.highest) / scale.middle) ** SCALE_POWER
    return relative


def adapted(level: float, held: Sequence[float], *, gain: float = ADAPTED_BY) -> float:
    """Return the level to ask for so that `level` holds, after the shares in which forecasts at it held, oldest first.

    Each miss raises the level by gain x level, each hit lowers it by gain x (1 - level): in balance when the share of
    hits is the level asked for.
    """
    moved = level
    for hit in held:
        moved = min(max(moved + gain * (level - hit), LEAST_LEFT), 1 - LEAST_LEFT)
    return moved
