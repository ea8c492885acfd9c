"""Ways that daily demand may go from a day on: one central course, and around it what its own past errors were. Pure.

Six members, on days without odd ones: the last two or four weeks by weekday, times the damped growth of the last weeks,
with none or most of what the same days did a year ago; and the same days of last year, as they were or with all that
the level has done since. Their logarithms are averaged with the weights that would have erred least over the last year:
so a service's own past says how far last year is to be believed. Around the centre lie its whole error courses from
earlier days, so that a bad month stays bad from day to day, as first passages need it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecaster.forecast.trust import together
from forecaster.outlook.odd_days import without_odd_days

Array = npt.NDArray[np.float64]
WEEK, YEAR = 7, 364  # a year of whole weeks: weekdays meet weekdays
LEVEL_DAYS = 4 * WEEK
PROFILE_DAYS = (2 * WEEK, 4 * WEEK)
YEAR_BELIEFS = (0.0, 0.6)  # of last year's movement
SINCE_BELIEFS = (0.0, 1.0)  # of what the level has done since, in the members that repeat last year's days
WEIGHT_POWER = 4.0  # of the inverse of a member's mean error, for how good it is alone
ALONE_COURSES = 5.0  # how many courses that is worth beside how good they are together
AROUND = 10  # days on either side of a day a year ago
LOOKED_AT = YEAR + LEVEL_DAYS + 8 * WEEK  # days that a member rests on, and those that tell which of them are odd
GROWTH_WEEKS, DAMPING = 12, 0.85  # of the weekly growth, per week ahead
GROWTH_BELIEF = 0.5
LARGEST_MOVE = float(np.log(3.0))
LEAST_DAYS = 2 * WEEK
LEAST_COURSES, MOST_COURSES = 12, 52
EVERY = 7  # days between the origins of error courses
SYNTHETIC, SEED = 200, 1


@dataclass(frozen=True, slots=True)
class Paths:
    """centre: by day ahead. courses: (courses, days ahead), demand. measured: from own past errors, else supposed."""

    centre: Array
    courses: Array
    measured: int


def paths_of(values: Array, days: int) -> Paths | None:
    """Return the ways from the end of `values` over `days`; None with less than two weeks or nothing known lately.

    With fewer than twelve error courses of that length the members count alike and the spread is supposed: a random
    walk with the steps seen so far (seeded: the same history gives the same answer).
    """
    end = len(values)
    if end < LEAST_DAYS or not np.nansum(values[-LEVEL_DAYS:]) > 0:
        return None
    members = members_of(values, end, days)
    origins = range(end - days, LEAST_DAYS + LEVEL_DAYS - 1, -EVERY)
    found = [error for at in origins if (error := _errors(values, at, days)) is not None][:MOST_COURSES]
    if len(found) < LEAST_COURSES:
        centre = np.exp(members.mean(axis=0))
        return Paths(centre, centre * np.exp(_supposed(values, days)), 0)
    errors = np.stack(found)  # (courses, members, days)
    weights = _weights(errors)
    centre = np.exp((weights * members).sum(axis=0))
    courses = (weights * errors).sum(axis=1)  # of the centre: the logarithms are averaged
    return Paths(centre, centre * np.exp(courses * (1 + 1 / len(found))), len(found))


def _weights(errors: Array) -> Array:
    """Return (members, 1) from (courses, members, days): by inverse mean error, then by the error of the mix."""
    alone = np.maximum(np.abs(errors).mean(axis=(0, 2)), 1e-9) ** -WEIGHT_POWER
    samples = errors.transpose(0, 2, 1).reshape(-1, errors.shape[1])
    even = np.full(len(samples), 1 / len(samples))
    found: Array = together(samples, even, alone / alone.sum(), ALONE_COURSES * errors.shape[2])[:, None]
    return found


def members_of(values: Array, end: int, days: int) -> Array:
    """Return (members, days): the logarithms of each member's course from day `end` on, of values[:end].

    A weekday that is not known lately takes the mean of the last four weeks, which must hold something above 0.
    """
    ahead = np.arange(days)
    values = without_odd_days(values[max(0, end - LOOKED_AT) : end])
    end = len(values)
    level = _mean(values[max(0, end - LEVEL_DAYS) : end])
    year, growth = _last_year(values, end, ahead), _growth(values, end, ahead)
    found = []
    for profile_days in PROFILE_DAYS:
        recent = values[max(0, end - profile_days) : end]
        by_weekday = np.array([_mean(recent[(len(recent) + day) % WEEK :: WEEK]) for day in range(WEEK)])
        profile = np.where(np.isfinite(by_weekday) & (by_weekday > 0), by_weekday, level)[ahead % WEEK]
        moves = [np.clip(belief * year + growth, -LARGEST_MOVE, LARGEST_MOVE) for belief in YEAR_BELIEFS]
        found += [np.log(profile) + move for move in moves]
    then = _days_of_last_year(values, end, ahead)
    before = _mean(values[max(0, end - YEAR - LEVEL_DAYS) : max(0, end - YEAR)])
    since = float(np.log(level / before)) if before > 0 else 0.0
    known = np.isfinite(then) & (then > 0) & (before > 0)
    logs = np.log(np.where(known, then, 1.0))
    found += [np.where(known, logs + belief * since, found[-1]) for belief in SINCE_BELIEFS]
    return np.stack(found)


def _errors(values: Array, at: int, days: int) -> Array | None:
    """Return (members, days): logarithms of truth over course from an earlier day; gaps take their course's mean."""
    if not np.nansum(values[max(0, at - LEVEL_DAYS) : at]) > 0:
        return None
    with np.errstate(divide="ignore"):
        truth = np.log(values[at : at + days])
    known = np.isfinite(truth)
    if known.sum() < days / 2:
        return None
    error = np.clip(truth - members_of(values, at, days), -2 * LARGEST_MOVE, 2 * LARGEST_MOVE)
    found: Array = np.where(known, error, error[:, known].mean(axis=1, keepdims=True))
    return found


def _supposed(values: Array, days: int) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log(values[WEEK:] / values[:-WEEK])
    steps = steps[np.isfinite(steps)]
    weekly = max(float(np.sqrt(np.mean(steps**2))) if len(steps) else 0.0, 0.05)
    draws = np.random.default_rng(SEED).normal(0, 1, (SYNTHETIC, days))
    walk: Array = weekly * (np.cumsum(draws, axis=1) / np.sqrt(WEEK) + draws / 2)
    return walk


def _last_year(values: Array, end: int, ahead: npt.NDArray[np.int64]) -> Array:
    """Return by day ahead the logarithm of the same days a year ago over the four weeks before them; 0: unknown."""
    before = end - YEAR
    level = _mean(values[max(0, before - LEVEL_DAYS) : max(0, before)])
    if before < LEVEL_DAYS or not level > 0:
        return np.zeros(len(ahead))
    middles = before + ahead % YEAR
    then = np.array([_mean(values[max(0, at - AROUND) : min(end, at + AROUND + 1)]) for at in middles])
    found: Array = np.where(np.isfinite(then) & (then > 0), np.log(np.maximum(then, 1e-12) / level), 0.0)
    return found


def _days_of_last_year(values: Array, end: int, ahead: npt.NDArray[np.int64]) -> Array:
    """Return by day ahead the mean of that weekday a year ago and in the weeks before and after; NaN: unknown."""
    days = (end - YEAR + ahead % YEAR)[:, None] + np.array([-WEEK, 0, WEEK])
    then = np.where((days >= 0) & (days < end), values[np.clip(days, 0, end - 1)], np.nan)
    count = np.isfinite(then).sum(axis=1)
    found: Array = np.where(count > 0, np.nansum(then, axis=1) / np.maximum(count, 1), np.nan)
    return found


def _growth(values: Array, end: int, ahead: npt.NDArray[np.int64]) -> Array:
    """Return the damped growth: the median weekly step between weekly means, believed by half, ever less of it."""
    weeks = min(GROWTH_WEEKS, end // WEEK)
    levels = np.array([_mean(values[end - (week + 1) * WEEK : end - week * WEEK]) for week in range(weeks)])[::-1]
    logs = np.log(levels[np.isfinite(levels) & (levels > 0)])
    if len(logs) < 4:
        return np.zeros(len(ahead))
    # Theil and Sen's: the median of the slopes between all pairs of weeks.
    first, second = np.triu_indices(len(logs), 1)
    slope = float(np.median((logs[second] - logs[first]) / (second - first)))
    reach = (WEEK + ahead) / WEEK  # from the middle of the weeks before
    grown: Array = GROWTH_BELIEF * slope * (1 - DAMPING**reach) / (1 - DAMPING)
    return grown


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.sum() / len(known)) if len(known) else float("nan")
