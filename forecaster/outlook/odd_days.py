"""Odd days: one far off its weekday's usual, while those around it are not, says little of the weeks to come. Pure.

A sale, a fault, a crawler: copied into the next month's same weekday it would be wrong there, and once more a year
later. It is brought to the edge of what is usual; what it did to the spread is the courses' own business, which
`paths` measures on the days as they were.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
WEEK = 7
WEEKS_AROUND = (-4, -3, -2, -1, 0, 1, 2, 3, 4)  # whose median is a weekday's usual
DAYS_AROUND = (-3, -2, -1, 0, 1, 2, 3)  # who share a change of level
LOOKED_BACK = 53 * WEEK  # over which the usual spread is measured
DEVIATIONS, LEAST = 3.0, 0.15  # of that spread, and of the logarithm: beyond both a day is odd
TO_DEVIATION = 1.4826  # of a normal distribution, over its median absolute value


def without_odd_days(values: Array) -> Array:
    """Return daily demand with odd days brought to the edge of the usual; nothing else changes, gaps neither."""
    known = np.isfinite(values) & (values > 0)
    logs = np.log(np.where(known, values, np.nan))
    off = logs - _median_of(logs, WEEK * np.array(WEEKS_AROUND))
    alone = off - _median_of(off, np.array(DAYS_AROUND))
    lately = alone[-LOOKED_BACK:]
    lately = lately[np.isfinite(lately)]
    if not len(lately):
        return values
    edge = max(DEVIATIONS * TO_DEVIATION * float(np.median(np.abs(lately))), LEAST)
    too_far = np.sign(alone) * np.maximum(np.abs(alone) - edge, 0.0)
    found: Array = np.where(np.nan_to_num(too_far) != 0, np.exp(logs - too_far), values)
    return found


def _median_of(values: Array, around: npt.NDArray[np.int64]) -> Array:
    """Return by day the median of the days around it; NaN where none is known."""
    at = np.arange(len(values))[:, None] + around
    there = (at >= 0) & (at < len(values))
    rows = np.where(there, values[np.clip(at, 0, len(values) - 1)], np.nan)
    found: Array = pd.DataFrame(rows).median(axis=1).to_numpy()
    return found
