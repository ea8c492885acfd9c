"""What keeps a forecast from being worse than none: when to fall back, and when to say that things changed."""

from __future__ import annotations

import numpy as np

from forecaster.forecast.windows import Array

# The profile replaces the others where its recent error is so much of theirs, or less. Theirs are of models that were
# blind to the weeks around, which those in use are not: a narrower gate let the profile in where it was worse.
GATE = 0.8
DRIFT_LAST_SECONDS = 86_400
DRIFT_FACTOR = 2.0  # the last day's errors over those before
DRIFT_LEAST = 10  # errors known on both sides


def drift_of(residual: Array, known: Array, ago_seconds: Array) -> tuple[str, ...]:
    """Say whether the last day's errors (origins, horizons; logarithms) are far above those of the weeks before.

    ago_seconds: (origins), how long before the end. Medians, so that one spike is no drift.
    """
    last = known & (ago_seconds <= DRIFT_LAST_SECONDS)[:, None]
    before = known & ~(ago_seconds <= DRIFT_LAST_SECONDS)[:, None]
    if min(last.sum(), before.sum()) < DRIFT_LEAST:
        return ()
    now, usual = (float(np.median(np.abs(residual[which]))) for which in (last, before))
    if usual <= 0 or now < DRIFT_FACTOR * usual:
        return ()
    return (f"drift: the last day's errors are {now / usual:.1f} times those before",)
