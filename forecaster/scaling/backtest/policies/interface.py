"""What a policy is told and what it answers: floors at every decision, for each of its settings.

A policy answers for all decisions of a window at once, which is only a saving: row k may rest on the first `seen[k]`
values and on nothing else (a test changes the later ones and looks). Ours decides step by step, in `ours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
DAY_SECONDS, WEEK_SECONDS = 86_400, 604_800
LEARNT_DAYS = 14  # errors of so many days make a margin
RENEWED_SECONDS = 6 * 3600
LEAST_ERRORS = 100
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Game:
    """One window of one service, to be played by every policy.

    values: demand per step, NaN = gap, from before the window; highest: of each step, where demand is known more finely
    (the values else), for the oracle alone; start: epoch of the first step. seen: (decisions,) steps
    known at each decision; at: (decisions,) epoch of each. ahead_steps: steps from the first unseen one until the next
    decision's raise is ready. floor, ceiling: the operator's.
    """

    values: Array
    highest: Array
    start: int
    step_seconds: int
    seen: Array
    at: Array
    ahead_steps: int
    capacity_rps: float
    floor: int
    ceiling: int

    def replicas(self, rps: Array) -> Array:
        """Return how many replicas carry it, within the operator's bounds; the floor where it is unknown."""
        needed = np.ceil(np.nan_to_num(np.maximum(rps, 0.0)) / self.capacity_rps - _ROUNDING)
        found: Array = np.clip(needed, self.floor, self.ceiling).astype(np.int64)
        return found

    @property
    def filled(self) -> Array:
        """Return the values with each gap answered by the newest known one before it; 0 before the first."""
        known = np.where(np.isfinite(self.values), np.arange(len(self.values)), -1)
        newest = np.maximum.accumulate(known)
        found: Array = np.where(newest >= 0, self.values[np.maximum(newest, 0)], 0.0)
        return found

    def steps(self, seconds: float) -> int:
        """Return a span in whole steps, at least one."""
        return max(1, round(seconds / self.step_seconds))


class Policy(Protocol):
    """floors(game, settings) -> (decisions, settings) floors; each setting is a risk curve's point."""

    def __call__(self, game: Game, settings: Sequence[float]) -> Array:
        """Return whole replicas, floor <= answer <= ceiling."""


def highest_ahead(values: Array, first: Array, steps: int) -> Array:
    """Return the highest of values[i : i + steps] for each i in `first`; indices are cut to the array."""
    index = np.clip(first[:, None] + np.arange(steps)[None, :], 0, len(values) - 1)
    found: Array = values[index].max(axis=1)
    return found


def with_margin(game: Game, points: Array, settings: Sequence[float], *, ahead_steps: int) -> Array:
    """Return the floors for point forecasts that held with the probabilities asked for.

    points: for EVERY step i of the game, what the policy would say at it of the highest of the `ahead_steps` from i on
    (NaN where it says nothing), resting on values before i only. The margin is the quantile of truth / forecast over
    the last LEARNT_DAYS, renewed four times a day, of windows that had ended by then:
    what a careful operator would add.
    """
    filled = game.filled
    offset = 0.02 * max(float(np.mean(filled[: game.seen[0]])), _ROUNDING)  # ratios near zero demand mean nothing
    every = np.arange(len(filled) - ahead_steps + 1)
    truth = np.full(len(filled), np.nan)
    truth[every] = highest_ahead(filled, every, ahead_steps)
    ratio = (truth + offset) / (points + offset)
    day = game.steps(DAY_SECONDS)
    floors = np.zeros((len(game.seen), len(settings)), dtype=np.int64)
    turn = (game.seen - game.seen[0]) // game.steps(RENEWED_SECONDS)
    for which in np.unique(turn):
        rows = np.flatnonzero(turn == which)
        ended = int(game.seen[rows[0]]) - ahead_steps + 1
        known = ratio[max(0, ended - LEARNT_DAYS * day) : max(0, ended)]
        known = known[np.isfinite(known)]
        enough = len(known) >= LEAST_ERRORS
        factor = np.quantile(known, np.asarray(settings)) if enough else np.ones(len(settings))
        said = points[game.seen[rows]][:, None]
        floors[rows] = game.replicas((said + offset) * factor[None, :] - offset)
    return floors
