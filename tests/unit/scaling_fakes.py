"""A situation to decide on, made by hand: what the tests of the plan and of its guardrails share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from collector.catalog import Reactive, Scaling
from forecaster.forecast.types import Forecast
from forecaster.scaling.types import Capacity, Decision, HpaState, Situation

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FIVE = timedelta(minutes=5)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


SCALING = Scaling(
    kind="local",
    name="shop",
    mode="act",
    min_replicas=2,
    max_replicas=20,
    capacity_rps=(12.0, 14.0),
    quantile=0.95,
    lead=minutes(15),
    largest_step=4,
    cool_down=minutes(5),
    reactive=Reactive(target_rps_per_replica=10.0),
)
CAPACITY = Capacity(low_rps=12.0, high_rps=12.0, source="declared")


def forecast_of(
    rps: list[float], *, origin: datetime = NOW, levels: tuple[float, ...] = (0.5, 0.95, 0.99), spread: float = 0.0
) -> Forecast:
    """All quantiles are `rps` when spread is 0; else each next one is so much (a share) above the one before."""
    starts = pd.to_datetime(origin.timestamp() + 300.0 * np.arange(len(rps)), unit="s", utc=True)
    columns = {f"q{level:g}": np.array(rps) * (1 + spread) ** index for index, level in enumerate(levels)}
    frame = pd.DataFrame({"ds": starts, **columns})
    return Forecast("shop", origin, "by hand", FIVE, levels, frame, origin - minutes(600), origin)


def hpa(floor: int, *, operator_floor: int = 2, ceiling: int = 20) -> HpaState:
    return HpaState(operator_floor, floor, ceiling, desired=floor, current=floor, ready=floor)


def situation(rps: list[float], floor: int = 2, **changes: Any) -> Situation:
    plain = Situation(
        now=NOW,
        service="shop",
        scaling=SCALING,
        mode="act",
        forecast=forecast_of(rps),
        capacity=CAPACITY,
        hpa=hpa(floor),
        metric_at=NOW,
        last_lowered_at=None,
        backtest_passed=True,
        refresh=FIVE,
    )
    return replace(plain, **changes)


def flat_then(low: float, high: float, *, after_minutes: int, hours: int = 3) -> list[float]:
    steps = after_minutes // 5
    return [low] * steps + [high] * (hours * 12 - steps)


def said(decision: Decision) -> str:
    return " | ".join(decision.reasons)
