"""Straight lines through what `line_inputs` shows, each forgetting at its own pace: what follows a change of regime.

Ridge regression per horizon (lines at knots, between them in proportion), over all hours of the day at once. Three
paces are learnt; which of them is right is left to `ensemble`, from honest errors: for every one of the last days there
are lines as they stood at its beginning, so what is said of a past origin was learnt from nothing after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.forecast.learning import between
from forecaster.forecast.rows import Rows
from forecaster.forecast.windows import DAY_SECONDS, Array

HALF_LIVES = (3.0, 10.0, 40.0)  # days after which a row counts half as much
KNOTS = (0.0, 0.7, 1.4, 2.6, 3.6, 4.6, 5.7)  # of log(1 + horizon in 5 minutes)
RIDGE = 3.0  # rows that the belief `no change from the level` is worth, per knot
HARMONICS = 3  # of the day
LEAST_ROWS = 500  # before a day, for lines of then
LEAST_KNOWN = 0.5  # a column that is known in a smaller share of the rows teaches nothing
MOST_DEVIATIONS = 4.0
LEAST_MISS = 0.6  # of the usual one: a row that is missed by more counts for less, one by less for no more
USUAL_DAYS = 5.0  # that the usual miss is taken from
# What a change of level that began half a day ago does to each input after the time: last hours, copies (growth and
# height in turn), ratios to the usual, corrected copies. In a calm history growth and height of a copy say the same, so
# that nothing tells the lines which to follow when the level does change: they are told here, by so many made-up rows.
SHIFT = np.array(
    [*[0.0] * 7, -0.5, -1.0, *[0.0, -1.0] * 7, *[0.0] * 4, -1.0, *[1.0] * 3, 0.5, 0.5, -0.5, -0.5, 0.0, 0.0]
)
SHIFT_ROWS, SHIFT_LOG = 30.0, 0.5


@dataclass(frozen=True, slots=True)
class Linear:
    """lines: (days back, half lives, knots, columns); [0] are today's. until: epoch, what today's were learnt up to."""

    lines: Array
    knots: Array
    mean: Array
    deviation: Array
    used: Array  # 1 or 0 by column
    until: int

    def answers(self, rows: Array, days_back: int = 0) -> Array:
        """Return (rows, half lives) relative to the level, by the lines of so many days back."""
        columns, lines = self._columns(rows), self.lines[days_back]
        position = np.interp(rows[:, 0], self.knots, np.arange(len(self.knots)))
        # Row by row: a product of matrices would round a row differently beside more of them.
        return np.stack([(between(of_pace, position) * columns).sum(axis=-1) for of_pace in lines], axis=-1)

    def _columns(self, rows: Array) -> Array:
        return _standard(_columns_of(rows), self.mean, self.deviation, self.used)


def fit(rows: Rows, until: int, past_days: int) -> Linear:
    """Learn today's lines and those of each of the last `past_days`. until: epoch, after every target of `rows`."""
    columns = _columns_of(rows.inputs)
    known = np.isfinite(rows.inputs[:, 3:]).mean(axis=0) >= LEAST_KNOWN
    deviation = columns.std(axis=0)
    used = np.append(known, np.ones(columns.shape[1] - len(known), dtype=bool)) & (deviation > 1e-9)
    used[len(known)] = True  # the constant
    mean, deviation = np.where(used, columns.mean(axis=0), 0.0), np.where(used, deviation + 1e-6, 1.0)
    mean[len(known)], deviation[len(known)] = 0.0, 1.0
    columns = _standard(columns, mean, deviation, used)
    reached = np.array([knot for knot in KNOTS if knot <= rows.inputs[:, 0].max() + 0.5])
    hats = _hats(rows.inputs[:, 0], reached)
    days = (until - 1 - rows.instants) // DAY_SECONDS
    shift = np.append(SHIFT, np.zeros(columns.shape[1] - len(SHIFT))) / deviation * used
    penalty = RIDGE * np.eye(columns.shape[1]) + SHIFT_ROWS * SHIFT_LOG**2 * np.outer(shift, shift)
    lines = _day_by_day(columns, rows.target, hats, days, penalty, past_days)
    return Linear(lines, reached, mean, deviation, used, until)


def _day_by_day(columns: Array, target: Array, hats: Array, days: Array, penalty: Array, past_days: int) -> Array:
    """Return (days back, half lives, knots, columns). days: how long ago each row was."""
    knots, width = hats.shape[1], columns.shape[1]
    lines = np.full((past_days + 1, len(HALF_LIVES), knots, width), np.nan)
    grams = np.zeros((len(HALF_LIVES), knots, width, width + 1))
    fading = 0.5 ** (1 / np.array(HALF_LIVES))[:, None, None, None]
    usual = 0.0
    for back in range(int(days.max()), -1, -1):
        of_day = np.equal(days, back)
        stood = _solved(grams, penalty)  # before this day's rows are added: as they stood when the day began
        enough = bool((days > back).sum() >= LEAST_ROWS)
        if back < past_days:
            lines[back + 1] = stood if enough else np.nan
        count = np.ones((len(HALF_LIVES), int(of_day.sum())))
        if enough and of_day.any():
            missed = np.abs(target[of_day] - np.einsum("nk,pkc,nc->pn", hats[of_day], stood, columns[of_day]))
            usual += (missed.mean() - usual) / USUAL_DAYS if usual else missed.mean()
            count = 1 / np.maximum(missed / (usual + 1e-9), LEAST_MISS)
            count /= count.mean()
        wide = np.concatenate([columns[of_day], target[of_day, None]], axis=1)
        weighted = hats[of_day].T[:, :, None] * columns[of_day] * count[:, None, :, None]
        grams = fading * grams + weighted.transpose(0, 1, 3, 2) @ wide
    lines[0] = _solved(grams, penalty)
    return lines


def unseen(model: Linear, rows: Array, instants: Array) -> Array:
    """Return (origins, horizons, half lives) relative to the level, by lines learnt up to each origin; NaN: too far.

    rows: (origins, horizons, inputs); instants: (origins), epoch. An origin from before the kept days has no answer.
    """
    back = np.maximum(-(-(model.until - instants) // DAY_SECONDS), 0)
    found = np.full((*rows.shape[:2], len(HALF_LIVES)), np.nan)
    for days in np.unique(back[back < len(model.lines)]):
        of_day = back == days
        flat = model.answers(rows[of_day].reshape(-1, rows.shape[-1]), int(days))
        found[of_day] = flat.reshape(*rows[of_day].shape[:2], -1)
    return found


def _columns_of(rows: Array) -> Array:
    """Return inputs as columns: what is unknown is as the level; the hour as waves, the weekday as weekend or not."""
    angle = rows[:, 1] * (2 * np.pi / 24)
    waves = [wave(k * angle) for k in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)]
    told = [np.ones(len(rows)), *waves, np.where(rows[:, 2] >= 5, 1.0, 0.0)]
    return np.column_stack([np.where(np.isfinite(rows[:, 3:]), rows[:, 3:], 0.0), *told])


def _standard(columns: Array, mean: Array, deviation: Array, used: Array) -> Array:
    standard: Array = np.clip((columns - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS) * used
    return standard


def _hats(ahead: Array, knots: Array) -> Array:
    """Return (rows, knots): how much each knot counts for a horizon; they add up to 1."""
    return np.stack([np.interp(ahead, knots, one) for one in np.eye(len(knots))], axis=-1)


def _solved(grams: Array, penalty: Array) -> Array:
    solved: Array = np.linalg.solve(grams[..., :-1] + penalty, grams[..., -1:])[..., 0]
    return solved
