"""Ours: the seasonal copies, the booster, the lines and the short lead, each trusted as far as it was right of late.

What each member says of earlier origins it has not learnt from gives, per horizon bucket, its weight (inverse error,
shrunk to a belief) and the residuals of their mean, from which `calibration` makes the quantiles. Two guards are here:
a bucket in which the plain seasonal profile was better is answered by the profile, and a drift of the errors is told.
With less than three days of history there is nothing to grow a booster on: the seasonal copies answer alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecaster.forecast import baselines, booster, guards, learning, linear, shortlead
from forecaster.forecast.booster import Booster
from forecaster.forecast.booster_inputs import inputs
from forecaster.forecast.calibration import Residuals, Scale, fit_scale, quantiles_of, residuals_of, scales
from forecaster.forecast.interface import Past, Refusal
from forecaster.forecast.linear import Linear
from forecaster.forecast.seasonal import DAY_SECONDS
from forecaster.forecast.windows import Array, Windows

NAME = "ensemble-2"
BUCKET_END_SECONDS = (900, 3600, 3 * 3600, 6 * 3600, 12 * 3600)  # and everything after
BELIEF = (0.2, 0.8, 1.1, 0.9, 0.3, 0.3)  # in the copies, the booster, the short lead, the lines; of those that answer
BELIEF_SHARE = 0.25
INVERSE_POWER = 6.0
LEAST_ERRORS = 20  # known in a bucket, before its weights follow them
SKILL_DAYS, SPREAD_DAYS = 7, 7  # an error counts half as much after so long, for trust and for the band
MEDIAN_SHARE = 0.5  # how far the median follows the median error, half of which is luck
RECURRING_SHARE = 0.05  # how far an upper quantile goes towards what the days like today reached
NEAR_SECONDS = 7200
SEASONAL, BOOSTED, SHORT, FIRST_LINE = range(4)
PROFILE = len(BELIEF)


@dataclass(frozen=True, slots=True)
class EnsembleFit:
    """weights: (buckets, members); the profile's is 1 where it replaces the others. notes: what to know of it."""

    seasonal: learning.Fit
    booster: Booster | None
    short: shortlead.ShortLead | None
    lines: Linear | None
    weights: Array
    residuals: Residuals
    scale: Scale | None
    notes: tuple[str, ...]

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles) of demand; see `interface.Fitted`."""
        windows = past.windows()
        if self.booster is None or self.short is None or self.lines is None or self.scale is None:
            return learning.predict(self.seasonal, windows, horizons, quantiles)
        spread = quantiles_of(self.residuals, quantiles)
        if isinstance(spread, Refusal):
            return spread
        copied, level = learning.centre(self.seasonal, windows, horizons)
        members = np.full((len(horizons), len(BELIEF) + 1), np.nan)
        members[:, SEASONAL] = copied
        near = horizons[horizons < self.booster.reach]
        rows, now = inputs(windows, past.start, np.array([windows.length]), near, self.booster.offset)
        members[: len(near), BOOSTED] = now[0] + booster.answers(self.booster, rows[0])
        members[: len(near), FIRST_LINE:PROFILE] = now[0] + self.lines.answers(rows[0])
        soon = shortlead.centre(self.short, windows, horizons, self.seasonal.offset)
        members[: len(soon), SHORT] = soon
        if self.weights[:, PROFILE].any():
            members[:, PROFILE] = _profile(past, np.array([len(past.values)]), horizons, self.seasonal.offset)[0]
        members[:, :PROFILE] = np.where(np.isfinite(members[:, :PROFILE]), members[:, :PROFILE], copied[:, None])
        middle = _mixed(members, self.weights[_bucket_of(horizons, past.step_seconds)])
        facts = _facts(members, middle, level, horizons * past.step_seconds)
        spread = spread * np.where(np.isclose(quantiles, 0.5), MEDIAN_SHARE, 1.0)
        position = np.interp(horizons, self.seasonal.nodes, np.arange(len(self.seasonal.nodes)))
        log_demand = middle[:, None] + learning.between(spread, position) * scales(self.scale, facts)[:, None]
        return learning.finished(self.seasonal, windows, horizons, quantiles, log_demand, recurring=RECURRING_SHARE)


@dataclass(frozen=True, slots=True)
class Trained:
    """What holds for half a day: the members that learn from the whole history."""

    booster: Booster
    short: shortlead.ShortLead
    lines: Linear


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The default model. See the module."""

    name: str = NAME

    def train(self, past: Past) -> Trained | None:
        """Grow the booster and learn the short lead: a second or two, good for half a day."""
        learnt_from = booster.rows_of(past)
        grown = booster.train(past, learnt_from)
        if learnt_from is None or grown is None:
            return None
        with booster.one_thread():
            short = shortlead.fit(grown, past.windows(), past.start)
            return Trained(grown, short, linear.fit(learnt_from[0], past.end))

    def fit(self, past: Past, trained: Trained | None) -> EnsembleFit:
        """Learn the seasonal weights, the trust and the residuals: a fraction of a second, hourly."""
        windows = past.windows()
        offset = trained.booster.offset if trained is not None else learning.offset_of(windows)
        taught = learning.lessons(windows, offset)
        seasonal = learning.fit(past.values, taught)
        if trained is None:
            return EnsembleFit(seasonal, None, None, None, np.zeros((0, 0)), seasonal.residuals, None, ())
        members = _unseen(trained, taught, windows, past)
        actual = np.where(taught.known, taught.actual + taught.level[:, None], np.nan)
        weights, notes = _trust(np.abs(members - actual[..., None]), taught, past)
        middle = _mixed(members, weights[_bucket_of(taught.nodes, past.step_seconds)][None])
        known = taught.known & np.isfinite(middle)
        residual = np.where(known, actual - middle, 0.0)
        facts = _facts(members, middle, taught.level[:, None], taught.nodes * past.step_seconds)
        weight = known * _nearness(taught, past, SPREAD_DAYS)[:, None]
        if not known.any():
            return EnsembleFit(seasonal, None, None, None, weights, seasonal.residuals, None, ())
        scale = fit_scale(facts[known], residual[known], weight[known])
        standard = np.where(known, residual / np.where(known, scales(scale, np.nan_to_num(facts)), 1.0), 0.0)
        drift = guards.drift_of(residual, known, (windows.length - taught.origins) * past.step_seconds)
        told = (*notes, *drift)
        spread = residuals_of(standard, weight)
        seasonal = replace(seasonal, residuals=spread)  # its own are not needed any more, and large
        return EnsembleFit(seasonal, trained.booster, trained.short, trained.lines, weights, spread, scale, told)


def _unseen(trained: Trained, taught: learning.Lessons, windows: Windows, past: Past) -> Array:
    """Return (origins, nodes, members) of log demand, each from what its member had not learnt from."""
    grown, short, span = trained.booster, trained.short, (taught.origins, taught.nodes)
    at = taught.origins[:, None] + taught.nodes[None, :]
    fold = grown.fold_of(past.start + at * past.step_seconds)
    lines = linear.unseen(trained.lines, windows, past.start, *span, taught.offset)
    return np.stack(
        [
            taught.level[:, None] + learning.unseen(taught, fold),
            booster.unseen(grown, windows, past.start, *span),
            shortlead.unseen(short, grown, windows, past.start, *span),
            *np.moveaxis(lines, -1, 0),
            _profile(past, *span, taught.offset),
        ],
        axis=-1,
    )


def _profile(past: Past, origins: Array, horizons: Array, offset: float) -> Array:
    whole = baselines.filled(past.values, past.step_seconds)
    answer: Array = np.log(np.maximum(baselines.profile(whole, origins, horizons, past.step_seconds), 0.0) + offset)
    return answer


def _bucket_of(horizons: Array, step_seconds: int) -> Array:
    bucket: Array = np.asarray(np.searchsorted(np.array(BUCKET_END_SECONDS) / step_seconds, horizons, side="right"))
    return bucket


def _nearness(taught: learning.Lessons, past: Past, days: float) -> Array:
    """Return how much each earlier origin counts: more when it is recent, and when it was at this time of day."""
    ago = (len(past.values) - taught.origins) * past.step_seconds
    apart = np.abs((ago + DAY_SECONDS / 2) % DAY_SECONDS - DAY_SECONDS / 2)
    near: Array = 0.5 ** (ago / (days * DAY_SECONDS)) * (0.2 + np.exp(-0.5 * (apart / NEAR_SECONDS) ** 2))
    return near


def _trust(error: Array, taught: learning.Lessons, past: Past) -> tuple[Array, tuple[str, ...]]:
    """Return (buckets, members) weights from absolute errors (origins, nodes, members), and what was replaced."""
    recent = _nearness(taught, past, SKILL_DAYS)
    bucket = _bucket_of(taught.nodes, past.step_seconds)
    weights = np.zeros((len(BUCKET_END_SECONDS) + 1, len(BELIEF) + 1))
    replaced: list[int] = []
    for which in range(len(weights)):
        ours = [SEASONAL, BOOSTED, *([SHORT] if which < 2 else []), *range(FIRST_LINE, PROFILE)]
        belief = np.array([BELIEF[member] for member in ours])
        weights[which, ours] = belief / belief.sum()
        of_bucket = error[:, np.flatnonzero(np.equal(bucket, which))][..., [*ours, PROFILE]]
        known: Array = np.asarray(np.isfinite(of_bucket).all(axis=-1))
        if known.sum() <= LEAST_ERRORS:
            continue
        weight = known * recent[:, None]
        loss = (np.where(known[..., None], of_bucket, 0.0) * weight[..., None]).sum(axis=(0, 1)) / weight.sum()
        mine = np.maximum(loss[:-1], 1e-9)
        inverse = belief * (mine / mine.min()) ** -INVERSE_POWER
        weights[which, ours] = BELIEF_SHARE * belief / belief.sum() + (1 - BELIEF_SHARE) * inverse / inverse.sum()
        if loss[-1] < (weights[which, ours] * mine).sum() * guards.GATE:
            weights[which] = np.eye(len(BELIEF) + 1)[PROFILE]
            replaced.append(which)
    ends = (*(f"{seconds / 3600:g} h" for seconds in BUCKET_END_SECONDS), "the end")
    return weights, tuple(f"the seasonal profile was better and answers up to {ends[which]}" for which in replaced)


def _mixed(members: Array, weights: Array) -> Array:
    known = np.isfinite(members) & (weights > 0)
    weight = np.where(known, weights, 0.0)
    total = weight.sum(axis=-1)
    mean = (np.where(known, members, 0.0) * weight).sum(axis=-1)
    mixed: Array = np.divide(mean, total, out=np.full_like(mean, np.nan), where=total > 0)
    return mixed


def _facts(members: Array, middle: Array, level: Array | float, seconds: Array) -> Array:
    """Return what an error's size may follow from: horizon, disagreement of the members, height, growth."""
    ahead = np.broadcast_to(np.log1p(seconds / 300.0), middle.shape)
    apart = np.log1p(20 * np.abs(members[..., SEASONAL] - members[..., BOOSTED]))
    return np.stack([np.ones_like(middle), ahead, apart, -middle, np.abs(middle - level)], axis=-1)
