"""The risk that a plan takes on the way to a share of the time that is to be short: asked for, and then come to.

A plan at a risk of 5 % is short for much less than 5 % of the time: the autoscaler below carries a part, replicas are
whole ones, and a floor sees to the highest of several steps. So, where a service asks to be paced, its risk follows
what came. Its odds grow while less of the time than asked was short, and shrink while more was:

    odds' = odds * exp(GAIN_PER_HOUR * hours * (asked - short))

(adaptive conformal inference, Gibbs and Candes 2021, on the log of the odds), within bounds. What has come is met at
once, so even a plan that asks for nothing may be short for less than asked: then the same odds say how far above what
they carry replicas may be used first (`overload_at`). Pure: what the last plan took is read from its decision, what
came from the record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

START_FACTOR = 5.0  # of the odds asked for, where no decision has been made: what mostly comes to the share asked for
GAIN_PER_HOUR = 1.2
LEAST_FACTOR = 0.2  # of the odds asked for
RELEASED_ODDS = math.exp(1.5)  # a risk of 82 %: the floor is as good as released
MOST_ODDS = math.exp(4)  # a risk of 98 %
MOST_OVERLOAD = 0.1
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """What the last plan took, and what came of it.

    risk: that it was planned with; short: the share of `span` since, with demand known, in which demand was above what
    the ready replicas carry.
    """

    risk: float
    short: float
    span: timedelta


def paced_risk(asked: float, pace: Pace | None) -> float:
    """Return the risk to plan with, for `asked` of the time to be short in the end. pace: None before any decision."""
    odds = _odds(asked)
    if pace is None:
        return _risk(START_FACTOR * odds)
    moved = _odds(pace.risk) * math.exp(GAIN_PER_HOUR * (pace.span / _HOUR) * (asked - pace.short))
    return _risk(min(max(moved, LEAST_FACTOR * odds), MOST_ODDS))


def overload_at(risk: float) -> float:
    """Return how far above what replicas carry what has just come may be until there are more, as a share of that.

    0 up to a floor that is as good as released: a plan's risk saves more. Then up to MOST_OVERLOAD at MOST_ODDS.
    """
    least, most = math.log(RELEASED_ODDS), math.log(MOST_ODDS)
    return MOST_OVERLOAD * min(max((math.log(_odds(risk)) - least) / (most - least), 0.0), 1.0)


def at_half_the_odds(risk: float) -> float:
    """Return the risk whose odds are half as high: of a small one its half."""
    return risk / (2 - risk)


def _odds(risk: float) -> float:
    return risk / (1 - risk)


def _risk(odds: float) -> float:
    return odds / (1 + odds)
