"""With us and without us, by week, on a peak that a floor meets and the autoscaler alone does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from forecaster.scaling.backtest.counterfactual import FloorSet, weeks_apart
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.types import Capacity

START = datetime(2026, 3, 2, tzinfo=UTC)
SPEC = HpaSpec(min_replicas=1, max_replicas=20, target_per_replica=10.0)
CAPACITY = Capacity(12.0, 12.0, "declared")
STEPS = 9 * 288  # nine days of five minutes


def demand() -> pd.DataFrame:
    """10 rps, and 48 rps from 12:00 to 12:30 of each day."""
    index = np.arange(STEPS)
    rps = np.where((index % 288 >= 144) & (index % 288 < 150), 48.0, 10.0)
    return pd.DataFrame({"ds": pd.to_datetime(START.timestamp() + 300.0 * index, unit="s", utc=True), "rps": rps})


def test_without_floors_there_is_nothing_to_tell_apart() -> None:
    assert weeks_apart(demand(), [], capacity=CAPACITY, spec=SPEC, start_delay=timedelta(minutes=2)) == []


def test_each_week_is_played_with_the_floors_that_were_set_and_with_the_operators() -> None:
    floors = []
    for day in range(1, 9):
        noon = START + timedelta(days=day, hours=12)
        floors += [FloorSet(noon - timedelta(minutes=10), 4), FloorSet(noon + timedelta(minutes=30), 1)]
    first, second = weeks_apart(demand(), floors, capacity=CAPACITY, spec=SPEC, start_delay=timedelta(minutes=2))
    # from the first floor (11:50 of 3 March) a week, then what is left of nine days: 17 to 24 hours and a half day
    assert first.starts_at == floors[0].at
    assert first.ends_at - first.starts_at == timedelta(days=7)
    assert second.ends_at == START + timedelta(days=9)
    # four replicas carry 48 rps, in time: nobody is short
    assert first.with_us_minutes == 0.0
    assert second.with_us_minutes == 0.0
    # alone, the autoscaler's mean of two minutes rises by 4.75 a sync (15 s): 14.75 of one replica at 12:00:15 asks for
    # 2, 24.25 of two at :45 (one of them starting) for 3, 33.75 of three at 12:01:15 for 4, which are what 48 rps need,
    # and ready two minutes later: 3:15 short on each day, seven days and one
    assert first.without_us_minutes == pytest.approx(7 * 3.25)
    assert second.without_us_minutes == pytest.approx(3.25)
    assert first.with_us_replica_hours > 7 * 24
    assert first.without_us_replica_hours > 7 * 24
