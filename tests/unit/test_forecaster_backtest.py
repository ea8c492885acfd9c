"""The live decision played on the past: better where the past repeats, refused where it is not, and never peeking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from collector.catalog import Reactive, Scaling
from forecaster.forecast.models import forecast_demand
from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.scaling.backtest.field import BacktestError, Field, last_third
from forecaster.scaling.backtest.gate import Toll, backtest_policy
from forecaster.scaling.backtest.gate import _judged as judged
from forecaster.scaling.backtest.replay import replay
from forecaster.scaling.capacity import declared_capacity, reactive_spec
from forecaster.scaling.plan import decide
from forecaster.scaling.types import HpaState, Situation

START = datetime(2026, 3, 2, tzinfo=UTC)
FIVE = timedelta(minutes=5)
DAY = 288
SCALING = Scaling(
    kind="local",
    name="shop",
    mode="act",
    min_replicas=2,
    max_replicas=20,
    capacity_rps=(12.0, 14.0),
    quantile=0.95,
    lead=timedelta(minutes=15),
    largest_step=4,
    cool_down=timedelta(minutes=5),
    reactive=Reactive(target_rps_per_replica=10.0),
)
CAPACITY = declared_capacity(SCALING, speed=1.0)
SPEC = reactive_spec(SCALING, speed=1.0)


def matches(days: int, *, seed: int = 1) -> DemandSeries:
    """20 rps all day, and 90 rps from 14:00 to 16:00, within ten minutes from one to the other."""
    index = np.arange(days * DAY)
    hour = index % DAY / DAY * 24
    shape = np.interp(hour, [0, 14, 14 + 1 / 6, 16, 16 + 1 / 6, 24], [20, 20, 90, 90, 20, 20])
    values = shape * np.random.default_rng(seed).lognormal(0, 0.03, len(index))
    starts = pd.to_datetime(START.timestamp() + 300.0 * index, unit="s", utc=True)
    return DemandSeries("shop", FIVE, pd.DataFrame({"ds": starts, "y": values}))


def window_of(day: int) -> tuple[datetime, datetime]:
    return START + timedelta(days=day, hours=13), START + timedelta(days=day, hours=17)


def field_of(series: DemandSeries, window: tuple[datetime, datetime]) -> Field:
    met = series.frame.rename(columns={"y": "rps"})
    return Field(series, met, window, SCALING, CAPACITY, SPEC, start_delay=timedelta(minutes=2), refresh=FIVE)


def played(series: DemandSeries, day: int = 12):  # type: ignore[no-untyped-def]  # the return type says nothing here
    return replay(field_of(series, window_of(day)))


def test_a_ramp_that_recurs_is_met_in_time_and_the_autoscaler_alone_is_late() -> None:
    outcome = played(matches(13))
    assert outcome.reactive_only.under_provisioned_seconds > 0
    assert outcome.predictive.under_provisioned_seconds <= outcome.reactive_only.under_provisioned_seconds / 2
    assert len(outcome.decisions) == 48  # four hours, every five minutes
    assert any(decision.outcome == "raise" for decision in outcome.decisions)
    assert any(decision.outcome == "lower" for decision in outcome.decisions)
    assert all(2 <= decision.floor_after <= 20 for decision in outcome.decisions)


def test_nothing_after_an_instant_changes_the_decisions_before_it() -> None:
    series = matches(13)
    cut = START + timedelta(days=12, hours=15)
    frame = series.frame.copy()
    later = frame["ds"] >= cut
    frame.loc[later, "y"] = np.random.default_rng(9).permutation(frame.loc[later, "y"]) * 3
    truth, other = played(series), played(DemandSeries("shop", FIVE, frame))
    until_cut = [decision for decision in truth.decisions if decision.at <= cut]
    assert until_cut == [decision for decision in other.decisions if decision.at <= cut]
    assert len(until_cut) == 25


def test_a_decision_of_the_replay_is_the_live_one() -> None:
    series = matches(13)
    outcome = played(series)
    first = outcome.decisions[0]
    live = forecast_demand(series, origin=first.at, horizon=timedelta(hours=24), quantiles=(0.5, 0.95, 0.99))
    assert isinstance(live, Forecast)
    row = outcome.predictive.timeline.iloc[0]
    hpa = HpaState(2, 2, 20, desired=int(row["current"]), current=int(row["current"]), ready=int(row["ready"]))
    decision = decide(
        Situation(first.at, "shop", SCALING, "act", live, CAPACITY, hpa, live.watermark, None, backtest_passed=True)
    )
    assert decision.floor_after == first.floor_after
    assert decision.floor_wanted == first.floor_wanted


def test_a_replay_gives_the_same_answer_twice() -> None:
    assert played(matches(13)).decisions == played(matches(13)).decisions


def test_the_gate_judges_the_last_third_of_a_short_history() -> None:
    told: list[float] = []
    series = matches(9)
    verdict = backtest_policy(field_of(series, last_third(series)), progress=told.append)
    assert verdict.window == (START + timedelta(days=6), START + timedelta(days=9))
    assert verdict.passed, verdict.reason
    assert told == sorted(told)
    assert 0 <= told[0] < told[-1] < 1


@pytest.mark.parametrize(
    ("ours", "theirs", "passed", "expected"),
    [
        (Toll(10, 1200), Toll(100, 1000), True, "better: 10 s"),
        (Toll(10, 1251), Toll(100, 1000), False, "too dear"),
        (Toll(100, 900), Toll(100, 1000), False, "not better"),
        (Toll(0, 1000), Toll(0, 1000), True, "as good"),
        (Toll(5, 1000), Toll(0, 1000), False, "not better"),
    ],
)
def test_passed_is_less_time_under_provisioned_at_a_bearable_cost(
    ours: Toll, theirs: Toll, passed: bool, expected: str
) -> None:
    verdict, reason = judged(ours, theirs, 0.25)
    assert verdict is passed
    assert expected in reason


def test_a_window_without_demand_is_refused() -> None:
    with pytest.raises(BacktestError, match="expected demand in"):
        played(matches(9), day=30)
