"""What is known of the demand ahead: the forecast's quantiles over time, and how likely demand is above a rate.

Between two known quantiles, and beyond the highest, the probability of more falls exponentially. Which risk to take and
how many replicas that asks for is `replicas`' business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.forecast.types import Forecast
from forecaster.scaling.types import Caller

Array = npt.NDArray[Any]
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class DemandCurve:
    """The distribution of demand: rps[i] is passed with probability exp(-depths[i]). Both ascend, from 0."""

    depths: Array
    rps: Array

    def at_risk(self, risk: float) -> float:
        """Return the rate (requests/s) that demand is above with probability `risk`."""
        depth = -math.log(risk)
        beyond = depth - float(self.depths[-1])
        return float(np.interp(depth, self.depths, self.rps)) + (beyond * self._tail if beyond > 0 else 0.0)

    def above(self, rps: Array) -> Array:
        """Return the probability that demand is above each rate."""
        rates = rps * (1 + _ROUNDING)
        depths = np.interp(rates, self.rps, self.depths)
        over = np.maximum(rates - self.rps[-1], 0.0)
        tail = self._tail
        found: Array = np.exp(-depths - over / tail) if tail > 0 else np.where(over > 0, 0.0, np.exp(-depths))
        return found

    @property
    def _tail(self) -> float:
        """Return the requests/s in which the probability of more falls to 1/e, beyond the highest quantile."""
        return float((self.rps[-1] - self.rps[-2]) / (self.depths[-1] - self.depths[-2]))


def chances_above(depths: Array, rps: Array, rates: Array) -> Array:
    """Return (n,) what `DemandCurve.above` says of n curves, rps (n, levels), each of its own rate; NaN of NaN."""
    asked = rates * (1 + _ROUNDING)
    upper = np.clip((rps <= asked[:, None]).sum(axis=1), 1, len(depths) - 1)
    each = np.arange(len(rps))
    low, high, shallow = rps[each, upper - 1], rps[each, upper], depths[upper - 1]
    wide = high > low
    slope = np.divide(depths[upper] - shallow, high - low, out=np.zeros_like(low), where=wide)
    depth = shallow + (asked - low) * slope  # beyond the highest quantile on the line through the last two
    found: Array = np.where(wide, np.exp(-depth), np.where(asked > high, 0.0, np.exp(-depths[upper])))
    return np.where(np.isfinite(rps).all(axis=1), found, np.nan)


class DemandAhead:
    """Quantiles as steps over time, to be asked for their highest in a span.

    rps: (steps, 1 + levels) in requests/s, the first column 0; depths: (1 + levels), -ln(1 - level) from 0 on.
    """

    def __init__(self, origin: datetime, step: timedelta, depths: Array, rps: Array) -> None:
        self.origin, self.step, self.depths, self.rps = origin, step, depths, rps

    @property
    def end(self) -> datetime:
        """Return the end of the last step."""
        return self.origin + len(self.rps) * self.step

    def start_of(self, index: int) -> datetime:
        """Return the start of a step."""
        return self.origin + index * self.step

    def steps_in(self, start: datetime, end: datetime) -> slice:
        """Return the steps that touch [start, end), at least one; the nearest one outside."""
        first = min(max((start - self.origin) // self.step, 0), len(self.rps) - 1)
        return slice(first, max(first + 1, -((self.origin - end) // self.step)))

    def highest(self, start: datetime, end: datetime) -> DemandCurve:
        """Return, level by level, the highest quantile of those steps: no step's demand is likelier above a rate."""
        return self.highest_of(self.steps_in(start, end))

    def highest_of(self, steps: slice) -> DemandCurve:
        """Return the same of these steps."""
        return DemandCurve(self.depths, self.rps[steps].max(axis=0))

    def curve(self, index: int) -> DemandCurve:
        """Return one step's distribution."""
        return DemandCurve(self.depths, self.rps[index])

    def at_risk(self, risk: float) -> Array:
        """Return (steps,) the rates that demand is above with probability `risk`."""
        depth = -math.log(risk)
        upper = min(max(int(np.searchsorted(self.depths, depth)), 1), len(self.depths) - 1)
        share = (depth - self.depths[upper - 1]) / (self.depths[upper] - self.depths[upper - 1])
        found: Array = self.rps[:, upper - 1] * (1 - share) + self.rps[:, upper] * share  # beyond the highest: the tail
        return found

    def peak(self, start: datetime, end: datetime, rates: Array) -> tuple[float, datetime]:
        """Return the highest of `rates` (steps,) in those steps, and the start of its step."""
        steps = self.steps_in(start, end)
        at = int(rates[steps].argmax())
        return float(rates[steps.start + at]), self.start_of(steps.start + at)


def demand_ahead(forecast: Forecast, callers: Sequence[Caller] = ()) -> DemandAhead:
    """Return the demand ahead of a service, which is at least what its callers will send it.

    A callee's own demand has their calls in it, so both are not added up: at each level the higher of the two counts.
    Of several callers the quantiles are added: they share users and rise together, and of demands that do, the sum's
    quantile is the sum of the quantiles. A convolution would take them for independent, and be too low at every peak.
    """
    ahead = _alone(_Same(forecast))
    if not callers:
        return ahead
    called = sum((_calls(caller, ahead) for caller in callers), np.zeros_like(ahead.rps))
    return DemandAhead(ahead.origin, ahead.step, ahead.depths, np.maximum(ahead.rps, called))


class _Same:
    """A forecast by its identity: a replay decides on the same one at many settings, and a frame is slow to read."""

    def __init__(self, forecast: Forecast) -> None:
        self.forecast = forecast

    def __hash__(self) -> int:
        return id(self.forecast)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.forecast is self.forecast


@lru_cache(maxsize=16)
def _alone(same: _Same) -> DemandAhead:
    forecast = same.forecast
    rps = np.zeros((len(forecast.frame), 1 + len(forecast.quantiles)))
    rps[:, 1:] = forecast.frame.iloc[:, 1:].to_numpy(dtype=np.float64)  # `ds`, then the quantiles in their order
    np.maximum.accumulate(rps, axis=1, out=rps)
    depths = -np.log1p(-np.array([0.0, *forecast.quantiles]))
    return DemandAhead(forecast.origin, forecast.step, depths, rps)


def _calls(caller: Caller, ahead: DemandAhead) -> Array:
    """Return (steps, levels) of what a caller sends, on the callee's steps; 0 where it has no forecast."""
    forecast = caller.forecast
    if not isinstance(forecast, Forecast):
        return np.zeros_like(ahead.rps)
    theirs = _alone(_Same(forecast))
    at = ahead.origin.timestamp() + ahead.step.total_seconds() * np.arange(len(ahead.rps))
    index = np.floor((at - theirs.origin.timestamp()) / theirs.step.total_seconds()).astype(np.int64)
    known = (index >= 0) & (index < len(theirs.rps))
    rows = theirs.rps[np.clip(index, 0, len(theirs.rps) - 1)]
    found = np.stack([np.interp(ahead.depths, theirs.depths, row) for row in rows])
    answer: Array = np.where(known[:, None], found, 0.0) * caller.calls_per_request
    return answer
