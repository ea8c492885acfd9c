"""The gate before mode `act`: would this policy have served the service better than the autoscaler alone?

Judged on a `replay` of both. Other policies beside ours are played in `contest`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from forecaster.scaling.backtest.field import Field
from forecaster.scaling.backtest.replay import replay
from forecaster.scaling.backtest.rolling import RollingForecasts, horizons_for, levels_for, origins_of, roll
from forecaster.scaling.simulator.simulate import SimulationResult
from forecaster.scaling.wording import span

FORECASTS_SHARE = 0.9  # of the work, where they are not on disk


@dataclass(frozen=True, slots=True)
class Toll:
    """What a branch of a replay cost its users and its owner."""

    under_provisioned_seconds: float
    replica_seconds: float


@dataclass(frozen=True, slots=True)
class PolicyBacktest:
    """passed: the policy left users under-provisioned for less time than the autoscaler alone, at a bearable cost."""

    passed: bool
    reason: str
    window: tuple[datetime, datetime]
    predictive: Toll
    reactive_only: Toll


def backtest_policy(
    ground: Field,
    *,
    allowed_extra_cost: float = 0.25,
    kept: Path | None = None,
    processes: int = 1,
    forecasts: RollingForecasts | None = None,
    progress: Callable[[float], None] | None = None,
) -> PolicyBacktest:
    """Replay the policy over the field's window and judge it.

    Passed: less under-provisioned time than the autoscaler alone (or none, where that had none either), for at most
    1 + allowed_extra_cost times its replica-seconds. forecasts: from every decision of the window; kept, processes: how
    they are made where not given (`rolling.roll`). Raises BacktestError when there is nothing to replay.
    """

    def told(before: float, share: float) -> Callable[[float], None] | None:
        return None if progress is None else lambda done: progress(before + share * done)

    forecasts = forecasts or roll(
        ground.series,
        origins=origins_of(ground.series, window=ground.window, refresh=ground.refresh, data_delay=ground.data_delay),
        horizons=horizons_for(ground.series, ground.scaling, ground.refresh, ground.data_delay),
        levels=levels_for(ground.scaling),
        kept=kept,
        processes=processes,
        progress=told(0.0, FORECASTS_SHARE),
    )
    outcome = replay(ground, forecasts=forecasts, progress=told(FORECASTS_SHARE, 1 - FORECASTS_SHARE))
    predictive, reactive_only = _toll(outcome.predictive), _toll(outcome.reactive_only)
    passed, reason = _judged(predictive, reactive_only, allowed_extra_cost)
    return PolicyBacktest(passed, reason, ground.window, predictive, reactive_only)


def _toll(result: SimulationResult) -> Toll:
    return Toll(result.under_provisioned_seconds, result.replica_seconds)


def _judged(predictive: Toll, reactive_only: Toll, allowed_extra_cost: float) -> tuple[bool, str]:
    ours, theirs = predictive.under_provisioned_seconds, reactive_only.under_provisioned_seconds
    extra = predictive.replica_seconds / reactive_only.replica_seconds - 1
    short, beside = (span(timedelta(seconds=seconds)) for seconds in (ours, theirs))
    facts = f"{short} under-provisioned against {beside} of the autoscaler alone, {extra:+.1%} replica-hours"
    if ours > theirs or (ours == theirs and theirs > 0):
        return False, f"not better: {facts}"
    if extra > allowed_extra_cost:
        return False, f"too dear (at most {allowed_extra_cost:+.0%} is allowed): {facts}"
    return True, f"better: {facts}" if ours < theirs else f"as good: {facts}"
