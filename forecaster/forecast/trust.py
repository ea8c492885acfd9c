"""How far each member is to be trusted, per horizon bucket, from what it would have said from earlier origins.

Two steps: inverse errors, shrunk to a belief, say who is good alone; least absolute errors of the mix, drawn back to
those, say who is good together. A bucket in which the plain profile was clearly better is the profile's.
"""

from __future__ import annotations

import numpy as np

from forecaster.forecast import guards
from forecaster.forecast.windows import Array

SHARE = 0.25  # of the belief beside inverse errors
INVERSE_POWER = 6.0
LEAST_ERRORS = 20  # known in a bucket, before its weights follow them
TOGETHER_SAMPLES = 1200.0  # how many errors the members' standing alone is worth when they are weighed together
ROUNDS, LEAST_SIZE = 4, 0.1  # of reweighting; of an error beside the mean one, below which it weighs no more
SINGULAR = 1e-6
LEAST_LOSS = 1e-9  # who never errs is no better than another who does not


def weights_of(errors: Array, weight: Array, belief: Array, profile: Array) -> tuple[Array, bool]:
    """Return the members' weights, and whether the profile was better than what they give.

    errors: (samples, members), logarithms, signed, all known; weight: (samples); belief: (members); profile: (samples).
    """
    believed = belief / belief.sum()
    if len(errors) <= LEAST_ERRORS:
        return believed, False
    weight = weight / weight.sum()
    losses = np.maximum(weight @ np.abs(errors), LEAST_LOSS)
    inverse = belief * (losses / losses.min()) ** -INVERSE_POWER
    alone = SHARE * believed + (1 - SHARE) * inverse / inverse.sum()
    found = together(errors, weight, alone, TOGETHER_SAMPLES)
    profiles = max(float(weight @ np.abs(profile)), LEAST_LOSS)
    return found, profiles < float((found * losses).sum()) * guards.GATE


def together(errors: Array, weight: Array, alone: Array, worth: float) -> Array:
    """Return the weights (none below 0, adding up to 1) of the least absolute error of the mix, near to `alone`.

    errors: (samples, members), signed; weight: (samples), adding up to 1; worth: how many samples `alone` counts for.
    Iteratively reweighted least squares with a ridge around `alone`; Lagrange's multiplier keeps the sum.
    """
    count = len(alone)
    scaled = errors / (weight @ np.abs(errors @ alone) + 1e-9)
    apart = weight @ ((scaled - scaled.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / count
    samples = 1 / (weight**2).sum()  # Kish: of equal weight
    found = alone
    for _ in range(ROUNDS):
        size = np.maximum(np.abs(scaled @ found), LEAST_SIZE)
        gram = (scaled * (weight / size)[:, None]).T @ scaled
        ridge = worth / samples * apart + SINGULAR * np.trace(gram) / count + 1e-12
        sides = np.stack([ridge * alone, np.ones(count)], axis=1)
        free, one = np.linalg.solve(gram + ridge * np.eye(count), sides).T
        found = np.maximum(free + one * (1 - free.sum()) / one.sum(), 0.0)
        found = found / found.sum()
    return found
