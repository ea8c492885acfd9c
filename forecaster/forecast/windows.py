"""Means over any window of a series with gaps, in logarithms, for many windows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Windows:
    """Sums and counts up to each index, so that the mean of any window costs two look-ups. `length` rows are seen."""

    sums: Array
    counts: Array
    step_seconds: int

    @property
    def length(self) -> int:
        """Return how many rows are seen."""
        return len(self.sums) - 1

    def log_mean(self, start: Array, end: Array, offset: float) -> Array:
        """Return log(mean of rows [start, end) + offset); NaN where no row of the window is known."""
        low, high = np.clip(start, 0, self.length), np.clip(end, 0, self.length)
        counts = self.counts[high] - self.counts[low]
        sums = np.maximum(self.sums[high] - self.sums[low], 0.0)
        known = (counts > 0) & (high > 0)
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=known)
        return np.where(known, np.log(np.where(known, means + offset, 1.0)), np.nan)

    def steps(self, seconds: float) -> int:
        """Return a span in whole steps, at least one."""
        return max(1, round(seconds / self.step_seconds))


def windows_of(values: Array, step_seconds: int) -> Windows:
    """Return the running sums of values (NaN = gap)."""
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    return Windows(sums, np.concatenate([[0.0], np.cumsum(known)]), step_seconds)
