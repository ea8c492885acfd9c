"""Tables and words as an SRE reads them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from collector.catalog import ClassicRule, Cost, Slo
from collector.slo.objectives import BURN_WINDOWS, Counts, RouteTotals, SloStatus, classic_status, status_of
from dashboard import words
from dashboard.parts import time_line, told_in_figures
from dashboard.tables.scaling import decision_table, plan_table, planned, planned_until, reasons, verdict_table
from dashboard.tables.slo import burn_table, classic_table, promise, slo_table, state, worst_first
from dashboard.tables.traffic import totals_table
from forecaster.forecast.types import Forecast
from forecaster.scaling.types import PlannedFloor
from tests.unit.forecaster_fakes import NOW, a_decision, a_stored

DAY = timedelta(days=1)
AVAILABLE = Slo("availability", "availability", 0.999, 30 * DAY)
FAST = Slo("fast", "latency", 0.95, 30 * DAY, threshold=timedelta(seconds=2), route="/search")


def a_status(slo: Slo, whole: Counts, burning: Counts | None = None) -> SloStatus:
    return status_of(slo, {**dict.fromkeys(BURN_WINDOWS, burning or whole), slo.window: whole})


def row(frame: pd.DataFrame, number: int = 0) -> dict[str, object]:
    return {str(name): value for name, value in frame.iloc[number].items()}


def test_without_requests_an_slo_has_no_data_and_no_number():
    silent = a_status(AVAILABLE, Counts(0, 0))

    told = row(slo_table([silent]))

    assert (told["state"], told["measured"], told["budget left"], told["requests"]) == (
        "○ no data",
        "no data",
        "–",
        "–",
    )
    assert set(row(burn_table([silent])).values()) == {"availability", "– / –"}


def test_an_slo_is_told_with_its_promise_its_measure_and_what_is_left():
    # 1 bad of 10,000 with 10 allowed: 99.990 %, and 90 % of the budget left.
    told = row(slo_table([a_status(AVAILABLE, Counts(10_000, 9_999))]))

    assert told["promised"] == "99.9 % over 30 d"
    assert (told["measured"], told["budget left"], told["bad"], told["state"]) == ("99.990 %", "90.0 %", "1", "● kept")


def test_a_latency_is_told_with_the_edge_it_is_counted_within():
    # floor(log2(2,000,000) * 8) = 167: 2^(167/8) us = 1.92 s.
    told = row(slo_table([a_status(FAST, Counts(10, 10))]))

    assert promise(FAST) == "95 % within 2 s over 30 d"
    assert (told["of"], told["counted within"]) == ("/search", "1.92 s")


def test_the_states_tell_burning_and_spent_apart():
    # Budget 0.1 %: 2 % bad burn at 20, above 14.4; over the whole window 0.01 % bad leave 90 %, 1 % bad overspend.
    kept, spent, burning = Counts(10_000, 9_999), Counts(10_000, 9_900), Counts(1000, 980)

    assert state(a_status(AVAILABLE, kept, burning)) == "▲ burning"
    assert state(a_status(AVAILABLE, spent, kept)) == "◆ budget spent"
    assert state(a_status(AVAILABLE, spent, burning)) == "◆ budget spent, burning"


def test_burn_rates_are_told_by_pair_and_marked_when_both_are_above():
    told = row(burn_table([a_status(AVAILABLE, Counts(10_000, 9_999), Counts(1000, 980))]))

    assert told["1 h / 5 min, burning above 14.4"] == "▲ 20.0 / 20.0"


def test_the_slo_with_the_least_budget_comes_first_and_those_without_data_last():
    good, bad = a_status(AVAILABLE, Counts(10_000, 9_999)), a_status(FAST, Counts(100, 90))
    silent = a_status(replace(AVAILABLE, name="silent"), Counts(0, 0))

    assert [status.slo.name for status in worst_first([silent, good, bad])] == ["fast", "availability", "silent"]


def test_routes_that_break_the_classic_rule_come_first_and_say_which_part():
    rule = ClassicRule(DAY, timedelta(seconds=2), 0.1)
    slow = classic_status(rule, RouteTotals("/slow", 10, 2, timedelta(seconds=30)))  # 3 s each, 20 % errors
    quick = classic_status(rule, RouteTotals("/quick", 1000, 0, timedelta(seconds=10)))
    assert slow is not None
    assert quick is not None

    table = classic_table([quick, slow], rule)

    assert row(table)["state"] == "▲ mean over 2 s, errors over 10 %"
    assert row(table, 1) == {
        "route": "/quick", "state": "● kept", "requests": "1,000", "mean response": "10 ms", "errors": "0.00 %"
    }  # fmt: skip


def test_a_decision_tells_its_change_whether_it_was_done_and_why():
    raised = a_stored(a_decision(5))
    done, failed, shown = (
        replace(raised, applied=True, error=None),
        replace(raised, applied=False, error="refused"),
        replace(raised, applied=False, error=None, decision=replace(raised.decision, mode="observe")),
    )

    table = decision_table([done, failed, shown])

    assert table["floor"].tolist() == ["▲ 2 → 5"] * 3
    assert table["done"].tolist() == ["yes", "failed: refused", "no, mode observe"]
    assert row(decision_table([replace(raised, decision=a_decision(2))]))["floor"] == "= 2"


def test_a_plan_holds_each_floor_until_the_next_and_ends_where_it_is_cut():
    hour = timedelta(hours=1)
    plan = (PlannedFloor(NOW - hour, 2, "decided now"), PlannedFloor(NOW + hour, 5, "up to 50 rps"))
    stored = a_stored(replace(a_decision(2), plan=plan))

    ahead = planned(stored, now=NOW, until=NOW + 2 * hour)

    # What was planned before now holds from now on.
    assert list(zip(ahead["ds"], ahead["replicas"], strict=True)) == [(NOW, 2), (NOW + hour, 5), (NOW + 2 * hour, 5)]
    assert plan_table(stored)["because"].tolist() == ["Decided now", "Up to 50 requests/s"]


def test_a_plan_is_drawn_no_further_than_a_lead_before_its_forecast_ends():
    ticks = pd.date_range(NOW, periods=12, freq="5min")  # one hour
    forecast = Forecast(
        "shop", NOW, "m", timedelta(minutes=5), (0.5,), pd.DataFrame({"ds": ticks, "q0.5": 1.0}), NOW, NOW
    )
    lead = timedelta(minutes=15)

    def end(ahead: Forecast | None, until: datetime) -> datetime:
        return planned_until(ahead, now=NOW, until=until, lead=lead)

    assert end(forecast, NOW + 10 * DAY) == NOW + timedelta(minutes=45)
    assert end(forecast, NOW + lead) == NOW + lead
    assert end(None, NOW + DAY) == NOW


def test_a_verdict_compares_both_branches_in_minutes_replica_hours_and_money():
    report = {
        "predictive": {"under_provisioned_seconds": 120.0, "replica_seconds": 36_000.0},
        "reactive_only": {"under_provisioned_seconds": 5460.0, "replica_seconds": 18_000.0},
    }

    table = verdict_table(report, Cost(0.1, "USD"))

    assert table.drop(columns="").to_numpy().tolist() == [["2 min", "10", "1.00 USD"], ["1 h 31 min", "5", "0.50 USD"]]
    assert verdict_table({}, None).empty


def test_totals_are_told_busiest_first_with_errors_in_percent_and_durations_in_milliseconds():
    seconds = {name: [0.1, 0.2] for name in ("mean_seconds", "p50_seconds", "p95_seconds", "p99_seconds")}
    totals = pd.DataFrame({"route": ["/a", ""], "requests": [10, 30], "errors": [1, 3], **seconds})

    table = totals_table(totals, "route", "Route")

    assert table["Route"].tolist() == ["(none)", "/a"]
    assert table["share"].tolist() == [75.0, 25.0]
    assert table["error ratio"].tolist() == [10.0, 10.0]
    assert table["p95, ms"].tolist() == [200.0, 100.0]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (words.rps(None), "–"),
        (words.rps(0.123), "0.12"),
        (words.rps(12.34), "12.3"),
        (words.rps(1234.5), "1,234"),
        (words.clock_time(None), "–"),
        (words.minutes(timedelta(minutes=59)), "59 min"),
        (words.minutes(timedelta(minutes=125)), "2 h 5 min"),
        (words.window(DAY), "24 h"),
        (words.window(3 * DAY), "3 d"),
        (words.window(timedelta(minutes=90)), "90 min"),
        (words.duration(timedelta(milliseconds=480.774)), "481 ms"),
        (words.target(0.9995), "99.95 %"),
        (words.burns(None, 0.0), "– / 0.0"),
    ],
)
def test_values_are_told_in_units_and_nothing_as_a_dash(told: str, expected: str):
    assert told == expected


def test_the_time_is_told_in_utc_and_at_the_viewers_and_how_fast_it_goes():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)

    assert time_line(noon, zone="Europe/Berlin", speed=60) == (
        "01 Jan 2026, 12:00:00 UTC · 13:00:00 your time (Europe/Berlin) · demo clock, 60 times as fast as real time"
    )
    assert time_line(noon, zone=None, speed=1) == "01 Jan 2026, 12:00:00 UTC"


def test_a_bare_time_of_day_in_a_reason_is_told_in_utc_and_at_the_viewers():
    at = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)

    told = words.with_local(
        "demand stays under 12 rps (at 00:25) until 23:55; judged at 19:05 UTC", at, "Europe/Berlin"
    )

    # 00:25 is that of the next day, 23:55 that of the same, when Berlin is past midnight already.
    assert told == (
        "demand stays under 12 rps (at 00:25 UTC · 01:25 CET) until 23:55 UTC · 23 Nov 00:55 CET; judged at 19:05 UTC"
    )
    assert words.with_local("built at 2026-11-22T10:20:30Z", at, "Europe/Berlin") == "built at 2026-11-22T10:20:30Z"


def test_what_is_covered_a_little_is_not_told_as_nothing():
    assert [words.share_of(share) for share in (None, 0.0, 0.0001, 0.5)] == ["–", "0.0 %", "under 0.1 %", "50.0 %"]


def test_columns_of_figures_are_told_from_those_of_words():
    frame = pd.DataFrame({
        "errors": ["0.1 %", "–"], "bad": ["1,204", "3"], "cost": ["4.33 USD", "1.80 USD"], "change": ["+130.0%", "–"],
        "spent in": ["18 d 1 h", "3 min"], "build": ["0.1.0", "0.1.1"], "replicas": ["7 of 7", "–"],
        "nothing": ["–", "–"], "count": [1, 2],
    })  # fmt: skip

    assert told_in_figures(frame) == ["errors", "bad", "cost", "change"]


def test_a_reason_names_its_guardrail_and_its_unit_in_words():
    reasons_of = replace(a_decision(5), reasons=("kept_at_less_risk: 5 kept at 1.3 rps", "demand stays: low"))

    assert reasons(a_stored(reasons_of)) == ["Kept at less risk: 5 kept at 1.3 requests/s", "Demand stays: low"]


def test_why_a_connection_failed_is_told_in_the_systems_words():
    long = (
        "Error HTTPConnectionPool(host='x', port=9): Max retries (Caused by New(\"x: [Errno 111] Connection refused\"))"
    )

    assert words.cause_of(long) == "Connection refused"
    assert words.cause_of("the store is full\nmore") == "the store is full"


def test_a_time_of_day_leaves_out_both_days():
    late = datetime(2026, 11, 23, 0, 2, tzinfo=UTC)

    assert words.time_of_day(late, "America/St_Johns") == "00:02 UTC · 20:32 NST"
    assert words.time_of_day(late) == "00:02 UTC"
