"""What people are told: which conditions a decision makes, and that each is told once, renewed, and ended."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pandas as pd
import pytest

from collector.alerts.state import Condition
from collector.catalog import Slo
from collector.clickhouse import StoreUnavailableError
from collector.slo.objectives import Counts, Exhaustion, SloStatus
from forecaster.forecast.types import Forecast
from forecaster.loop.drift_alert import AlertsUnavailableError
from forecaster.loop.notices import Notice, Notices, conditions_of, spent_at
from forecaster.scaling.types import PlanWarning, Situation
from forecaster.scaling_law import most_useful_replicas
from tests.unit.forecaster_fakes import HPA, NOW, SCALING, a_decision

HOUR, STEP = timedelta(hours=1), timedelta(minutes=30)


def a_forecast(*rps: float) -> Forecast:
    starts = [NOW + index * STEP for index in range(len(rps))]
    frame = pd.DataFrame({"ds": pd.to_datetime(starts, utc=True), "q0.5": list(rps), "q0.95": [9 * y for y in rps]})
    return Forecast("shop", NOW, "flat", STEP, (0.5, 0.95), frame, NOW - HOUR, NOW)


def a_status(*, left: float | None, burn: float | None, valid: int) -> SloStatus:
    slo = Slo("availability", "availability", 0.99, timedelta(days=30), None, None, None)  # type: ignore[call-arg]
    return SloStatus(slo, Counts(valid, valid), None, left, {HOUR: burn}, None, Exhaustion("unknown"))


def a_situation(**changes: Any) -> Situation:
    whole = Situation(
        now=NOW, service="shop", scaling=SCALING, mode="recommend", forecast=a_forecast(10.0), capacity=None, hpa=HPA,
        metric_at=NOW, last_lowered_at=None, backtest_passed=True,
    )  # fmt: skip
    return replace(whole, **changes)


def test_a_warning_becomes_a_condition_with_when_and_how_likely() -> None:
    warning = PlanWarning("ceiling_breach", "demand passes what 20 replicas carry", NOW + HOUR, 0.4)
    [notice] = conditions_of(a_situation(), a_decision(2, warnings=(warning,)), (), decision_id="d")
    assert (notice.name, notice.severity, notice.summary) == ("scaling-ceiling-breach", "ticket", warning.text)
    assert notice.details == {"kind": "ceiling_breach", "expected_at": "2026-05-04T08:50:00Z", "probability": 0.4}


def test_only_mode_recommend_recommends_and_only_a_change() -> None:
    def names(mode: str, floor: int) -> list[str]:
        decision = a_decision(floor, mode=mode, apply=False)
        return [one.name for one in conditions_of(a_situation(), decision, (), decision_id="d")]

    assert names("recommend", 6) == ["recommend-floor-6"]
    assert names("recommend", 2) == []
    assert names("act", 6) == names("observe", 6) == []


def test_a_budget_is_spent_when_the_forecasts_errors_have_used_it_up() -> None:
    # 1 % of 180,000 requests may fail, half of that is left: 900. A burn of 2 fails 2 %. At 10 rps that is 0.2/s,
    # 360 in the first half hour, 720 in the second at 20 rps: 540 of these are left, three quarters of 30 min.
    status = a_status(left=0.5, burn=2.0, valid=180_000)
    at = spent_at(status, a_forecast(10.0, 20.0, 20.0), now=NOW)
    assert at is not None
    assert at == NOW + timedelta(minutes=30 + 22.5)


@pytest.mark.parametrize(
    "status",
    [
        a_status(left=0.5, burn=2.0, valid=1_800_000),  # 9,000 are left: not within the forecast
        a_status(left=-0.1, burn=2.0, valid=180_000),  # spent already: the record says so
        a_status(left=0.5, burn=0.0, valid=180_000),
        a_status(left=None, burn=None, valid=0),
    ],
)
def test_a_budget_that_lasts_or_of_which_nothing_is_known_is_no_news(status: SloStatus) -> None:
    assert spent_at(status, a_forecast(10.0, 20.0, 20.0), now=NOW) is None


class Collector:
    """Takes conditions, or refuses them while `away`."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.headers: Mapping[str, str] = {}
        self.away = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.headers = request.headers
        if self.away:
            return httpx.Response(503)
        self.posted.append(json.loads(request.content))
        return httpx.Response(200, json={"alert_id": "x"})

    def told(self) -> list[tuple[str, bool]]:
        told = [(one["name"], one["breached"]) for one in self.posted]
        self.posted.clear()
        return told


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def notices(collector: Collector) -> Notices:
    http = httpx.Client(transport=httpx.MockTransport(collector))
    return Notices("http://collector", http, headers={"Authorization": "Bearer t"})


def test_a_condition_is_told_once_renewed_before_it_expires_and_ended_when_it_is_over(
    notices: Notices, collector: Collector
) -> None:
    at = NOW
    notices("shop", [Notice("scaling-no-room", "ticket", "room for 3 of 8")], now=at)
    assert collector.told() == [("scaling-no-room", True)]
    assert collector.headers["authorization"] == "Bearer t"
    notices("shop", [Notice("scaling-no-room", "ticket", "room for 2 of 8")], now=at + timedelta(minutes=5))
    assert collector.told() == []  # it says the same with other figures
    notices("shop", [Notice("scaling-no-room", "ticket", "room for 2 of 8")], now=at + timedelta(minutes=31))
    assert collector.told() == [("scaling-no-room", True)]
    notices("other", [], now=at + timedelta(minutes=32))
    assert collector.told() == []
    notices("shop", [], now=at + timedelta(minutes=35))
    assert collector.told() == [("scaling-no-room", False)]
    notices("shop", [], now=at + timedelta(minutes=40))
    assert collector.told() == []


def test_a_changed_recommendation_is_told_anew_and_the_old_one_is_over(notices: Notices, collector: Collector) -> None:
    notices("shop", [Notice("recommend-floor-6", "ticket", "a")], now=NOW)
    notices("shop", [Notice("recommend-floor-8", "ticket", "a")], now=NOW)
    assert collector.told() == [("recommend-floor-6", True), ("recommend-floor-8", True), ("recommend-floor-6", False)]


def test_what_the_collector_did_not_take_is_told_again(notices: Notices, collector: Collector) -> None:
    collector.away = True
    with pytest.raises(AlertsUnavailableError):
        notices("shop", [Notice("scaling-no-room", "ticket", "a")], now=NOW)
    collector.away = False
    notices("shop", [Notice("scaling-no-room", "ticket", "a")], now=NOW)
    assert collector.told() == [("scaling-no-room", True)]
    collector.away = True
    with pytest.raises(AlertsUnavailableError):
        notices("shop", [], now=NOW)
    collector.away = False
    notices("shop", [], now=NOW)
    assert collector.told() == [("scaling-no-room", False)]


def a_posted(name: str, *, service: str = "shop") -> Condition:
    return Condition(f"posted/{service}/{name}", "posted", service, name, "ticket", "breached", "as it was told", {})


def test_who_begins_to_tell_ends_what_another_has_told_and_is_over(collector: Collector) -> None:
    standing = [a_posted("scaling-no-room"), a_posted("scaling-blocked"), a_posted("own-check"),
                a_posted("scaling-no-room", service="other")]  # fmt: skip
    read: list[datetime] = []
    answers: list[Exception | list[Condition]] = [StoreUnavailableError("away"), standing, []]

    def posted(now: datetime) -> list[Condition]:
        read.append(now)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    follower = Notices("http://collector", httpx.Client(transport=httpx.MockTransport(collector)), posted=posted)
    blocked = Notice("scaling-blocked", "ticket", "as it was told")
    follower("shop", [blocked], now=NOW)  # the store is away: it will be asked again
    assert collector.told() == [("scaling-blocked", True)]
    follower("shop", [blocked], now=NOW + timedelta(minutes=1))
    assert collector.told() == [("scaling-no-room", False)]  # neither of others nor of another service
    follower("shop", [blocked], now=NOW + timedelta(minutes=2))
    assert len(read) == 2
    follower("shop", [blocked], now=NOW + timedelta(minutes=33))  # it stood by for so long: another may have told
    assert len(read) == 3


@pytest.mark.parametrize(
    ("law", "most"),
    [
        (None, None),  # too few numbers of replicas were measured
        ({"alpha": 0.0, "beta": 0.0}, None),  # each carries as much as the first
        (
            {"alpha": 0.3, "beta": 0.02, "alpha_interval": [0.0, 0.4], "beta_interval": [0.0, 0.03]},
            None,
        ),  # not for sure
        # X(N) = N / (1 + (N-1)) = 1: the second adds nothing.
        ({"alpha": 1.0, "beta": 0.0}, 1),
    ],
)
def test_a_bottleneck_counts_only_where_it_is_there_for_sure(law: dict[str, Any] | None, most: int | None) -> None:
    assert most_useful_replicas({"usl_replicas": law}) == most
    assert most_useful_replicas({}) is None
