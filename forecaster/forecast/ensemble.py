"""Ours: copies, weeks by their height, booster, lines, short lead and steps, each trusted as far as it was right.

What each member says of earlier origins it has not learnt from gives its weight per horizon bucket (`trust`) and the
residuals of their mix, from which `calibration` makes the quantiles, with a width that follows `width`'s facts. Two
guards are here: a bucket in which the plain seasonal profile was better is answered by the profile, and a drift of the
errors is told. With less than three days of history there is nothing to grow a booster on: the copies answer alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecaster.forecast import baselines, booster, guards, learning, linear, shortlead, stepwise, trust, weekly
from forecaster.forecast.booster import Booster
from forecaster.forecast.calibration import Residuals, Scale, fit_scale, quantiles_of, residuals_of, scales
from forecaster.forecast.interface import Past, Refusal
from forecaster.forecast.line_inputs import inputs
from forecaster.forecast.linear import Linear
from forecaster.forecast.rows import rows_of
from forecaster.forecast.stepwise import Stepwise
from forecaster.forecast.width import facts_of, restlessness
from forecaster.forecast.windows import DAY_SECONDS, Array, Windows

NAME = "ensemble-7"
BUCKET_END_SECONDS = (900, 3600, 3 * 3600, 6 * 3600, 12 * 3600)  # and everything after
# In the copies, the booster, the short lead, the steps, the lines (quick to slow), the weeks (stiff to loose); 0: none.
BELIEF = (0.2, 2.4, 1.1, 4.0, 0.9, 0.3, 0.3, 0.0, 0.5, 0.5)
HOURLY_BELIEF = (0.2, 6.0, 1.1, 4.0, 0.3, 0.5, 0.8, 0.4, 0.4, 0.4)  # three days of hours are too few to learn lines
SKILL_DAYS, HOURLY_SKILL_DAYS, SPREAD_DAYS = 7, 28, 7  # an error counts half as much after so long: for trust, the band
LINE_ROWS = 20_000
NEIGHBOURS = 2  # horizons on either side that lend their errors
MEDIAN_SHARE, NEAR_MEDIAN_SHARE = 0.75, 0.25  # how far the median follows the median error: up to an hour it is luck
NEAR_SECONDS = 7200  # apart in the time of day, that earlier origins still tell much of now
HOUR_SECONDS, NEAR_BUCKETS = 3600, 2
SEASONAL, BOOSTED, SHORT, STEPWISE, FIRST_LINE = range(5)
PROFILE = len(BELIEF)
FIRST_WEEK = PROFILE - weekly.MEMBERS
DISAGREEING = (SEASONAL, *range(FIRST_LINE, FIRST_WEEK))


@dataclass(frozen=True, slots=True)
class Trained:
    """What holds for half a day: the members that learn from the whole history."""

    booster: Booster
    short: shortlead.ShortLead
    steps: Stepwise
    lines: Linear


@dataclass(frozen=True, slots=True)
class CopiesFit:
    """The copies of other days alone: what a history answers by that is too short for the others."""

    seasonal: learning.Fit
    notes: tuple[str, ...] = ()

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles) of demand; see `interface.Fitted`."""
        return learning.predict(self.seasonal, past.windows(), horizons, quantiles)


@dataclass(frozen=True, slots=True)
class EnsembleFit:
    """weights: (buckets, members); the profile's is 1 where it replaces the others. notes: what to know of it."""

    seasonal: learning.Fit
    trained: Trained
    weights: Array
    residuals: Residuals
    scale: Scale
    notes: tuple[str, ...]

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles) of demand; see `interface.Fitted`."""
        spread = quantiles_of(self.residuals, quantiles)
        if isinstance(spread, Refusal):
            return spread
        windows, at = past.windows(), np.array([len(past.values)])
        weeks = weekly.seen(windows, at, horizons, self.seasonal.offset)
        members, level = self._members(past, windows, horizons, weeks)
        said = members[:, DISAGREEING]
        members[:, :PROFILE] = np.where(np.isfinite(members[:, :PROFILE]), members[:, :PROFILE], members[:, [SEASONAL]])
        middle = _mixed(members, self.weights[_bucket_of(horizons, past.step_seconds)])
        facts = facts_of(
            said[None],
            middle[None],
            np.array([level]),
            horizons * past.step_seconds,
            apart=weeks.apart,
            restless=restlessness(past.values, past.step_seconds, at, self.seasonal.offset),
        )[0]
        soon = self.seasonal.nodes * past.step_seconds < HOUR_SECONDS
        followed = np.where(soon, NEAR_MEDIAN_SHARE, MEDIAN_SHARE)[:, None]
        spread = spread * np.where(np.isclose(quantiles, 0.5), followed, 1.0)
        position = np.interp(horizons, self.seasonal.nodes, np.arange(len(self.seasonal.nodes)))
        log_demand = middle[:, None] + learning.between(spread, position) * scales(self.scale, facts)[:, None]
        return learning.finished(self.seasonal, log_demand)

    def _members(self, past: Past, windows: Windows, horizons: Array, weeks: weekly.Weeks) -> tuple[Array, float]:
        """Return (horizons, members) of log demand, NaN: does not answer; and the level's logarithm now."""
        at, offset = np.array([windows.length]), self.seasonal.offset
        members = np.full((len(horizons), len(BELIEF) + 1), np.nan)
        members[:, SEASONAL], level = learning.centre(self.seasonal, windows, horizons)
        reached, soon = horizons < self.trained.booster.reach, horizons < self.trained.short.reach
        rows, now = inputs(windows, past.start, at, horizons[reached], offset)
        members[reached, FIRST_LINE:FIRST_WEEK] = now[0] + self.trained.lines.answers(rows[0])
        members[:, FIRST_WEEK:PROFILE] = weeks.heights[0]
        heard = self.weights[_bucket_of(horizons, past.step_seconds)] > 0  # these take long: not where nobody listens
        if (far := reached & heard[:, BOOSTED]).any():
            members[far, BOOSTED] = booster.centre(self.trained.booster, windows, past.start, horizons[far])
        if (heard[:, SHORT] & soon).any():
            members[soon, SHORT] = shortlead.centre(self.trained.short, windows, horizons[soon], offset)
        if (heard[:, STEPWISE] & soon).any():
            members[soon, STEPWISE] = stepwise.centre(self.trained.steps, past, horizons[soon])
        if heard[:, PROFILE].any():
            members[:, PROFILE] = _profile(past, at, horizons, offset)[0]
        return members, level


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The default model. See the module."""

    name: str = NAME

    def train(self, past: Past) -> Trained | None:
        """Grow the forests and learn the short lead and the lines: a second or two, good for half a day."""
        grown = booster.train(past)
        if grown is None:
            return None
        with booster.one_thread():
            short = shortlead.fit(grown, past.windows(), past.start)
            rows = rows_of(past, grown.offset, inputs, most=LINE_ROWS)
            lines = linear.fit(rows, past.end, learning.fit_days(past.step_seconds))
            return Trained(grown, short, stepwise.fit(grown, past), lines)

    def fit(self, past: Past, trained: Trained | None) -> EnsembleFit | CopiesFit:
        """Learn the seasonal weights, the trust and the residuals: a fraction of a second, hourly."""
        windows = past.windows()
        offset = trained.booster.offset if trained is not None else learning.offset_of(windows)
        taught = learning.lessons(windows, offset)
        seasonal = learning.fit(past.values, taught)
        if trained is None:
            return CopiesFit(seasonal)
        weeks = weekly.seen(windows, taught.origins, taught.nodes, offset)
        members = _unseen(trained, taught, windows, past, weeks)
        actual = np.where(taught.known, taught.actual + taught.level[:, None], np.nan)
        weights, notes = _trust(members - actual[..., None], taught, past)
        middle = _mixed(members, weights[_bucket_of(taught.nodes, past.step_seconds)][None])
        known = taught.known & np.isfinite(middle)
        residual = np.where(known, actual - middle, 0.0)
        facts = facts_of(
            members[..., DISAGREEING],
            middle,
            taught.level,
            taught.nodes * past.step_seconds,
            apart=weeks.apart,
            restless=restlessness(past.values, past.step_seconds, taught.origins, offset),
        )
        weight = known * _nearness(taught, past, SPREAD_DAYS)[:, None]
        if not known.any():
            return CopiesFit(seasonal)
        scale = fit_scale(facts[known], residual[known], weight[known])
        standard = np.where(known, residual / np.where(known, scales(scale, np.nan_to_num(facts)), 1.0), 0.0)
        drift = guards.drift_of(residual, known, (windows.length - taught.origins) * past.step_seconds)
        told = (*notes, *drift)
        spread = residuals_of(standard, weight, neighbours=NEIGHBOURS)
        seasonal = replace(seasonal, residuals=spread)  # its own are not needed any more, and large
        return EnsembleFit(seasonal, trained, weights, spread, scale, told)


def _unseen(trained: Trained, taught: learning.Lessons, windows: Windows, past: Past, weeks: weekly.Weeks) -> Array:
    """Return (origins, nodes, members) of log demand, each from what its member had not learnt from."""
    grown, span = trained.booster, (taught.origins, taught.nodes)
    instants = past.start + taught.origins * past.step_seconds
    fold = grown.fold_of(instants[:, None] + taught.nodes[None, :] * past.step_seconds)
    rows, level = inputs(windows, past.start, *span, taught.offset)
    copied = taught.level[:, None] + learning.unseen(taught, fold)
    lines = level[:, None, None] + linear.unseen(trained.lines, rows, instants)
    return np.stack(
        [
            copied,
            booster.unseen(grown, windows, past.start, *span),
            shortlead.unseen(trained.short, windows, fold, *span, taught.offset),
            stepwise.unseen(trained.steps, past, fold, *span),
            *np.moveaxis(lines, -1, 0),
            *np.moveaxis(np.where(np.isfinite(weeks.heights), weeks.heights, copied[..., None]), -1, 0),
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


def _trust(errors: Array, taught: learning.Lessons, past: Past) -> tuple[Array, tuple[str, ...]]:
    """Return (buckets, members) weights from errors (origins, nodes, members), and what was replaced."""
    hourly = past.step_seconds >= HOUR_SECONDS
    recent = _nearness(taught, past, HOURLY_SKILL_DAYS if hourly else SKILL_DAYS)[:, None]
    bucket = _bucket_of(taught.nodes, past.step_seconds)
    belief = np.array(HOURLY_BELIEF if hourly else BELIEF)
    weights = np.zeros((len(BUCKET_END_SECONDS) + 1, len(belief) + 1))
    replaced: list[int] = []
    for which in range(len(weights)):
        ours = [member for member in _answering(which, past.step_seconds) if belief[member] > 0]
        of_bucket = errors[:, np.flatnonzero(np.equal(bucket, which))][..., [*ours, PROFILE]]
        known: Array = np.asarray(np.isfinite(of_bucket).all(axis=-1))
        found = of_bucket[known]
        weight = np.broadcast_to(recent, known.shape)[known]
        weights[which, ours], outdone = trust.weights_of(found[:, :-1], weight, belief[ours], found[:, -1])
        if outdone:
            weights[which] = np.eye(len(belief) + 1)[PROFILE]
            replaced.append(which)
    ends = (*(f"{seconds / 3600:g} h" for seconds in BUCKET_END_SECONDS), "the end")
    return weights, tuple(f"the seasonal profile was better and answers up to {ends[which]}" for which in replaced)


def _answering(bucket: int, step_seconds: int) -> list[int]:
    """Return who answers in a bucket: up to an hour not the booster; the weeks where no finer step tells more."""
    soon = bucket < NEAR_BUCKETS
    weeks = range(FIRST_WEEK, PROFILE) if not soon or step_seconds >= HOUR_SECONDS else ()
    return [SEASONAL, *([SHORT, STEPWISE] if soon else [BOOSTED]), *range(FIRST_LINE, FIRST_WEEK), *weeks]


def _mixed(members: Array, weights: Array) -> Array:
    known = np.isfinite(members) & (weights > 0)
    weight = np.where(known, weights, 0.0)
    total = weight.sum(axis=-1)
    mean = (np.where(known, members, 0.0) * weight).sum(axis=-1)
    mixed: Array = np.divide(mean, total, out=np.full_like(mean, np.nan), where=total > 0)
    return mixed
