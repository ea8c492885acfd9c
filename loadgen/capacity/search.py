"""Finds the rate that a target carries within its SLOs, as an interval: which trial next, and what it says. Pure.

A generator: it yields a `Step`, is sent what came of it, and returns `Found`. Judged is the share of scheduled requests
that broke a goal, so what was not sent counts. A rate passes when the goal is met beyond doubt, fails when it is broken
beyond doubt, and is unclear in between: then the truth is near, and it stays inside the interval. Latencies near
saturation depend on each other, so doubt is the wider of Wilson's interval over all requests and of a t-interval over
sub-trials with seeds of their own. What passed is confirmed in a longer trial; on anything but a pass, 7 % lower,
then 13 %, and so on. Then a trial 10 % above has to fail, or another 10 % above that; where none does, the answer has
no upper end.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from loadgen.metrics import Measured
from loadgen.scenario.thresholds import Threshold, ThresholdError

Z = 1.645  # one-sided 95 %: a rate is judged to be on one side
Z_ABORT = 2.326  # one-sided 99 %: a trial need not go on
ABOVE = 1.1
MOST_ABOVE = 5
T_CRITICAL = {2: 6.31, 3: 2.92, 4: 2.35, 5: 2.13, 6: 2.02, 7: 1.94, 8: 1.89, 9: 1.86, 10: 1.83}  # one-sided 95 %
FIRST_SUB_TRIALS, MORE_SUB_TRIALS, MOST_SUB_TRIALS = 3, 2, 7
CONFIRM_FACTOR = 3.0
STEP_DOWN = 0.93
MOST_INVALID = 4
RISE, FALL = 1.25, 0.8

Judgement = Literal["pass", "fail", "unclear"]
Purpose = Literal["search", "confirm", "above"]


@dataclass(frozen=True, slots=True)
class Goal:
    """At most `allowed` (0..1) of the scheduled requests may break the threshold."""

    threshold: Threshold
    allowed: float

    def broken_by(self, measured: Measured) -> int:
        """Return how many scheduled requests broke it; the unsent ones always did."""
        if self.threshold.metric == "http_req_failed":
            return measured.failed + measured.unsent
        trend = measured.response if self.threshold.metric == "http_req_duration" else measured.service
        return trend.count_above(self.threshold.bound * 1000) + measured.unsent


def goal_of(threshold: Threshold) -> Goal:
    """Return the goal that an SLO means. Raises ThresholdError for one that is no share of requests."""
    below = threshold.comparison in ("<", "<=")
    if below and threshold.quantile is not None and threshold.metric in ("http_req_duration", "http_req_service"):
        return Goal(threshold, 1 - threshold.quantile)
    if below and threshold.metric == "http_req_failed":
        return Goal(threshold, threshold.bound)
    raise ThresholdError(
        f"expected an SLO as http_req_duration: p(95)<MS or http_req_failed: rate<SHARE, got {threshold.name!r}"
    )


@dataclass(frozen=True, slots=True)
class Step:
    """Send this now: Poisson arrivals at `rps` for `seconds`, after all that came before is drained."""

    rps: float
    seconds: float
    seed: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class SubTrial:
    """What came of a step: requests that were scheduled, and how many broke each goal. Reasons: it says nothing."""

    scheduled: int
    broken: tuple[int, ...]
    invalid_because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """All sub-trials at one rate, and the judgement."""

    rps: float
    purpose: str
    judgement: Judgement
    scheduled: int
    broken: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The answer. low: passed and confirmed; high: failed beyond doubt (None: nothing did). Without a low: nothing."""

    low_rps: float | None
    high_rps: float | None
    confirmed: bool
    trials: tuple[Trial, ...]
    invalid_because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how exactly. width: of the interval, relative, at which to stop; requests: per trial, at least."""

    start_rps: float
    most_rps: float
    budget_seconds: float = 240.0
    width: float = 0.05
    trial_seconds: float = 5.0
    requests: int = 300
    overhead_seconds: float = 2.0
    seed: int = 0


def wilson(broken: int, scheduled: int, z: float = Z) -> tuple[float, float]:
    """Return Wilson's interval of a share (Wilson, JASA 1927): each end is right in 95 %, or as z has it."""
    if scheduled == 0:
        return 0.0, 1.0
    share, z2 = broken / scheduled, z * z
    middle = (share + z2 / (2 * scheduled)) / (1 + z2 / scheduled)
    half = z * math.sqrt(share * (1 - share) / scheduled + z2 / (4 * scheduled**2)) / (1 + z2 / scheduled)
    return max(0.0, middle - half), min(1.0, middle + half)


def judge_goal(subs: Sequence[SubTrial], index: int, allowed: float) -> Judgement:
    """Return whether a goal is met beyond doubt, broken beyond doubt, or neither."""
    low, high = wilson(sum(sub.broken[index] for sub in subs), sum(sub.scheduled for sub in subs))
    shares = [sub.broken[index] / sub.scheduled for sub in subs if sub.scheduled]
    if len(shares) >= 2:
        mean = sum(shares) / len(shares)
        variance = sum((share - mean) ** 2 for share in shares) / (len(shares) - 1)
        half = T_CRITICAL[min(len(shares), 10)] * math.sqrt(variance / len(shares))
        # Two or three widely different sub-trials make no narrow interval, but a share is never below none.
        low, high = min(low, mean - half), max(high, mean + half)
    if high <= allowed:
        return "pass"
    return "fail" if low > allowed else "unclear"


def is_lost(due: int, broken: Sequence[int], goals: Sequence[Goal]) -> bool:
    """Return whether a trial under way may end: of the requests due so far too many broke a goal, at 99 %."""
    return any(wilson(count, due, Z_ABORT)[0] > goal.allowed for count, goal in zip(broken, goals, strict=True) if due)


def judge_trial(subs: Sequence[SubTrial], goals: Sequence[Goal]) -> Judgement:
    """Return fail when any goal is broken beyond doubt, pass when all are met beyond doubt."""
    found = [judge_goal(subs, index, goal.allowed) for index, goal in enumerate(goals)]
    if "fail" in found:
        return "fail"
    return "unclear" if "unclear" in found else "pass"


def holds_on_average(subs: Sequence[SubTrial], goals: Sequence[Goal]) -> bool:
    """Return whether no goal was broken by more than it allows, doubt or no doubt."""
    scheduled = sum(sub.scheduled for sub in subs)
    return all(
        sum(sub.broken[index] for sub in subs) <= goal.allowed * scheduled for index, goal in enumerate(goals)
    )  # fmt: skip


def bounds(trials: Sequence[Trial]) -> tuple[float | None, float | None]:
    """Return the highest rate that passed below all failures, and the lowest that failed above all passes.

    Where a pass stands above a failure the interval spans both: one of them was chance.
    """
    passed = [trial.rps for trial in trials if trial.judgement == "pass"]
    failed = [trial.rps for trial in trials if trial.judgement == "fail"]
    low = max((rps for rps in passed if rps < min(failed, default=math.inf)), default=None)
    high = min((rps for rps in failed if rps > max(passed, default=0.0)), default=None)
    return low, high


def next_rate(trials: Sequence[Trial], settings: Settings) -> float | None:
    """Return the rate to try next; None when the interval is as narrow as it can be told."""
    if not trials:
        return min(settings.start_rps, settings.most_rps)
    tried = [trial.rps for trial in trials]
    low, high = bounds(trials)
    if low is None:
        return min(tried) * FALL ** min(len(trials), 3)  # far above, each step down is a longer one
    if high is None:
        return None if max(tried) >= settings.most_rps else min(max(tried) * RISE, settings.most_rps)
    unclear = sorted(trial.rps for trial in trials if low < trial.rps < high)
    edges = [low, *unclear, high]
    for left, right in ((edges[0], edges[1]), (edges[-2], edges[-1])):
        if right / left > 1 + settings.width:
            return math.sqrt(left * right)
    return None


Steps = Generator[Step, SubTrial, Found]


@dataclass(slots=True)
class _Spent:
    seconds: float = 0.0
    invalid: list[str] = field(default_factory=list)
    seed: int = 0


def _try(
    rps: float, goals: Sequence[Goal], settings: Settings, spent: _Spent, purpose: Purpose
) -> Generator[Step, SubTrial, Trial | None]:
    """Run sub-trials at one rate until it is judged; None when too many of them said nothing."""
    whole = max(settings.trial_seconds, settings.requests / rps) * (CONFIRM_FACTOR if purpose == "confirm" else 1.0)
    subs: list[SubTrial] = []
    wanted = FIRST_SUB_TRIALS
    while len(subs) < wanted:
        spent.seed += 1
        step = Step(rps, whole / FIRST_SUB_TRIALS, settings.seed * 100_003 + spent.seed, purpose)
        spent.seconds += step.seconds + settings.overhead_seconds
        sub = yield step
        if sub.invalid_because:
            spent.invalid.extend(sub.invalid_because)
            if len(spent.invalid) >= MOST_INVALID:
                return None
            continue
        spent.invalid.clear()  # a moment's noise; a generator that is never up to it fails all of them in a row
        subs.append(sub)
        more_may_help = purpose != "confirm" or holds_on_average(subs, goals)
        if len(subs) == wanted < MOST_SUB_TRIALS and more_may_help and judge_trial(subs, goals) == "unclear":
            wanted += MORE_SUB_TRIALS
    broken = tuple(sum(sub.broken[index] for sub in subs) for index in range(len(goals)))
    return Trial(rps, purpose, judge_trial(subs, goals), sum(sub.scheduled for sub in subs), broken)


def search(goals: Sequence[Goal], settings: Settings) -> Steps:
    """Yield steps, take what came of each, and return the interval."""
    trials: list[Trial] = []
    spent = _Spent()
    while (rps := next_rate(trials, settings)) is not None:
        low, _ = bounds(trials)
        confirming = CONFIRM_FACTOR * max(settings.trial_seconds, settings.requests / (low or rps))
        if trials and low is not None and spent.seconds + confirming > settings.budget_seconds:
            break
        if spent.seconds > 2 * settings.budget_seconds:
            break
        trial = yield from _try(rps, goals, settings, spent, "search")
        if trial is None:
            return Found(None, None, False, tuple(trials), tuple(dict.fromkeys(spent.invalid)))
        trials.append(trial)
    low, high = bounds(trials)
    confirmed, failures = False, 0
    while low is not None and not confirmed and spent.seconds < 3 * settings.budget_seconds:
        trial = yield from _try(low, goals, settings, spent, "confirm")
        if trial is None:
            return Found(None, None, False, tuple(trials), tuple(dict.fromkeys(spent.invalid)))
        trials.append(trial)
        confirmed = trial.judgement == "pass"
        failures += not confirmed
        low = low if confirmed else low * STEP_DOWN**failures
    if low is None or not confirmed:
        return Found(low, high, confirmed, tuple(trials), ())
    for number in range(1, MOST_ABOVE + 1):
        rps = low * ABOVE**number
        if rps > settings.most_rps or spent.seconds >= min(3.0, 1.5 + number / 2) * settings.budget_seconds:
            break
        above = yield from _try(rps, goals, settings, spent, "above")
        if above is None:
            return Found(None, None, False, tuple(trials), tuple(dict.fromkeys(spent.invalid)))
        trials.append(above)
        high = upper_end(high, above)
        if high is not None and high <= rps:
            break
    return Found(low, high, confirmed, tuple(trials), ())


def upper_end(high: float | None, above: Trial) -> float | None:
    """Return the upper end after a trial above: lower when it failed, open when it passed where it should not."""
    if above.judgement == "fail":
        return above.rps if high is None else min(high, above.rps)
    return None if above.judgement == "pass" and high is not None and high <= above.rps else high
