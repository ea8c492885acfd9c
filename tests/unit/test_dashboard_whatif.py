"""What if: replicas, zones, another SLO, prices; the days ahead."""

import math
from datetime import date, timedelta

import numpy as np
import pytest

from dashboard.price import Price, PriceUnavailable, price_in
from dashboard.whatif import (
    WhatIf,
    capacity_factor,
    carried,
    days_table,
    replicas_for,
    rest_seconds,
    whatif_table,
)
from forecaster.outlook.outlook import Outlook

SECOND = timedelta(seconds=1)


def test_more_traffic_takes_more_replicas():
    assert replicas_for(100, 10, WhatIf()) == 10
    assert replicas_for(100, 10, WhatIf(traffic=1.25)) == 13  # 125 / 10, rounded up


def test_a_lost_zone_is_borne_by_those_that_are_left():
    # 10 must be left. 15 in three zones are 5 each: 10 are left; 14 are 5, 5 and 4: at worst 9 are left.
    assert replicas_for(100, 10, WhatIf(zones=3, lost=1)) == 15
    assert carried(15, 10, WhatIf(zones=3, lost=1)) == 100
    assert carried(14, 10, WhatIf(zones=3, lost=1)) == 90
    assert carried(15, 10, WhatIf(traffic=2.0)) == 75  # in demand of today's size


@pytest.mark.parametrize("wrong", [{"traffic": 0}, {"zones": 2, "lost": 2}, {"capacity": -1}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="a zone that is left"):
        WhatIf(**wrong)  # type: ignore[arg-type] # numbers of either kind


def test_a_stricter_slo_leaves_less_of_a_replica():
    # At rest 10 ms, 95 %: 10 x ln 20 = 29.957 ms. Within 100 ms: 1 - 0.29957; within 50 ms: 1 - 0.59915.
    factor = capacity_factor(0.01, 0.95, before=SECOND / 10, after=SECOND / 20)

    assert factor == pytest.approx((1 - 0.2 * math.log(20)) / (1 - 0.1 * math.log(20)))
    assert capacity_factor(0.01, 0.95, before=SECOND / 10, after=SECOND / 50) is None, "not even at rest"
    assert rest_seconds({"baseline": {"mean_seconds": 0.04}}) == 0.04
    assert rest_seconds({"baseline": None}) is None


def test_cases_are_told_with_their_cost_and_whether_the_ceiling_allows_them():
    cases = {"as it is": WhatIf(), "twice": WhatIf(traffic=2.0)}

    table = whatif_table(100, 10, cases, ceiling=15, price=Price(0.5, "EUR", "tidegauge.yaml"))

    assert table["replicas"].tolist() == [10, 20]
    assert table["of 15 allowed"].tolist() == ["● enough", "▲ 5 short"]
    assert table["cost per hour"].tolist() == ["5.00 EUR", "10.00 EUR"]
    assert table["kept for a month"].tolist() == ["3,650 EUR", "7,300 EUR"]  # 730 hours
    assert whatif_table(100, 10, cases, ceiling=15, price=None)["cost per hour"].tolist() == ["–", "–"]


def test_a_day_is_survived_at_risk_or_lost():
    peak = np.array([[50.0, 80.0, 90.0], [50.0, 80.0, 120.0], [50.0, 110.0, 120.0]])
    found = Outlook("shop", date(2026, 11, 26), (0.1, 0.5, 0.95), peak, peak, None, ())

    table = days_table(found, 10.0, WhatIf(), ceiling=10, days=14)

    assert table["day"].tolist() == ["Thu 26 Nov", "Fri 27 Nov", "Sat 28 Nov"]
    assert [text[0] for text in table["survives"]] == ["●", "◆", "▲"]
    assert table["replicas"].tolist() == [9, 12, 12]


def test_opencosts_price_is_cost_over_running_time_of_the_controllers_pods():
    def pod(controller: str, cost: float, minutes: float) -> dict[str, object]:
        return {"properties": {"controller": controller}, "totalCost": cost, "minutes": minutes}

    document = {"data": [{"a": pod("shop", 3.0, 600), "b": pod("shop", 1.0, 600), "c": pod("db", 90.0, 60)}, None]}

    assert price_in(document, "shop") == pytest.approx(0.2)  # 4 over 20 hours
    with pytest.raises(PriceUnavailable, match="'cart'"):
        price_in(document, "cart")
