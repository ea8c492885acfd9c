"""Who lends a day's shape, to whom, and how often it is made."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from forecaster.forecast.types import DemandSeries
from forecaster.lenders import Lenders

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def series(
    name: str, days: float, *, busy: int = 9, zone: ZoneInfo | None = None, end: datetime | None = None
) -> DemandSeries:
    """Ten times as much in one hour of each day (in the service's zone) as in the others; up to `end`."""
    end = end or START + 21 * DAY
    ds = pd.date_range(end - days * DAY, end, freq=HOUR, inclusive="left", unit="us")
    y = np.where(ds.tz_convert(zone or UTC).hour == busy, 100.0, 10.0)
    return DemandSeries(name, HOUR, pd.DataFrame({"ds": ds, "y": y}), zone)


def test_two_weeks_lend_and_under_two_days_borrow_the_median_shape() -> None:
    lenders, origin = Lenders(), START + 21 * DAY
    assert lenders.for_(series("young", 0.1), origin=origin) is None  # nobody lends yet
    for name in ("a", "b", "c"):
        assert lenders.for_(series(name, 14, busy=20 if name == "c" else 9), origin=origin) is None
    assert lenders.for_(series("middling", 5), origin=origin) is None  # neither lends nor borrows
    assert lenders.for_(series("has-days", 2), origin=origin) is None
    lent = lenders.for_(series("young", 1.9), origin=origin)
    assert lent is not None
    assert lent.services == 3
    assert [hour for hour in range(24) if lent.by_hour[hour] > 1] == [9]  # the odd one does not bend it


def test_shapes_are_those_of_wall_clocks() -> None:
    lenders, origin = Lenders(), START + 21 * DAY
    lenders.for_(series("tokyo", 14, zone=ZoneInfo("Asia/Tokyo")), origin=origin)
    lent = lenders.for_(series("young", 0.5), origin=origin)
    assert lent is not None
    assert [hour for hour in range(24) if lent.by_hour[hour] > 1] == [9]


def test_a_shape_is_made_once_an_hour() -> None:
    lenders, origin = Lenders(), START + 21 * DAY
    lenders.for_(series("a", 14), origin=origin)
    first, lent = lenders.shapes["a"], lenders.for_(series("young", 0.5), origin=origin)
    lenders.for_(series("a", 14), origin=origin + 59 * HOUR / 60)
    assert lenders.shapes["a"] is first
    assert lenders.for_(series("young", 0.5), origin=origin + 59 * HOUR / 60) is lent
    lenders.for_(series("a", 14, busy=20), origin=origin + HOUR)
    assert lenders.shapes["a"] is not first
    newest = lenders.for_(series("young", 0.5), origin=origin + HOUR)
    assert newest is not None
    assert [hour for hour in range(24) if newest.by_hour[hour] > 1] == [20]
