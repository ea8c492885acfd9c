"""Figures are tested on the values they draw."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from collector.catalog import Service
from dashboard.charts import scaling as charts
from dashboard.charts import slo as charts_slo
from dashboard.charts import traffic as charts_traffic
from dashboard.charts.figure import Figure, Window, legend_columns, with_gaps
from dashboard.charts.load import run_users_chart
from dashboard.context import view_at
from dashboard.timerange import TimeRange, step_for

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = Window(since=T0, now=T0 + 10 * MINUTE)


def times(*at: int) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series([T0 + minute * MINUTE for minute in at]), utc=True)).dt.as_unit("us")


def demand(*rates: float) -> pd.DataFrame:
    return pd.DataFrame({"ds": times(*range(len(rates))), "rps": rates})


def forecast(count: int, **levels: float) -> pd.DataFrame:
    levels = levels or {"q0.1": 1.0, "q0.5": 2.0, "q0.95": 3.0}
    return pd.DataFrame({"ds": times(*range(count)), **levels})


def states(*capacities: float | None, minutes: list[int] | None = None) -> pd.DataFrame:
    at = times(*(minutes or range(len(capacities))))
    return pd.DataFrame({"ts": at, "floor": 2, "ready": 3, "desired": 4, "capacity_rps": capacities})


def drawn(figure: Figure, name: str) -> pd.DataFrame:
    return figure.data[name]


def marks(figure: Figure) -> list[str]:
    return [layer["mark"]["type"] for layer in figure.spec()["layer"]]


def the_demand_chart(
    rates: pd.DataFrame, *, known: pd.DataFrame | None = None, ahead: pd.DataFrame | None = None,
    minutes: pd.DataFrame | None = None,
) -> Figure:  # fmt: skip
    none = charts.band_of(pd.DataFrame(), quantile=0.95)
    return charts.demand_chart(
        rates,
        minutes=pd.DataFrame() if minutes is None else minutes,
        known=none if known is None else known,
        ahead=none if ahead is None else ahead,
        step=MINUTE,
        window=WINDOW,
    )


def test_needed_replicas_are_demand_over_the_capacity_known_at_the_time():
    # 30 rps at 10 each need 3; then 30 at 15 each need 2.
    needed = charts.needed_replicas(states(10.0, 15.0), demand(30, 30), step=MINUTE)

    assert needed["replicas"].tolist() == [3.0, 2.0]


def test_unknown_capacity_draws_no_need_instead_of_zero():
    assert charts.needed_replicas(states(None), demand(30), step=MINUTE).empty


def test_the_demand_figure_layers_both_bands_the_dots_the_line_and_the_present():
    band = charts.band_of(forecast(2), quantile=0.95)

    figure = the_demand_chart(demand(1, 2), known=band, ahead=band, minutes=demand(1, 2))

    assert marks(figure) == ["point", "area", "line", "area", "line", "circle", "line", "rule"]
    assert drawn(figure, "present")["ds"].tolist() == [pd.Timestamp(WINDOW.now)]


def test_without_a_forecast_the_demand_is_drawn_alone():
    assert marks(the_demand_chart(demand(1, 2))) == ["point", "line", "rule"]


def test_new_rows_change_the_data_of_a_figure_and_nothing_of_its_drawing():
    def drawing(figure: Figure) -> dict[str, Any]:
        return {key: value for key, value in figure.spec().items() if key != "datasets"}

    assert drawing(the_demand_chart(demand(1, 2))) == drawing(the_demand_chart(demand(5, 6, 7)))


def test_the_band_is_the_lowest_level_the_median_and_the_level_that_scaling_asks_for():
    band = charts.band_of(forecast(1, **{"q0.05": 1.0, "q0.5": 2.0, "q0.9": 3.0, "q0.99": 9.0}), quantile=0.9)

    assert band[["low", "mid", "high"]].iloc[0].tolist() == [1.0, 2.0, 3.0]


def test_the_highest_level_stands_in_when_none_reaches_what_scaling_asks_for():
    assert charts.quantile_levels(forecast(1, **{"q0.1": 1.0, "q0.5": 2.0}), quantile=0.95) == (0.1, 0.5, 0.5)


def test_a_forecast_without_rows_is_no_band():
    assert charts.band_of(pd.DataFrame(), quantile=0.95).empty


def test_a_band_is_averaged_over_the_wider_step_of_the_demand_beside_it():
    # Minutes 0..3 with highs 1, 3, 5, 7: per two minutes 2 and 6.
    band = pd.DataFrame({"ds": times(0, 1, 2, 3), "low": 0.0, "mid": 0.5, "high": [1.0, 3.0, 5.0, 7.0]})

    assert charts.per_step(band, 2 * MINUTE)["high"].tolist() == [2.0, 6.0]


def test_a_missing_step_breaks_the_line_and_a_whole_series_is_left_as_it_is():
    rows = pd.DataFrame({"ds": times(0, 1, 4), "rps": [1.0, 1.0, 1.0]})

    broken = with_gaps(rows, MINUTE)

    assert broken["ds"].tolist() == times(0, 1, 2, 4).tolist()
    assert broken["rps"].isna().tolist() == [False, False, True, False]
    assert with_gaps(rows.iloc[:2], MINUTE)["ds"].tolist() == times(0, 1).tolist()


def test_gaps_are_looked_for_in_each_series_of_its_own():
    rows = pd.DataFrame({"ds": times(0, 0, 1, 2), "route": ["/a", "/b", "/b", "/a"], "ms": 1.0})

    broken = with_gaps(rows, MINUTE, by="route")

    assert broken.loc[broken["ms"].isna(), ["ds", "route"]].to_numpy().tolist() == [[times(1)[0], "/a"]]


def test_the_replica_figure_holds_the_last_state_until_now():
    figure = charts.replica_chart(states(None), pd.DataFrame(), pd.DataFrame(), window=WINDOW)

    rows = drawn(figure, "states")
    assert rows.loc[rows["what"] == "ready", "ds"].tolist() == [pd.Timestamp(T0), pd.Timestamp(WINDOW.now)]
    assert dict(zip(rows["what"], rows["replicas"], strict=True)) == {"floor": 2, "ready": 3, "desired": 4}


def test_the_replica_figure_is_empty_where_nobody_looked():
    # Looked at minutes 0, 1, 2 and 31: what was between is not known, nor what is now, 29 minutes after the last look.
    seen = states(None, None, None, None, minutes=[0, 1, 2, 31])

    window = Window(since=T0, now=T0 + 60 * MINUTE)
    rows = drawn(charts.replica_chart(seen, pd.DataFrame(), pd.DataFrame(), window=window), "states")

    ready = rows[rows["what"] == "ready"]
    assert ready["ds"].tolist() == times(0, 1, 2, 3, 31).tolist()
    assert ready["replicas"].isna().tolist() == [False, False, False, True, False]


def test_latencies_are_drawn_in_milliseconds():
    red = pd.DataFrame({"ds": times(0), "p50_seconds": 0.1, "p95_seconds": 0.2, "p99_seconds": 0.4})

    figure = charts_traffic.latency_chart(red, step=MINUTE, window=WINDOW)

    assert drawn(figure, "latency")["ms"].tolist() == pytest.approx([100, 200, 400])


def by_route(**requests: int) -> pd.DataFrame:
    names = list(requests)
    counts = list(requests.values())
    rates = [count / 60 for count in counts]
    return pd.DataFrame({"ds": times(*[0] * len(names)), "route": names, "requests": counts, "rps": rates})


def test_rates_are_stacked_with_the_busiest_at_the_bottom():
    bars = drawn(charts_traffic.rate_chart(by_route(a=60, b=120), by="route", step=MINUTE, window=WINDOW), "rate")

    # 120 requests in a minute are 2/s: b from 0 to 2, a from 2 to 3.
    assert bars[["what", "bottom", "top"]].to_numpy().tolist() == [["b", 0.0, 2.0], ["a", 2.0, 3.0]]


def test_more_values_than_colours_are_drawn_together_as_other():
    red = by_route(**{f"r{number}": 100 - number for number in range(10)})

    bars = drawn(charts_traffic.rate_chart(red, by="route", step=MINUTE, window=WINDOW), "rate")

    assert bars["what"].tolist() == ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "other"]
    assert bars["rps"].iloc[-1] == pytest.approx((93 + 92 + 91) / 60)


def test_the_sli_is_drawn_in_percent_with_its_target_and_a_gap_where_nobody_asked():
    series = pd.DataFrame({"ds": times(0, 2), "valid": [10, 20], "good": [9, 20], "sli": [0.9, 1.0]})

    figure = charts_slo.sli_chart(series, target=0.95, step=MINUTE, window=WINDOW)

    rows = drawn(figure, "sli")
    assert rows["percent"].isna().tolist() == [False, True, False]
    assert rows["percent"].dropna().tolist() == pytest.approx([90, 100])
    assert drawn(figure, "target")["percent"].tolist() == pytest.approx([95])


def test_a_tooltip_tells_its_time_in_utc():
    rows = the_demand_chart(demand(1)).spec()["datasets"]["demand"]

    assert rows["time"].tolist() == ["01 Jan 00:00 UTC"]


@pytest.mark.parametrize(
    ("span", "step"),
    [
        (timedelta(hours=1), MINUTE),  # 60 points
        (timedelta(hours=9), 5 * MINUTE),  # 540 minutes would be above 500 points
        (timedelta(hours=71), 15 * MINUTE),  # 852 steps of five minutes would be
        (timedelta(days=4), timedelta(hours=1)),  # 384 quarters of an hour would fit, but whole hours are read faster
        (timedelta(days=7), timedelta(hours=1)),  # 672 quarters of an hour would be
        (timedelta(days=30), timedelta(hours=2)),  # 720 hours would be
    ],
)
def test_the_step_keeps_a_curve_under_five_hundred_points(span: timedelta, step: timedelta):
    assert step_for(span) == step


def test_a_view_ends_with_a_step_that_is_whole_in_the_record():
    service = Service("shop", "", "events", "UTC", (), None, None, None, None)
    now = T0 + timedelta(hours=12, minutes=5, seconds=2)

    # Settled is what is 3 s old: 12:04:59 in real time, and 3 min old, 12:02:02, on a clock 60 times as fast.
    real = view_at(service, TimeRange("9 h"), now=now, speed=1)
    demo = view_at(service, TimeRange("1 h"), now=now, speed=60)

    assert (real.since, real.until, real.minute) == (
        T0 + timedelta(hours=3),
        T0 + timedelta(hours=12),
        T0 + timedelta(hours=12, minutes=4),
    )
    assert demo.until == T0 + timedelta(hours=12, minutes=2)


def test_a_legend_has_as_many_columns_as_its_longest_name_leaves_room_for():
    # 440 pixels; a name takes 34 and 6.5 a letter: 4 x (34 + 19.5), 2 x (34 + 169), 1 x (34 + 260).
    assert legend_columns(["p50", "p95", "p99"]) == 4
    assert legend_columns(["/api/users/me", "/api/flights/{flight_id}.."]) == 2
    assert legend_columns(["x" * 80]) == 1


def test_users_of_a_run_are_drawn_where_somebody_counted_them_and_never_as_zero():
    ds = pd.to_datetime([0, 5, 10], unit="s", utc=True)

    drawn = run_users_chart(pd.DataFrame({"ds": ds, "users": [2.0, None, 9.0]}))

    assert drawn is not None
    assert drawn.data["users"]["users"].tolist() == [2.0, 9.0]
    assert run_users_chart(pd.DataFrame({"ds": ds, "users": [None] * 3})) is None
