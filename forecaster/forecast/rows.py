"""Rows to learn from: earlier origins of a series and horizons from them, short ones drawn as often as long ones.

What a row shows is the caller's (`line_inputs`, `deviations`); its target is the logarithm of demand beside what the
caller measures it from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from forecaster.forecast.interface import Past
from forecaster.forecast.windows import DAY_SECONDS, Array, Windows

ORIGIN_EVERY_SECONDS = 1200
GROUPS, PER_ORIGIN = 12, 8  # horizons drawn for an origin; origins of one group share them
SEED = 1
DECIMALS = 6  # so that a history and its multiple give the same rows, and with them the same trees

# (windows, start, origins, horizons, offset) -> (origins, horizons, inputs), and the logarithms that demand is measured
# from, by origin, or by origin and horizon.
Shown = Callable[[Windows, int, Array, Array, float], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Rows:
    """What is learnt from. inputs: (rows, inputs); target: relative; instants: the targets' epochs."""

    inputs: Array
    target: Array
    instants: Array


def rows_of(past: Past, offset: float, shown: Shown, *, most: int) -> Rows:
    """Return rows of `past`, at most about `most` of them, none with a target that is not known."""
    windows, step = past.windows(), past.step_seconds
    day = windows.steps(DAY_SECONDS)
    newest, oldest = windows.length - 1, max(1, min(day, windows.length // 4))
    origins = np.arange(newest, oldest, -max(1, ORIGIN_EVERY_SECONDS // step))
    if len(origins) * PER_ORIGIN > most:
        origins = origins[np.unique(np.linspace(0, len(origins) - 1, most // PER_ORIGIN).astype(int))]
    random = np.random.default_rng(SEED)
    parts = []
    for group in range(GROUPS):
        drawn = (np.arange(PER_ORIGIN) + random.random(PER_ORIGIN)) / PER_ORIGIN
        spaced = np.where(np.arange(PER_ORIGIN) % 2 == 0, np.exp(drawn * np.log(day + 1)) - 1, drawn * day)
        horizons = np.unique(np.clip(spaced.astype(int), 0, day - 1))
        chosen = origins[group::GROUPS]
        if len(chosen):
            rows, measured_from = shown(windows, past.start, chosen, horizons, offset)
            at = chosen[:, None] + horizons[None, :]
            target = windows.log_mean(at, at + 1, offset) - measured_from.reshape(len(chosen), -1)
            known = np.isfinite(target) & (at < windows.length)
            parts.append((rows[known], np.round(target[known], DECIMALS), (past.start + at * step)[known]))
    return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
