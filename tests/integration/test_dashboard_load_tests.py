"""The page of load tests, drawn by Streamlit's own runner against the load generator's API over a real port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
import uvicorn
from streamlit import config
from streamlit.testing.v1 import AppTest

import dashboard
from collector.clickhouse import ClickHouseSettings, connect
from collector.record.store import LoadRun, write_load_run
from loadgen.safety import Limits
from loadgen.server.api import create_app
from loadgen.server.desk import Desk
from loadgen.server.schedules import Schedule, Schedules
from tests.integration.dashboard_fixtures import create_tables
from tests.integration.store_fixtures import free_port, shared_store_url
from tests.unit.test_loadgen_desk import PretendedPlay

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server
ROOT = Path(dashboard.__file__).parents[1]
APP = Path(dashboard.__file__).parent / "app.py"


@pytest.fixture
def desk(shared_store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A load generator whose runs send nothing, and a record with one run."""
    client = connect(ClickHouseSettings(url=shared_store_url, database="load_tests"))
    create_tables(client)
    now = datetime.now(UTC)
    summary = {"verdict": {"status": "fail"}, "sent": 1234, "rps": 61.5, "response_ms": {"p95": 2388.0}}
    run = LoadRun("night-1", "reference-app", "booking_stress_test", "http://a", now, now, "finished", summary)
    write_load_run(client, run, reported_at=now, batch_id="one")
    client.close()
    desk = Desk(Limits(), tmp_path, play=PretendedPlay())
    schedules = Schedules(desk, tmp_path / "schedules.json", lambda _service: None)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(desk, schedules), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    schedules.schedules["night"] = Schedule("night", "booking_stress_test", nightly="02:30")
    for name, value in {
        "TIDEGAUGE_LOADGEN_URL": f"http://127.0.0.1:{port}", "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url,
        "TIDEGAUGE_CLICKHOUSE_DATABASE": "load_tests", "TIDEGAUGE_CONFIG": str(ROOT / "tidegauge.yaml"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TIDEGAUGE_CLOCK", raising=False)
    config.set_option("server.address", "127.0.0.1")
    st.cache_resource.clear()
    st.cache_data.clear()
    yield desk
    server.should_exit = True
    thread.join(20)
    st.cache_resource.clear()
    st.cache_data.clear()


def drawn() -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=30)
    app.run()
    app.switch_page("screens/load_tests.py").run()
    assert not app.exception, [(each.message, each.stack_trace) for each in app.exception]
    return app


def press(app: AppTest, key: str) -> None:
    """Press a button and confirm."""
    app.button(key=key).click().run()
    app.button(key=f"{key}-yes").click().run()


def until_running(app: AppTest) -> None:
    deadline = time.monotonic() + 20
    while not any(metric.label == "Users" for metric in app.metric):
        assert time.monotonic() < deadline, "the run's figures never came"
        app.run()


def test_a_run_is_started_watched_and_stopped_from_the_page(desk: Desk) -> None:
    app = drawn()
    assert "nightly at 02:30 UTC" in " ".join(each.value for each in app.markdown)
    app.selectbox(key="load-scenario").select("booking_stress_test")
    press(app, "load-start")
    until_running(app)
    shown: dict[str, Any] = {
        metric.label: metric.value for metric in reversed(app.metric)
    }  # the run under way comes first
    assert (shown["Users"], shown["Failed"]) == ("7", "0")
    press(app, "load-stop")
    (run,) = desk.runs.values()
    assert run.scenario == "booking_stress_test"
    assert run.stop.is_set()


def test_the_records_runs_are_listed_with_their_verdict(desk: Desk) -> None:
    table = drawn().dataframe[0]
    assert list(table.value["run"]) == ["night-1"]
    assert list(table.value["verdict"]) == ["▲ fail"]


def test_an_order_that_is_refused_is_told_in_the_generators_words(desk: Desk) -> None:
    app = drawn()
    app.text_input(key="load-target").input("http://shop.example")
    press(app, "load-start")
    assert "TIDEGAUGE_LOAD_ALLOWED_HOSTS" in app.error[0].value
    assert not desk.runs


def test_a_generator_that_is_away_is_said_and_the_records_runs_stay(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGAUGE_LOADGEN_URL", f"http://127.0.0.1:{free_port()}")
    app = drawn()
    assert "nothing can be started or stopped" in app.warning[0].value
    assert list(app.dataframe[0].value["run"]) == ["night-1"]
