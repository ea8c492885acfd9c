"""Policies that need no model: a fixed number, a timetable, the same time last week, and knowing the future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecaster.scaling.backtest.policies.interface import (
    DAY_SECONDS,
    WEEK_SECONDS,
    Array,
    Game,
    highest_ahead,
    with_margin,
)

TIMETABLE_SECONDS = 1800
TIMETABLE_WEEKS = 4
_MONDAY = 3 * DAY_SECONDS  # 1970-01-01 was a Thursday


def fixed_max(game: Game, settings: Sequence[float]) -> Array:
    """As many as carried this share of the time before the window, always; 1: its peak."""
    before = game.values[: game.seen[0]]
    rps = np.quantile(before[np.isfinite(before)], np.asarray(settings))
    return np.broadcast_to(game.replicas(rps), (len(game.seen), len(settings)))


def hpa_cron(game: Game, settings: Sequence[float]) -> Array:
    """A timetable by half hour, apart for workdays and weekends, that somebody renews each week from the last four.

    Each entry is the quantile of what came at that time; the floor is up as long ahead as every other policy's.
    """
    instants = game.start + game.step_seconds * np.arange(len(game.values))
    later = instants[-1] + game.step_seconds * np.arange(1, game.ahead_steps + 1)
    slots = _slot(np.concatenate([instants, later]))
    week = game.steps(WEEK_SECONDS)
    of_week = (game.seen - game.seen[0]) // week
    floors = np.zeros((len(game.seen), len(settings)), dtype=np.int64)
    for which in np.unique(of_week):
        rows = np.flatnonzero(of_week == which)
        table = _timetable(game, slots, int(game.seen[rows[0]]), settings)
        wanted = table[slots[game.seen[rows][:, None] + np.arange(game.ahead_steps)[None, :]]]
        floors[rows] = game.replicas(wanted.max(axis=1))
    return floors


def _slot(instants: Array) -> Array:
    day = (instants + _MONDAY) % WEEK_SECONDS // DAY_SECONDS
    found: Array = (instants % DAY_SECONDS) // TIMETABLE_SECONDS + (day >= 5) * (DAY_SECONDS // TIMETABLE_SECONDS)
    return found


def _timetable(game: Game, slots: Array, seen: int, settings: Sequence[float]) -> Array:
    first = max(0, seen - TIMETABLE_WEEKS * game.steps(WEEK_SECONDS))
    known = np.isfinite(game.values[first:seen])
    values, of = game.values[first:seen][known], slots[first:seen][known]
    found = np.tile(np.quantile(values, np.asarray(settings)), (2 * DAY_SECONDS // TIMETABLE_SECONDS, 1))
    for slot in np.unique(of):
        found[slot] = np.quantile(values[of == slot], np.asarray(settings))
    return found


def seasonal_naive(game: Game, settings: Sequence[float]) -> Array:
    """What came at the same time last week (the day before, while there is no week), with the margin that held."""
    filled, steps = game.filled, np.arange(len(game.values))
    points = np.full(len(filled), np.nan)
    for season in (game.steps(DAY_SECONDS), game.steps(WEEK_SECONDS)):
        usable = steps[season:]
        points[usable] = highest_ahead(filled, usable - season, game.ahead_steps)
    return with_margin(game, points, settings, ahead_steps=game.ahead_steps)


def oracle(game: Game, settings: Sequence[float]) -> Array:
    """What is going to be needed, known beforehand: no policy, but the bound of all.

    settings: the share of the time that may go without, which it takes where need is highest.
    """
    future = highest_ahead(np.nan_to_num(game.highest), game.seen, 2)  # this step, and the one of the next decision
    needed = game.replicas(future)
    highest = np.quantile(needed, 1 - np.asarray(settings), method="lower")
    floors: Array = np.minimum(needed[:, None], highest[None, :]).astype(np.int64)
    return floors
