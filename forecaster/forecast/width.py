"""What the size of an error follows from: facts known at the origin, from which `calibration` learns a band's width.

The horizon, how far the members disagree, how far other days and weeks lie apart at that hour, how restless demand has
been, how high it will be and how fast it changes.
"""

from __future__ import annotations

import numpy as np

from forecaster.forecast.windows import DAY_SECONDS, Array, windows_of

RESTLESS_SECONDS = (3600, 3 * 3600, DAY_SECONDS)
LEAST_STEPS = 3  # that restlessness is taken from
LEAST_MOVE, LEAST_APART = 1e-3, 0.02  # logarithms: less is none
UNKNOWN_APART = 0.3


def facts_of(members: Array, middle: Array, level: Array, seconds: Array, *, apart: Array, restless: Array) -> Array:
    """Return (origins, horizons, facts), the first one 1.

    members: (origins, horizons, members) without the profile, NaN: does not answer; middle: theirs; level: (origins)
    now; seconds: (horizons) ahead; apart: (origins, horizons, 2) from `weekly`; restless: (origins, 3).
    """
    known = np.isfinite(members)
    count = known.sum(axis=-1)
    mean = np.where(known, members, 0.0).sum(axis=-1) / np.maximum(count, 1)
    squares = (np.where(known, members - mean[..., None], 0.0) ** 2).sum(axis=-1) / np.maximum(count, 1)
    disagreement = _carried_on(np.where(count > 1, np.sqrt(squares), np.nan))
    told = [
        np.ones_like(middle),
        np.broadcast_to(np.log1p(seconds / 300.0), middle.shape),
        np.log1p(20 * _carried_on(np.abs(members[..., 0] - members[..., 1]))),
        -middle,
        np.abs(middle - level[:, None]),
        np.log(disagreement + LEAST_APART / 2),
        *np.moveaxis(np.log(np.where(np.isfinite(apart), apart, UNKNOWN_APART) + LEAST_APART), -1, 0),
        *(np.broadcast_to(of_span[:, None], middle.shape) for of_span in restless.T),
    ]
    return np.stack(told, axis=-1)


def _carried_on(values: Array) -> Array:
    """Return values (origins, horizons) with the mean of an origin where they are not known: beyond the near members.

    0 where an origin has none.
    """
    known = np.isfinite(values)
    mean = np.where(known, values, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return np.where(known, values, mean[:, None])


def restlessness(values: Array, step_seconds: int, origins: Array, offset: float) -> Array:
    """Return (origins, 3): how much demand has moved from step to step in the last hour, three hours and day."""
    logs = np.log(np.maximum(values, 0.0) + offset)
    moves = windows_of(np.abs(np.diff(logs, prepend=logs[:1])), step_seconds)
    spans = [max(LEAST_STEPS, moves.steps(seconds)) for seconds in RESTLESS_SECONDS]
    found = np.stack([moves.log_mean(origins - span, origins, LEAST_MOVE) for span in spans], axis=-1)
    whole = float(moves.log_mean(np.array([0]), np.array([moves.length]), LEAST_MOVE)[0])
    usual = whole if np.isfinite(whole) else float(np.log(LEAST_MOVE))
    return np.where(np.isfinite(found), found, usual)
