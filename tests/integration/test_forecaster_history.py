"""What models see of a service, on a real store: requests, CPU and memory on one step, without masks, gaps as gaps."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.record import store as record
from collector.record.runs import LoadRun, Marker
from forecaster import store
from forecaster.actuators.memory import MemoryCluster
from forecaster.answers import Question, answer_from_record
from forecaster.forecast.types import DemandSeries, NoForecast
from forecaster.history import HistoryCache, read_history
from forecaster.lenders import Lenders
from forecaster.loop.tick import Memory, World, refresh_once
from forecaster.resources import read_demand_frame
from forecaster.settings import Settings
from loadgen.runs.summary import RunFacts
from tests.integration.store_fixtures import shared_store_url
from tests.unit.forecaster_fakes import HPA, SERVICE
from tidegauge.clock import Clock

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

STEP, MINUTE = timedelta(minutes=5), timedelta(minutes=1)
NOW = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=3)


@pytest.fixture
def client(shared_store_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=shared_store_url, database="t_" + request.node.name.split("[")[0][:40]))
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    yield client
    client.close()


def at_clock(now: datetime) -> Clock:
    return Clock(read_real=lambda: now.timestamp())


def record_minutes(client: Client, minutes: range, *, rps: float = 10.0, start: datetime = NOW) -> None:
    starts = [int((start + index * MINUTE).timestamp()) for index in minutes]
    count = len(starts)
    columns = {"service": ["shop"] * count, "ts": starts, "step_seconds": [60] * count, "value": [rps * 60] * count}
    client.insert_columns("demand_recorded", columns, token=f"recorded/{start}/{minutes}")


def sample(client: Client, name: str, instance: str, points: list[tuple[float, float]], *, kind: str) -> None:
    """Points: (seconds after NOW, value), as the samplers store them."""
    identity = abs(hash((name, instance))) % 2**60
    day = (NOW - datetime(1970, 1, 1, tzinfo=UTC)).days
    series: dict[str, list[Any]] = {
        "series_id": [identity], "name": [name], "service": ["shop"], "kind": [kind],
        "labels": [{"instance": instance}], "source": ["sampler"], "last_seen": [day],
    }  # fmt: skip
    client.insert_columns("series", series, token=f"series/{identity}")
    count = len(points)
    columns: dict[str, list[Any]] = {
        "series_id": [identity] * count, "ts": [round((NOW.timestamp() + at) * 1000) for at, _ in points],
        "digits": [-1] * count, "scaled": [0] * count, "raw": [value for _, value in points],
    }  # fmt: skip
    client.insert_columns("samples", columns, token=f"samples/{identity}")


def test_cpu_and_memory_stand_beside_requests_on_the_same_steps_and_gaps_are_gaps(client: Client) -> None:
    # Requests: 0 to 20 min, but for the second step, in which two minutes of five are there: less than half.
    record_minutes(client, range(7))
    record_minutes(client, range(10, 20))
    # Replica a: half a core for 15 min, sampled every 15 s, then it is gone. It holds 100 bytes.
    seconds = np.arange(0, 901, 15.0)
    sample(client, "process_cpu_seconds_total", "a", [(at, 0.5 * at) for at in seconds], kind="counter")
    sample(client, "process_resident_memory_bytes", "a", [(at, 100.0) for at in seconds[:-1]], kind="gauge")
    # Replica b begins at 5 min (a zero is stored for its beginning): a quarter of a core until 10 min; 60 bytes.
    seconds = np.arange(300, 601, 15.0)
    sample(client, "process_cpu_seconds_total", "b", [(at, 0.25 * (at - 300)) for at in seconds], kind="counter")
    sample(client, "process_resident_memory_bytes", "b", [(at, 60.0) for at in seconds[:-1]], kind="gauge")

    frame = read_demand_frame(
        client, "shop", since=NOW, until=NOW + 4 * STEP + MINUTE, step=STEP, clock=at_clock(NOW + 9 * STEP)
    )

    assert frame["ds"].dt.to_pydatetime().tolist() == [NOW + index * STEP for index in range(4)]
    np.testing.assert_allclose(frame["requests_per_minute"], [600.0, np.nan, 600.0, 600.0])
    np.testing.assert_allclose(frame["cpu_cores"], [0.5, 0.75, 0.5, np.nan])
    np.testing.assert_allclose(frame["memory_bytes"], [100.0, 160.0, 100.0, np.nan])


def test_under_a_fast_clock_a_core_is_still_a_core(client: Client) -> None:
    # The demo plays 60 times faster from NOW on: 15 real seconds are 15 minutes, in which one core has used 15 s.
    clock = Clock(start=NOW.timestamp(), real_start=NOW.timestamp() + 86400, speed=60.0)
    points = [(900.0 * index, 15.0 * index) for index in range(5)]
    sample(client, "process_cpu_seconds_total", "a", points, kind="counter")
    frame = read_demand_frame(client, "shop", since=NOW, until=NOW + timedelta(hours=1), step=STEP, clock=clock)
    np.testing.assert_allclose(frame["cpu_cores"], np.ones(12))


def write_run(
    client: Client, run_id: str, start: datetime, end: datetime, *, status: str = "passed", **summary: Any
) -> None:
    run = LoadRun(run_id, "shop", "peak", "http://shop", start, end, status, summary)
    record.write_load_run(client, run, reported_at=NOW, batch_id=run_id)


def known_steps(client: Client) -> list[int]:
    rows = read_history(client, "shop", since=NOW, until=NOW + 12 * STEP, step=STEP)
    return [(at - NOW) // STEP for at in rows["ds"].dt.to_pydatetime()]


def test_what_a_load_test_sent_is_no_demand_and_what_plays_the_users_is(client: Client) -> None:
    record_minutes(client, range(60))
    write_run(client, "test", NOW + 7 * MINUTE, NOW + 11 * MINUTE)  # touches the steps from 5 and from 10 min
    write_run(client, "users", NOW, NOW + 60 * MINUTE, curve="own daily-and-weekly shape")
    write_run(client, "elsewhen", NOW - 60 * MINUTE, NOW)
    assert known_steps(client) == [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert "curve" in RunFacts.__slots__  # what the load generator says of itself when it follows one


def test_a_load_test_under_way_or_killed_masks_as_far_as_it_has_told(client: Client) -> None:
    record_minutes(client, range(60))
    start = NOW + 20 * MINUTE
    write_run(client, "test", start, start, status="running")
    second = int((NOW + 29 * MINUTE + timedelta(seconds=59)).timestamp())
    counts = {name: [1] for name in ("intended", "sent", "done", "failed", "unsent", "send_lag_us_max")}
    histograms = {name: [{}] for name in ("response_histogram", "service_histogram")}
    record.write_load_seconds(client, "test", {"second": [second], **counts, **histograms}, batch_id="s")
    assert known_steps(client) == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]


def test_a_mark_about_the_past_counts_from_the_next_refresh_on(client: Client) -> None:
    record_minutes(client, range(60), start=NOW - timedelta(hours=6))
    record_minutes(client, range(60))
    cache, span = HistoryCache(), {"since": NOW - timedelta(hours=6), "step": STEP}
    assert len(cache.read(client, "shop", until=NOW + 30 * MINUTE, **span)) == 12 + 6  # type: ignore[arg-type]
    marked = Marker("shop", "incident", NOW - timedelta(hours=6), NOW - timedelta(hours=5), "x", masks_history=True)
    record.write_marker(client, marked)
    assert len(cache.read(client, "shop", until=NOW + 35 * MINUTE, **span)) == 7  # type: ignore[arg-type]


def forecast_reason(client: Client, now: datetime) -> str:
    forecast = refresh_once(World(client, at_clock(now), MemoryCluster({"app": HPA}), Settings()), SERVICE, Memory())
    assert isinstance(forecast, NoForecast)
    [asked] = answer_from_record(
        client, SERVICE, Question(timedelta(hours=1), (0.5,)), clock=at_clock(now), settings=Settings()
    ).forecasts
    assert isinstance(asked, NoForecast)
    assert asked.reason == forecast.reason
    return forecast.reason


def test_with_minutes_of_data_people_are_told_when_the_first_forecast_comes(client: Client) -> None:
    record_minutes(client, range(1, 4))
    # The step of 09:00 is known from 09:01 on, so by more than half: it is whole at 09:05, and read 1.5 s later.
    assert forecast_reason(client, NOW + 4 * MINUTE) == (
        f"known since {NOW + MINUTE:%Y-%m-%dT%H:%M:%SZ}, 3 min so far; the first forecast comes at"
        f" {NOW:%Y-%m-%d}T09:05:02Z, when the first 5 min are whole"
    )


def test_a_history_that_is_masked_as_a_whole_is_told_so(client: Client) -> None:
    record_minutes(client, range(30))
    write_run(client, "test", NOW, NOW + 30 * MINUTE)
    assert "masked, by markers or load tests" in forecast_reason(client, NOW + 31 * MINUTE)


def test_cpu_is_forecast_as_requests_are(client: Client) -> None:
    seconds = np.arange(0, 4 * 3600 + 1, 60.0)
    sample(client, "process_cpu_seconds_total", "a", [(at, 2.0 * at) for at in seconds], kind="counter")
    question = Question(timedelta(hours=1), (0.5, 0.9), of="cpu")
    clock = at_clock(NOW + timedelta(hours=4, seconds=2))
    answer = answer_from_record(client, SERVICE, question, clock=clock, settings=Settings())
    [forecast] = answer.forecasts
    assert answer.unit == "cores"
    assert not isinstance(forecast, NoForecast)
    np.testing.assert_allclose(forecast.frame["q0.5"], 2.0, rtol=0.02)  # two cores, always
    nothing = answer_from_record(
        client, SERVICE, Question(timedelta(hours=1), (0.5,), of="memory"), clock=clock, settings=Settings()
    )
    assert nothing.forecasts == (
        NoForecast("shop", NOW + timedelta(hours=4), "no samples of its memory have been recorded"),
    )


def test_a_service_in_its_first_hours_borrows_a_day_from_the_others_and_says_so(client: Client) -> None:
    record_minutes(client, range(120))  # from 09:00 to 11:00, always 10 requests/s
    hours = np.arange(14 * 24)
    ds = pd.date_range(NOW.replace(hour=0) - timedelta(days=14), periods=len(hours), freq="h", unit="us")
    older = DemandSeries(
        "older", timedelta(hours=1), pd.DataFrame({"ds": ds, "y": np.where(hours % 24 < 12, 1.0, 4.0)})
    )
    lenders, now = Lenders(), NOW + timedelta(hours=2, minutes=1)
    lenders.for_(older, origin=now)
    world = World(client, at_clock(now), MemoryCluster({"app": HPA}), Settings(), lenders=lenders)
    refresh_once(world, SERVICE, Memory())
    stored = store.read_latest_forecast(client, "shop", at=now)
    assert stored is not None
    assert "borrowed from 1 services" in stored.notes[1]
    by_hour = stored.frame.set_index("ds")["q0.5"]
    # The others have four times as much after noon as before it.
    assert by_hour[NOW + timedelta(hours=6)] == pytest.approx(40.0, rel=0.05)
