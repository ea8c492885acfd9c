"""Scores and the lease on a real store: what is stored, bit by bit what a backtest computes."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from collector.catalog.calendar import CalendarEntry, CalendarSource
from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.record import store as record
from collector.record.runs import Marker
from collector.sources.files import import_series, parse_csv
from forecaster import store
from forecaster.actuators.memory import MemoryCluster
from forecaster.answers import Question, answer_from_record
from forecaster.calendar.demand import forecast_with_calendar
from forecaster.calendar.reader import FeedTexts
from forecaster.commands import mount
from forecaster.forecast.demand import clean_series
from forecaster.forecast.models import LearntHours, forecast_demand
from forecaster.forecast.types import Forecast, NoForecast
from forecaster.history import read_history
from forecaster.loop.drift_alert import AlertsUnavailableError, DriftAlert
from forecaster.loop.leadership import Lease
from forecaster.loop.tick import Memory, World, quantiles_for, refresh_once
from forecaster.scores.adapting import asked_levels
from forecaster.scores.drift import Drift
from forecaster.scores.score import BUCKETS, Score, score_forecast
from forecaster.scores.score_store import read_forecasts_after, read_scored_until, read_scores, write_scores
from forecaster.scores.scoring import rescore_once, score_once
from forecaster.settings import Settings
from tests.integration.store_fixtures import shared_store_url
from tests.unit.forecaster_fakes import HPA, SERVICE
from tidegauge.clock import Clock

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

STEP = timedelta(minutes=5)
NOW = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=3)
SETTINGS = Settings(horizon=timedelta(hours=3))
CONFIG = """\
version: 1
services:
  shop:
    source: import
    scaling:
      target: {kind: local, name: app}
      mode: act
      min_replicas: 2
      max_replicas: 20
      capacity_rps: [12, 14]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {target_rps_per_replica: 10}
"""


@pytest.fixture
def client(shared_store_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=shared_store_url, database="t_" + request.node.name.split("[")[0][:40]))
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    yield client
    client.close()


def import_noise(client: Client, *, until: datetime, days: int = 24) -> None:
    """A daily wave of 20 to 60 requests/s with noise, so that no two figures agree by chance."""
    start = NOW - timedelta(days=days)
    count = (until - start) // STEP
    noise = np.random.default_rng(5).normal(1, 0.1, count)
    rps = (40 + 20 * np.sin(2 * np.pi * np.arange(count) * 300 / 86400)) * noise
    rows = (f"{start + index * STEP:%Y-%m-%dT%H:%M:%SZ},{value * 300}" for index, value in enumerate(rps))
    import_series(client, "shop", parse_csv("\n".join(["timestamp,value", *rows])), source="file", now=until)


def world_at(client: Client, now: datetime) -> World:
    return World(client, Clock(read_real=lambda: now.timestamp()), MemoryCluster({"app": HPA}), SETTINGS)


def live_for(client: Client, *, hours: int) -> None:
    """Forecast every 20 minutes, as the platform would: with what it kept in memory and only what was there then."""
    memory = Memory()
    for index in range(hours * 3):
        refresh_once(world_at(client, NOW + index * 4 * STEP), SERVICE, memory)


def score_at(client: Client, now: datetime) -> int:
    return score_once(client, SERVICE, clock=Clock(read_real=lambda: now.timestamp()), settings=SETTINGS)


def test_what_is_stored_is_what_a_backtest_computes_from_the_record_bit_by_bit(client: Client) -> None:
    import_noise(client, until=NOW + timedelta(hours=6))
    live_for(client, hours=3)
    score_at(client, NOW + timedelta(hours=6))

    rows = read_history(client, "shop", since=NOW - timedelta(days=24), until=NOW + timedelta(hours=6), step=STEP)
    series = clean_series("shop", rows, step=STEP)
    stored = read_forecasts_after(
        client, "shop", after=None, until=NOW + timedelta(hours=6), reach=SETTINGS.horizon, most=100
    )
    levels = quantiles_for(SETTINGS, SERVICE.scaling)
    assert len(stored) == 9
    learnt = LearntHours()
    for forecast in stored:
        again = forecast_demand(
            series, origin=forecast.origin, horizon=SETTINGS.horizon, quantiles=levels, learnt=learnt
        )
        assert isinstance(again, Forecast)
        assert (
            again.frame.drop(columns="ds").to_numpy().tobytes()
            == forecast.frame.drop(columns="ds").to_numpy().tobytes()
        )
        assert (again.model, again.quantiles, again.watermark) == (
            forecast.model,
            forecast.quantiles,
            forecast.watermark,
        )
    scores = read_scores(client, "shop", since=NOW - STEP, until=NOW + timedelta(hours=6))
    near = [score for score in scores if score.bucket == "1h"]
    assert near == [score_forecast(forecast, series, BUCKETS[0]) for forecast in stored]
    assert all(score.points == 12 for score in near)


def test_scoring_goes_on_from_its_watermark_and_a_repetition_adds_nothing(client: Client) -> None:
    import_noise(client, until=NOW + timedelta(hours=2))
    live_for(client, hours=2)
    # Origins every 20 min from the last settled step, 08:55: at 10:20, those to 09:15 have their hour's truth.
    assert score_at(client, NOW + timedelta(hours=1, minutes=20)) == 2
    assert score_at(client, NOW + timedelta(hours=1, minutes=20)) == 0
    assert read_scored_until(client, "shop") == {"1h": NOW + timedelta(minutes=15)}
    # An hour later, in another life: the runs that were missed are caught up.
    assert score_at(client, NOW + timedelta(hours=2)) == 1 + 1
    assert len(read_scores(client, "shop", since=NOW - STEP, until=NOW + timedelta(hours=2))) == 4


def test_truths_that_change_later_are_scored_again_and_then_there_is_nothing_left_to_do(client: Client) -> None:
    import_noise(client, until=NOW + timedelta(hours=3))
    live_for(client, hours=2)  # origins 08:55, 09:15, 09:35, 09:55, 10:15, 10:35
    assert score_at(client, NOW + timedelta(hours=3)) == 6
    now = NOW + timedelta(hours=4)

    def again() -> int:
        return rescore_once(client, SERVICE, clock=Clock(read_real=lambda: now.timestamp()))

    def stored() -> list[Score]:
        return read_scores(client, "shop", since=NOW - STEP, until=NOW + timedelta(hours=6))

    before = stored()
    assert again() == 0
    # A back-fill says that 10:00 to 10:10 were busier: in the hour after the origins from 09:15 to 09:55.
    lines = [f"{NOW + index * STEP:%Y-%m-%dT%H:%M:%SZ},60000" for index in (12, 13)]
    import_series(client, "shop", parse_csv("\n".join(["timestamp,value", *lines])), source="late", now=now)
    assert again() == 3
    rows = read_history(client, "shop", since=NOW - timedelta(days=24), until=NOW + timedelta(hours=3), step=STEP)
    series = clean_series("shop", rows, step=STEP)
    made = read_forecasts_after(client, "shop", after=None, until=now, reach=SETTINGS.horizon, most=100)
    assert stored() == [score_forecast(forecast, series, BUCKETS[0]) for forecast in made]
    assert [one != other for one, other in zip(before, stored(), strict=True)] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert again() == 0
    # People mark 11:00 on: the origins 10:15 and 10:35 lose three and seven of their twelve truths.
    incident = Marker("shop", "incident", NOW + timedelta(hours=2), now, "down", masks_history=True)
    record.write_marker(client, incident)
    assert again() == 2
    assert [score.points for score in stored()] == [12, 12, 12, 12, 9, 5]
    assert again() == 0


def too_low() -> list[Score]:
    """For three days two truths of twelve were above the 0.95 quantile; nobody scored the other buckets."""
    return [
        Score(
            service="shop", bucket="1h", origin=NOW - timedelta(hours=3 + hours), model="m", naive="naive_day",
            step=STEP, points=12, demand=1.0, absolute_error=1.0, naive_absolute_error=1.0, quantiles=(0.5, 0.95),
            pinball=(1.0, 1.0), naive_pinball=(1.0, 1.0), covered=(6, 10),
        )
        for hours in reversed(range(72))
    ]  # fmt: skip


def test_coverage_that_was_too_low_in_the_record_widens_the_next_stored_forecast(client: Client) -> None:
    import_noise(client, until=NOW, days=2)
    write_scores(client, too_low(), scored_at=NOW)
    forecast = refresh_once(world_at(client, NOW), SERVICE, Memory())
    read = store.read_latest_forecast(client, "shop", at=NOW)
    plain_world = replace(world_at(client, NOW), settings=replace(SETTINGS, adapt=False))
    plain = refresh_once(plain_world, SERVICE, Memory(loaded=True))
    assert isinstance(forecast, Forecast)
    assert isinstance(plain, Forecast)
    wide, usual = forecast.frame.set_index("ds"), plain.frame.set_index("ds")
    assert (wide["q0.95"].iloc[:12] > usual["q0.95"].iloc[:12]).all()
    assert wide["q0.95"].iloc[12:].equals(usual["q0.95"].iloc[12:])
    assert wide["q0.5"].equals(usual["q0.5"])
    # What is stored is what comes of the history and the scores before the origin, bit by bit.
    rows = read_history(client, "shop", since=NOW - timedelta(days=2), until=NOW, step=STEP)
    series, levels = clean_series("shop", rows, step=STEP), quantiles_for(SETTINGS, SERVICE.scaling)
    scores = read_scores(client, "shop", since=NOW - timedelta(days=30), until=NOW + timedelta(days=30))
    asked = asked_levels(scores, origin=forecast.origin, levels=levels)
    again = forecast_with_calendar(
        series, origin=forecast.origin, horizon=SETTINGS.horizon, quantiles=levels, calendar=None, asked=asked
    )
    assert isinstance(again, Forecast)
    assert read is not None
    assert read.notes[-1].startswith("to 1h: 83% of the last three days' demand was under the 0.95 quantile")
    for one in (again, read):
        assert (
            one.frame.drop(columns="ds").to_numpy().tobytes() == forecast.frame.drop(columns="ds").to_numpy().tobytes()
        )


def bits(forecast: Forecast | NoForecast) -> dict[str, bytes]:
    """The values of the levels that both the command prints and the loop stores, to the bit."""
    assert isinstance(forecast, Forecast)
    names = [f"q{level:g}" for level in SETTINGS.quantiles]
    return {name: forecast.frame[name].to_numpy(dtype=float).tobytes() for name in names}


def test_the_forecast_command_says_what_the_running_forecaster_stores(
    client: Client, shared_store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import_noise(client, until=NOW, days=2)
    write_scores(client, too_low(), scored_at=NOW)
    world = world_at(client, NOW + timedelta(minutes=2))
    refresh_once(world, SERVICE, Memory())
    stored = store.read_latest_forecast(client, "shop", at=NOW)
    assert stored is not None
    assert "is answered by" in stored.notes[-1]

    question = Question(SETTINGS.horizon, SETTINGS.quantiles)
    [asked] = answer_from_record(client, SERVICE, question, clock=world.clock, settings=SETTINGS).forecasts
    assert (asked.origin, bits(asked)) == (NOW, bits(stored))
    assert isinstance(asked, Forecast)
    assert (asked.notes, asked.quantiles) == (stored.notes, SETTINGS.quantiles)
    other = replace(question, quantiles=(0.5, 0.97))
    [more] = answer_from_record(client, SERVICE, other, clock=world.clock, settings=SETTINGS).forecasts
    assert isinstance(more, Forecast)
    assert more.frame["q0.5"].equals(asked.frame["q0.5"])
    assert (more.frame["q0.97"] >= asked.frame["q0.95"]).all()

    config = tmp_path / "tidegauge.yaml"
    config.write_text(CONFIG)
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(config))
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", shared_store_url)
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", client.database)
    app = typer.Typer()
    mount(app)
    said = ["forecast", "shop", "--as-of", NOW.isoformat(), "--horizon", "3h", "--json"]
    result = CliRunner().invoke(app, said)
    assert result.exit_code == 0, result.output
    [printed] = json.loads(result.stdout)["forecasts"]
    for level in SETTINGS.quantiles:
        values = [point["q"][f"{level:g}"] for point in printed["points"]]
        assert values == stored.frame[f"q{level:g}"].tolist()


def test_the_live_forecast_looks_at_the_calendar_and_its_notes_are_stored(client: Client) -> None:
    import_noise(client, until=NOW)
    match = CalendarEntry("match", NOW + timedelta(hours=1), timedelta(hours=1), timedelta(0), 3.0, "")
    service = replace(SERVICE, calendar=CalendarSource(events=(match,)))
    feeds = FeedTexts(lambda _: "", time.monotonic)
    refresh_once(replace(world_at(client, NOW), feeds=feeds), service, Memory())
    stored = store.read_latest_forecast(client, "shop", at=NOW)
    assert stored is not None
    # Expected three times the demand, but never seen to happen: it is told, and not believed.
    assert stored.notes[-1] == "match: left out; 0 past occurrences are known, 3 are needed to prove it"


def test_the_scores_are_told_by_a_command(
    client: Client, shared_store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    import_noise(client, until=NOW + timedelta(hours=3))
    live_for(client, hours=1)
    score_at(client, NOW + timedelta(hours=3))
    config = tmp_path / "tidegauge.yaml"
    config.write_text("version: 1\nservices:\n  shop: {source: import}\n")
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(config))
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", shared_store_url)
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", client.database)
    app = typer.Typer()
    mount(app)
    result = CliRunner().invoke(app, ["forecast", "scores", "shop", "--since", "7d", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [bucket["bucket"] for bucket in answer["buckets"]] == ["1h"]
    assert (answer["buckets"][0]["origins"], answer["buckets"][0]["points"]) == (3, 36)
    table = CliRunner().invoke(app, ["forecast", "scores", "shop", "--since", "7d"])
    assert "q0.95" in table.stdout


def test_on_a_real_store_one_of_two_claimants_leads_and_the_other_follows(client: Client) -> None:
    first = Lease(client, holder="a", monotonic=time.monotonic)
    second = Lease(client, holder="b", monotonic=time.monotonic)
    first.leads()
    second.leads()
    deadline = time.monotonic() + 30
    while not first.leads() and time.monotonic() < deadline:
        assert not second.leads()
        time.sleep(0.05)  # polling with a deadline
    assert first.holds()
    assert not second.holds()
    first.release()
    second._asked_at = -float("inf")
    while not second.leads() and time.monotonic() < deadline:
        time.sleep(0.05)  # polling with a deadline
    assert second.holds()


def test_drift_is_posted_as_a_condition_and_taken_back_once() -> None:
    bodies: list[dict[str, object]] = []

    def take(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"alert_id": "x"})

    alert = DriftAlert("http://collector", httpx.Client(transport=httpx.MockTransport(take)))
    drifted, steady = Drift(True, ("to 1h: worse",)), Drift(True)
    for drift in (steady, drifted, drifted, replace(steady, compared=False), steady, steady):
        alert("shop", drift)
    assert [(body["name"], body["breached"], body["summary"]) for body in bodies] == [
        ("forecast-drift", True, "to 1h: worse"),
        ("forecast-drift", True, "to 1h: worse"),
        ("forecast-drift", False, "the forecast is again what it was"),
    ]
    down = DriftAlert("http://collector", httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(503))))
    with pytest.raises(AlertsUnavailableError, match="503"):
        down("shop", drifted)
