"""Data tier, alerts, marks, standings and the newer figures, on values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from collector.alerts.history import FiredAlert
from collector.record.sample_steps import increase_by_step
from collector.record.store import Marker
from collector.slo.history import BudgetPoint
from collector.slo.objectives import BURN_WINDOWS, Counts
from dashboard.charts.figure import Window
from dashboard.charts.forecast import event_frame, fan_frame, skill_frame
from dashboard.charts.marks import legend_of, marks_of
from dashboard.charts.slo import budget_frame, burn_frame
from dashboard.charts.traffic import heat_chart, lines_chart
from dashboard.tables.alerts import alert_table, delivery_table
from dashboard.tables.load import compared_table, run_table
from dashboard.tables.scaling import outcome_table
from dashboard.tables.standing import Standing, standing_table, worst_first
from dashboard.tables.tiers import (
    cache_table,
    delay_frame,
    hit_frame,
    silent_sources,
    statement_table,
    told_every,
)
from dashboard.words import clock_time
from forecaster.calendar.types import Event
from forecaster.forecast.types import Forecast
from forecaster.scaling.simulator.simulate import SimulationResult
from tests.unit.forecaster_fakes import NOW as DECIDED
from tests.unit.forecaster_fakes import a_decision, a_stored
from tests.unit.test_dashboard_tables import AVAILABLE, a_status

NOW = datetime(2026, 11, 22, 14, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def times(*minutes: float) -> pd.Series:
    found = pd.to_datetime(pd.Series([NOW + each * MINUTE for each in minutes]), utc=True)
    return pd.Series(found).dt.as_unit("us")


def test_a_counter_gains_what_it_rose_by_and_a_new_beginning_what_it_shows():
    steps = pd.DataFrame({"series_id": [1, 1, 1, 1, 2], "ds": times(0, 1, 2, 3, 0), "last": [10.0, 15, 4, 9, 100]})

    gained = increase_by_step(steps)

    # 10 -> 15: 5. It began anew and shows 4. 4 -> 9: 5. The other series has only a first row.
    assert gained[["series_id", "gained"]].to_numpy().tolist() == [[1, 5.0], [1, 4.0], [1, 5.0]]


def test_a_cache_is_judged_by_the_requests_that_came_to_it():
    totals = pd.DataFrame({"cache_level": ["l1", "l2", "db", "none"], "requests": [50, 30, 20, 900]})

    table = cache_table(totals)

    assert table["hit ratio"].tolist() == ["50.0 %", "60.0 %", "–"]  # 50 of 100, 30 of the 50 that are left
    assert table["came to it"].tolist() == ["100", "50", "20"]
    by_level = totals.assign(ds=times(0, 0, 0, 0))
    assert hit_frame(by_level)["value"].tolist() == [50.0, 60.0]
    assert hit_frame(by_level[by_level["cache_level"] == "none"]).empty


def test_the_slowest_statement_is_the_one_that_took_most_time_in_all():
    gained = pd.DataFrame(
        [
            (name, text, value)
            for text, calls, seconds in (("often", 1000.0, 2.0), ("slow", 10.0, 8.0), ("never", 0.0, 0.0))
            for name, value in (("pg_statement_calls_total", calls), ("pg_statement_seconds_total", seconds))
        ],
        columns=["name", "statement", "gained"],
    ).assign(server="db:5432")

    table = statement_table(gained)

    assert table["statement"].tolist() == ["slow", "often"]
    assert table["mean, ms"].tolist() == [800.0, 2.0]
    assert table["share of time"].tolist() == [80.0, 20.0]
    assert table["rows per call"].isna().all(), "nobody told of rows"


def test_a_delay_is_the_mean_of_what_a_histogram_gained():
    gained = pd.DataFrame({"ds": times(0, 0), "name": ["d_sum", "d_count"], "gained": [0.5, 10.0], "tier": "l1"})

    assert delay_frame(gained, "d", "tier")["value"].tolist() == [50.0]
    assert delay_frame(gained[:1], "d", "tier").empty


def test_a_sampler_that_did_not_answer_last_is_named():
    up = pd.DataFrame({
        "ds": times(0, 1, 0, 1), "sampler": "postgres", "source": ["a", "a", "b", "b"], "value": [1.0, 0.0, 0.0, 1.0],
    })  # fmt: skip

    assert silent_sources(up) == ["postgres at a"]
    assert told_every(pd.DataFrame({"ds": times(0, 15, 30), "what": "x"}), MINUTE) == 15 * MINUTE


def test_marks_are_what_began_in_the_range_in_order_with_shapes():
    quiet = Marker("shop", "x", NOW, NOW, "", excludes_slo=True)
    markers = [Marker("shop", "deploy", NOW - 5 * MINUTE, NOW, "v2"), quiet]
    old = [FiredAlert("a", "shop", "slow", "page", NOW - timedelta(days=2), "")]
    new = [FiredAlert("a", "shop", "slow", "page", NOW - MINUTE, "")]

    found = marks_of(markers=markers, alerts=[*old, *new], since=NOW - 10 * MINUTE, until=NOW + MINUTE)

    assert found["kind"].tolist() == ["deploy", "alert", "maintenance"]
    assert legend_of(found) == "▲ deploy · ✖ alert · ▬ maintenance"
    # Only a change of the floor that was made is a mark.
    done = marks_of(decisions=[a_stored(a_decision(5))], since=DECIDED - MINUTE, until=DECIDED + MINUTE)
    assert done["text"].tolist() == (["floor 2 → 5"] if a_stored(a_decision(5)).applied else [])


def test_the_worst_service_comes_first_and_nothing_unknown_is_a_zero():
    burning = Standing("burning", (a_status(AVAILABLE, Counts(10_000, 9_999), Counts(1000, 980)),))
    spent = Standing("spent", (a_status(AVAILABLE, Counts(10_000, 9_900), Counts(10_000, 9_999)),))
    fine = Standing("fine", (a_status(AVAILABLE, Counts(10_000, 9_999)),), rps=3.0)
    silent = Standing("silent", (a_status(AVAILABLE, Counts(0, 0)),))

    ordered = worst_first([silent, fine, spent, burning])

    assert [each.service for each in ordered] == ["burning", "spent", "fine", "silent"]
    table = standing_table(ordered)
    assert table["state"].tolist() == ["▲ 1 of 1 burning", "◆ 1 of 1 spent", "● healthy", "○ no data"]
    assert table["requests/s"].tolist() == ["–", "–", "3.00", "–"]
    assert fine.sentence().startswith("fine is healthy: 1 of 1 SLOs kept")
    assert replace(fine, alerts=2).sentence().endswith("; 2 alerts fire.")
    assert silent.sentence() == "How silent stands nobody can say: none of its SLOs has data."


def test_a_service_that_fell_silent_is_not_called_healthy_and_comes_before_those_that_are():
    fine = Standing("fine", (a_status(AVAILABLE, Counts(10_000, 9_999)),))
    silent = replace(fine, service="silent", silent_for=13 * MINUTE)

    assert silent.state() == "○ silent for 13 min"
    assert silent.sentence().startswith("No request of silent is recorded for 13 min; before: 1 of 1 SLOs kept")
    assert worst_first([fine, silent]) == [silent, fine]


def test_the_fan_is_nested_bands_and_is_averaged_over_wider_steps():
    frame = pd.DataFrame({"ds": times(0, 5), "q0.1": [1.0, 3], "q0.5": [2.0, 4], "q0.9": [3.0, 5], "q0.99": [9.0, 11]})
    forecast = Forecast("shop", NOW, "m", 5 * MINUTE, (0.1, 0.5, 0.9, 0.99), frame, NOW, NOW)

    bands = fan_frame(forecast, 5 * MINUTE)
    assert bands["level"].unique().tolist() == ["0.1 to 0.99", "0.1 to 0.9"]
    assert bands["high"].tolist() == [9.0, 11.0, 3.0, 5.0]
    assert fan_frame(forecast, 10 * MINUTE)["low"].tolist() == [2.0, 2.0]


def test_skill_over_time_needs_scores_and_events_are_cut_to_few():
    assert skill_frame([], timedelta(hours=1)).empty
    many = [Event("match", NOW + n * MINUTE, NOW + (n + 1) * MINUTE) for n in range(50)]
    assert len(event_frame(many)) == 40


def test_a_budget_over_time_is_in_percent_and_missing_where_nobody_asked():
    points = [
        BudgetPoint(NOW, Counts(100, 99), Counts(10, 9), 0.99, 0.25, 2.0),
        BudgetPoint(NOW + MINUTE, Counts(0, 0), Counts(0, 0), None, None, None),
    ]

    frame = budget_frame(points)

    assert frame["left"].iloc[0] == 25.0
    assert pd.isna(frame["left"].iloc[1])
    assert frame["bad"].tolist() == [1, 0]


def test_burn_rates_without_requests_are_not_drawn():
    assert burn_frame([a_status(AVAILABLE, Counts(0, 0))]).empty
    assert len(burn_frame([a_status(AVAILABLE, Counts(10, 9))])) == len(BURN_WINDOWS)


def test_a_heat_map_draws_a_cell_per_step_and_band_with_the_rate_beside():
    bands = pd.DataFrame({"ds": times(0), "low_ms": [8.0], "high_ms": [11.3], "requests": [600]})

    cells = heat_chart(bands, step=5 * MINUTE, window=Window(NOW, NOW + 5 * MINUTE)).data["bands"]

    assert cells["end"].iloc[0] == NOW + 5 * MINUTE


def test_a_line_breaks_where_a_step_is_missing():
    frame = pd.DataFrame({"ds": times(0, 1, 5), "what": "a", "value": [1.0, 2.0, 3.0]})

    drawn = lines_chart(frame, title="x", step=MINUTE, window=Window(NOW, NOW + 5 * MINUTE)).data["lines"]

    assert drawn["value"].isna().tolist() == [False, False, True, False]


def test_with_us_and_without_us_count_the_same_demand():
    needed = pd.DataFrame({"ds": times(0, 5, 10), "replicas": [1.5, 2.5, 2.0]})
    states = pd.DataFrame({"ts": times(0), "ready": [2], "current": [3]})
    alone = SimulationResult(pd.DataFrame(), 600.0, 7200.0)

    table = outcome_table(needed, states, alone, step=5 * MINUTE, cost=None)

    # 2.5 were needed for one step of 5 minutes, 2 were ready; 3 steps of 3 replicas are 45 replica-minutes.
    assert table.to_numpy().tolist() == [["with us", "5 min", "0.8"], ["without us", "10 min", "2.0"]]
    assert outcome_table(needed, states, None, step=MINUTE, cost=None).empty


def test_two_runs_are_compared_where_both_say_something():
    before = {"sent": 100, "failed": 1, "rps": 10.0, "response_ms": {"p95": 200.0}}
    after = {"sent": 100, "failed": None, "rps": 10.0, "response_ms": {"p95": 250.0}}

    table = compared_table(before, after, ("before", "after")).set_index("")

    assert table.loc["p95, ms", "change"] == "+25.0%"
    assert table.loc["failed, %"].tolist() == ["1.000", "–", "–"]
    run = {"started_at": NOW.isoformat(), "scenario": "s", "run_id": "r", "summary": {"verdict": {"status": "invalid"}}}
    assert run_table([run])["verdict"].tolist() == ["○ invalid"]


def test_an_alert_tells_who_knows_and_a_message_what_came_back():
    document = {
        "alert_id": "a", "phase": "firing", "severity": "page", "service": "shop", "name": "slow", "frozen": True,
        "started_at": NOW.isoformat(), "fired_at": NOW.isoformat(), "ended_at": None, "notifications": 2,
        "acknowledged_by": "ana", "silenced": False, "summary": "burns",
    }  # fmt: skip

    (row,) = alert_table([document], now=NOW + 90 * MINUTE).to_dict("records")

    assert (row["state"], row["for"], row["notes"]) == (
        "▲ firing", "1 h 30 min", "acknowledged by ana, frozen: its data is missing",
    )  # fmt: skip
    sent = {
        "state": "waiting", "receiver": "chat", "created_at": NOW.timestamp(), "next_at": NOW.timestamp() + 300,
        "attempts": 1, "last_status": None, "last_detail": "timed out", "message_id": "m",
    }  # fmt: skip
    (told,) = delivery_table([sent]).to_dict("records")
    assert (told["answer"], told["next"]) == ("no answer timed out", "22 Nov 14:25 UTC")


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        (None, "22 Nov 14:20 UTC"),
        ("UTC", "22 Nov 14:20 UTC"),
        ("Europe/Berlin", "22 Nov 14:20 UTC · 15:20 CET"),
        ("Pacific/Auckland", "22 Nov 14:20 UTC · 23 Nov 03:20 NZDT"),
    ],
)
def test_a_time_is_told_in_utc_and_in_the_viewers_zone(zone: str | None, told: str):
    assert clock_time(NOW, zone) == told
