"""The policies of a backtest: none looks ahead, each is what it is called; and the answer's JSON, to the letter."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from forecaster.commands import mount
from forecaster.forecast.interface import Model
from forecaster.forecast.members import MODELS
from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.judging.check import BacktestRequest, scaling_for_peak
from forecaster.judging.report import contest_json, field_from_csv, front
from forecaster.scaling.backtest import contest
from forecaster.scaling.backtest.contest import chosen, hold
from forecaster.scaling.backtest.field import BacktestError, Field, game_of
from forecaster.scaling.backtest.hands import dealt
from forecaster.scaling.backtest.net import learnt_nets
from forecaster.scaling.backtest.policies.interface import Game, highest_ahead, with_margin
from forecaster.scaling.backtest.policies.simple import fixed_max, oracle, seasonal_naive
from forecaster.scaling.backtest.rolling import LEVELS, RollingForecasts, horizons_for, origins_of, roll
from forecaster.scaling.capacity import declared_capacity, reactive_spec
from forecaster.settings import Settings

START = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=30)
DAY = 48
PROFILE: Model = MODELS["profile"]()
ENTRY_KEYS = [
    "name",
    "setting",
    "under_provisioned_minutes",
    "minutes",
    "replica_hours",
    "unserved_ratio",
    "scale_events",
]
FEW = {name: settings[-2:] for name, settings in contest.SETTINGS.items()}


def series_of(days: int, *, seed: int = 1) -> DemandSeries:
    index = np.arange(days * DAY)
    day = 60 - 40 * np.cos(index / DAY * 2 * np.pi)
    values = day * np.random.default_rng(seed).lognormal(0, 0.1, len(index))
    starts = pd.to_datetime(START.timestamp() + STEP.total_seconds() * index, unit="s", utc=True)
    return DemandSeries("shop", STEP, pd.DataFrame({"ds": starts, "y": values}))


def field_of(series: DemandSeries, *, first_day: int, days: int) -> Field:
    scaling = scaling_for_peak("shop", peak_rps=120.0, peak_replicas=20)  # 6 rps each
    window = (START + timedelta(days=first_day), START + timedelta(days=first_day + days))
    return Field(
        series=series,
        met=series.frame.rename(columns={"y": "rps"}),
        window=window,
        scaling=scaling,
        capacity=declared_capacity(scaling, speed=1.0),
        spec=reactive_spec(scaling, speed=1.0),
        start_delay=timedelta(minutes=2),
        refresh=timedelta(minutes=5),
    )


def forecasts_for(ground: Field) -> RollingForecasts:
    return roll(
        ground.series,
        origins=origins_of(ground.series, window=ground.window, refresh=ground.refresh, before=timedelta(days=2)),
        horizons=horizons_for(ground.series, ground.scaling, ground.refresh, ground.data_delay),
        model=PROFILE,
    )


@pytest.fixture(scope="module")
def ground() -> Field:
    return field_of(series_of(18), first_day=16, days=1)


@pytest.fixture(scope="module")
def forecasts(ground: Field) -> RollingForecasts:
    return forecasts_for(ground)


def test_no_policy_but_the_oracle_sees_what_comes_after_an_instant(ground: Field, forecasts: RollingForecasts) -> None:
    cut = 16 * DAY + 20
    frame = ground.series.frame.copy()
    frame.loc[frame.index[cut:], "y"] = frame["y"].to_numpy()[cut:][::-1] * 3
    other = dataclasses.replace(
        ground,
        series=DemandSeries("shop", STEP, frame),
        met=frame.rename(columns={"y": "rps"}),
    )
    game, changed = game_of(ground), game_of(other)
    known = game.seen <= cut
    assert 0 < known.sum() < len(known)
    for name in contest.SETTINGS:
        if name in ("tidegauge", "hpa"):
            continue
        made = [contest._table(name, one, FEW[name], forecasts)[known] for one in (game, changed)]
        if name == "oracle":
            assert not (made[0] == made[1]).all()  # it alone does: the test would notice
        else:
            assert (made[0] == made[1]).all(), name
    again = forecasts_for(other)
    seen = again.origins <= START.timestamp() + cut * STEP.total_seconds()
    np.testing.assert_array_equal(again.values[seen], forecasts.values[seen])
    assert not np.array_equal(again.values, forecasts.values)


def game(values: list[float], *, seen: list[int], ahead: int = 2) -> Game:
    array = np.array(values)
    return Game(
        values=array,
        highest=array,
        start=0,
        step_seconds=1800,
        seen=np.array(seen),
        at=1800.0 * np.array(seen),
        ahead_steps=ahead,
        capacity_rps=10.0,
        floor=1,
        ceiling=9,
    )


def test_last_week_is_what_seasonal_naive_repeats() -> None:
    week = 7 * DAY
    values = [10.0] * (week + 10)
    values[5] = 45.0
    # at step 7 * 48 + 4 it looks at last week's steps 4 and 5: 45 rps are 5 replicas of 10; after them 10 rps are 1
    floors = seasonal_naive(game(values, seen=[week + 4, week + 5, week + 6]), [0.5])
    assert floors.tolist() == [[5], [5], [1]]


def test_a_margin_is_the_quantile_of_how_forecasts_were_missed_before() -> None:
    # forecasts say 10 and 20 comes, always: every quantile of truth / forecast is 2 (but for the offset near zero)
    values = [20.0] * 400
    floors = with_margin(game(values, seen=[300, 301]), np.full(400, 10.0), [0.5, 0.99], ahead_steps=1)
    assert floors.tolist() == [[2, 2], [2, 2]]


def test_a_fixed_number_carries_its_share_of_the_time_before() -> None:
    # 0..99 rps before the window, which is far higher: the median 49.5 rps need 5, the peak 99 rps the ceiling of 9
    floors = fixed_max(game([*map(float, range(100)), 500.0], seen=[100]), [0.5, 1.0])
    assert floors.tolist() == [[5, 9]]


def test_the_oracle_needs_what_comes_until_the_next_raise_and_forgoes_the_highest() -> None:
    floors = oracle(game([10, 30, 20, 10, 10, 10], seen=[0, 1, 2, 3]), [0.0, 0.5])
    # the highest of two steps: 30, 30, 20, 10; half of the time may go without: the lower median of 3, 3, 2, 1 is 2
    assert floors[:, 0].tolist() == [3, 3, 2, 1]
    assert floors[:, 1].max() == 2


def test_the_highest_ahead_is_of_so_many_steps() -> None:
    assert highest_ahead(np.array([1.0, 5.0, 2.0, 3.0]), np.array([0, 2, 3]), 2).tolist() == [5.0, 3.0, 3.0]


def test_a_contest_gives_the_same_answer_whatever_the_number_of_lanes(
    ground: Field, forecasts: RollingForecasts
) -> None:
    whole = hold(ground, forecasts, settings=FEW)
    alone = hold(ground, forecasts, policies=("tidegauge", "mean"), settings=FEW)
    for entry in alone.entries:
        assert entry.toll in [one.toll for one in whole.of(entry.name) if one.setting == entry.setting]
    # what a replica carries is 6 rps, and a day has 1,440 minutes
    assert whole.capacity_rps == pytest.approx(6.0)
    assert {entry.toll.minutes for entry in whole.entries} == {1440.0}
    oracle_toll = whole.of("oracle")[0]
    assert oracle_toll.toll.under_provisioned_minutes <= whole.of("hpa")[0].toll.under_provisioned_minutes
    hands = dealt(tuple(FEW), FEW, 2)
    assert sorted((name, one) for hand in hands for name, of in hand.items() for one in of) == sorted(
        (name, one) for name, of in FEW.items() for one in of
    )


def test_the_json_is_as_documented(ground: Field, forecasts: RollingForecasts) -> None:
    answer = contest_json(hold(ground, forecasts, settings=FEW))
    assert list(answer) == ["series", "step_seconds", "window", "capacity_rps", "policies"]
    assert (answer["series"], answer["step_seconds"]) == ("shop", 1800)
    assert answer["window"] == {"from": "2026-03-18T00:00:00Z", "to": "2026-03-19T00:00:00Z"}
    assert [one["name"] for one in answer["policies"][::2]] == (
        ["tidegauge", "hpa", "hpa_cron", "seasonal_naive", "holt_winters", "fft", "mean", "fixed_max", "oracle"]
    )
    for one in answer["policies"]:
        assert list(one) == ENTRY_KEYS
    json.dumps(answer, allow_nan=False)
    page = Path("docs/policy-backtest.md").read_text(encoding="utf-8")
    for key in (*answer, *answer["policies"][0], *answer["window"]):
        assert f"`{key}`" in page
    for name in contest.SETTINGS:
        assert f"`{name}`" in page


def test_a_risk_curve_holds_no_setting_that_another_beats_in_both(ground: Field, forecasts: RollingForecasts) -> None:
    curve = front(hold(ground, forecasts, policies=("hpa",)).of("hpa"))
    hours = [one.toll.replica_hours for one in curve]
    minutes = [one.toll.under_provisioned_minutes for one in curve]
    assert hours == sorted(hours)
    assert minutes == sorted(minutes, reverse=True)
    assert len(set(minutes)) == len(minutes)


def test_forecasts_are_kept_and_read_again_and_made_anew_for_another_past(ground: Field, tmp_path: Path) -> None:
    origins = origins_of(ground.series, window=ground.window, refresh=timedelta(hours=6))
    first = roll(ground.series, origins=origins, horizons=3, model=PROFILE, kept=tmp_path)
    again = roll(ground.series, origins=origins, horizons=3, model=PROFILE, kept=tmp_path)
    assert first.fit_seconds > 0
    assert again.fit_seconds == 0
    np.testing.assert_array_equal(first.values, again.values)
    roll(series_of(18, seed=2), origins=origins, horizons=3, model=PROFILE, kept=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    forecast_from = again.by_origin()
    answer = forecast_from(datetime.fromtimestamp(int(origins[1]), UTC))
    assert isinstance(answer, Forecast)
    assert answer.quantiles == LEVELS
    assert answer.frame["ds"].iloc[0] == answer.origin
    np.testing.assert_array_equal(answer.frame[[f"q{level:g}" for level in LEVELS]], first.values[1])
    with pytest.raises(ValueError, match="none was made"):
        forecast_from(ground.window[0] + STEP)


def test_what_is_known_later_is_forecast_from_an_earlier_origin(ground: Field) -> None:
    at_once = origins_of(ground.series, window=ground.window, refresh=STEP)
    later = origins_of(ground.series, window=ground.window, refresh=STEP, data_delay=timedelta(seconds=90))
    assert at_once[0] == ground.window[0].timestamp()
    assert later[0] == at_once[0] - STEP.total_seconds()
    warm = origins_of(ground.series, window=ground.window, refresh=STEP, before=timedelta(hours=2))
    assert warm[0] == at_once[0] - 7200


def test_an_unknown_policy_is_refused_by_name() -> None:
    assert chosen("hpa, tidegauge") == ("tidegauge", "hpa")
    with pytest.raises(BacktestError, match=r"expected some of tidegauge, hpa.*got magic"):
        chosen("hpa,magic")


def test_a_minute_file_is_met_by_the_minute_and_forecast_by_five(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    rows = [f"{START + timedelta(minutes=index):%Y-%m-%dT%H:%M:%SZ},{600 + index % 7}" for index in range(6 * 60)]
    path.write_text("\n".join(["timestamp,value", *rows]))
    ground = field_from_csv(path, peak_replicas=20, request=BacktestRequest(Settings()))
    assert ground.series.step == timedelta(minutes=5)
    assert len(ground.met) == 360
    # the peak is 606 in a minute, 10.1 requests/s, and 20 replicas carry it
    assert ground.capacity.low_rps == pytest.approx(606 / 60 / 20)
    assert ground.window == (START + timedelta(hours=4), START + timedelta(hours=6))


def test_the_command_answers_with_json_a_table_and_a_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGAUGE_DATA", str(tmp_path / "data"))
    path = tmp_path / "shop.csv"
    frame = series_of(9).frame.iloc[::2]  # by the hour
    rows = [f"{ds:%Y-%m-%dT%H:%M:%SZ},{y:.1f}" for ds, y in zip(frame["ds"], frame["y"], strict=True)]
    path.write_text("\n".join(["timestamp,value", *rows]))
    app = typer.Typer()
    mount(app)
    asked = ["backtest", "policy", "--csv", str(path), "--window", "6h", "--processes", "1"]
    drawing = tmp_path / "c.svg"
    result = CliRunner().invoke(app, [*asked, "--policy", "tidegauge,hpa", "--json", "--chart", str(drawing)])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert {one["name"] for one in answer["policies"]} == {"tidegauge", "hpa"}
    assert answer["window"] == {"from": "2026-03-10T18:00:00Z", "to": "2026-03-11T00:00:00Z"}
    assert "hpa</text>" in drawing.read_text()
    table = CliRunner().invoke(app, [*asked, "--policy", "hpa,oracle"])
    assert "oracle" in table.stdout
    refused = CliRunner().invoke(app, [*asked, "--policy", "magic"])
    assert refused.exit_code == 2
    assert "--policy: expected some of" in refused.stderr


def test_the_net_is_learnt_before_the_window_and_keeps_more_headroom_against_bursts(ground: Field) -> None:
    low = ground.capacity.low_rps
    calm, followed = learnt_nets(ground)
    assert calm.at(0.01) <= calm.at(0.15)
    assert followed.at(0.01) == calm.at(0.01)
    assert followed.at(0.05) >= calm.at(0.05)  # a floor that follows carries a part of what the autoscaler would not
    after = ground.met["ds"] >= ground.window[0]
    other = dataclasses.replace(ground, met=ground.met.assign(rps=ground.met["rps"].where(~after, 1.0)))
    assert learnt_nets(other)[0] == calm  # what came later is not known
    bursts = ground.met["rps"].where(np.arange(len(ground.met)) % 2 == 0, 6.0)  # up and down by the half hour
    wild, _ = learnt_nets(dataclasses.replace(ground, met=ground.met.assign(rps=bursts)))
    assert wild.at(0.02) == pytest.approx(0.85 * low)
    assert calm.at(0.02) > wild.at(0.02)
    nothing = dataclasses.replace(ground, met=ground.met[after])
    assert learnt_nets(nothing)[0].at(0.05) == pytest.approx(0.85 * low)
