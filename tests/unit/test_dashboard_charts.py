"""Figures are tested on the values they draw."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from dashboard import charts
from dashboard.context import step_for
from dashboard.parts import clock_time, minutes, rps

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def times(count: int) -> pd.DatetimeIndex:
    return pd.date_range(T0, periods=count, freq=MINUTE)


def demand(*rates: float) -> pd.DataFrame:
    return pd.DataFrame({"ds": times(len(rates)), "rps": rates})


def band(count: int) -> pd.DataFrame:
    return pd.DataFrame({"ds": times(count), "q0.1": 1.0, "q0.5": 2.0, "q0.95": 3.0})


def states(*capacities: float | None) -> pd.DataFrame:
    return pd.DataFrame(
        {"ts": times(len(capacities)), "floor": 2, "ready": 3, "desired": 4, "capacity_rps": capacities}
    )


def test_needed_replicas_are_demand_over_the_capacity_known_at_the_time():
    # 30 rps at 10 each need 3; then 30 at 15 each need 2.
    needed = charts.needed_replicas(states(10.0, 15.0), demand(30, 30))

    assert needed["replicas"].tolist() == [3.0, 2.0]


def test_unknown_capacity_draws_no_need_instead_of_zero():
    assert charts.needed_replicas(states(None), demand(30)).empty


def test_the_demand_figure_layers_both_bands_the_line_and_the_present():
    figure = charts.demand_chart(demand(1, 2), band(2), band(3), now=T0)

    marks = [layer["mark"]["type"] for layer in figure.to_dict()["layer"]]
    assert marks == ["area", "line", "area", "line", "line", "rule"]


def test_without_a_forecast_the_demand_is_drawn_alone():
    figure = charts.demand_chart(demand(1, 2), pd.DataFrame(), pd.DataFrame(), now=T0)

    assert [layer["mark"]["type"] for layer in figure.to_dict()["layer"]] == ["line", "rule"]


def test_the_replica_figure_holds_floor_ready_and_desired_as_steps():
    figure = charts.replica_chart(states(None, None), demand(1, 2)).to_dict()

    rows = next(iter(figure["datasets"].values()))
    assert {(row["what"], row["replicas"]) for row in rows} == {("floor", 2), ("ready", 3), ("desired", 4)}


def test_latencies_are_drawn_in_milliseconds_with_the_objective_as_a_line():
    red = pd.DataFrame({"ds": times(1), "p50_seconds": 0.1, "p95_seconds": 0.2, "p99_seconds": 0.4})

    figure = charts.latency_chart(red, objective_seconds=0.5).to_dict()

    drawn = [row["ms"] for data in figure["datasets"].values() for row in data]
    assert sorted(drawn) == pytest.approx([100, 200, 400, 500])


@pytest.mark.parametrize(
    ("span", "step"),
    [
        (timedelta(hours=1), MINUTE),  # 60 points
        (timedelta(hours=9), 5 * MINUTE),  # 540 minutes would be above 500 points
        (timedelta(days=7), timedelta(hours=1)),  # 672 quarters of an hour would be
        (timedelta(days=30), timedelta(hours=6)),
    ],
)
def test_the_step_keeps_a_curve_under_five_hundred_points(span: timedelta, step: timedelta):
    assert step_for(span) == step


def test_what_is_not_known_is_a_dash():
    assert (rps(None), clock_time(None)) == ("–", "–")


def test_spans_are_told_in_hours_and_minutes():
    assert (minutes(timedelta(minutes=59)), minutes(timedelta(minutes=125))) == ("59 min", "2 h 5 min")
