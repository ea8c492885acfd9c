"""Errors in the running reference app become a page at a real receiver, at the minute the backtest names.

Nothing is simulated: the app with its middleware, its PostgreSQL, the collector and the store are processes. The
clock runs 7.5 times as fast (a minute is 8 s), and every bound is one of that clock: a page that is a minute late on it
would be no more than a minute late on the wall clock, where settling and sending take the same real seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from collector.commands import mount
from reference_app.prepare import SeedTerms, prepare
from reference_app.tokens import token_of_user
from tests.integration.collector_fixtures import start_collector, until, unused_port
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.receiver_fixtures import Received, ScriptedReceiver, scripted_receiver
from tests.integration.store_fixtures import shared_store_url
from tidegauge.clock import Clock

__all__ = ["cluster", "shared_store_url"]
pytestmark = pytest.mark.server
SPEED = 7.5
# With a target of 0.95 the pair 6h/30m says: more than 6 * 5 % = 30 % of the requests failed.
CONFIG = """\
version: 1
services:
  reference-app:
    source: events
    slos: [{name: availability, kind: availability, target: 0.95, window: 30d}]
alerts:
  receivers: [{name: hook, kind: webhook, url_env: HOOK_URL, severities: [page], allow_networks: [127.0.0.0/8]}]
"""


class Users:
    """Ask the app for a booking again and again, at a pace that may change."""

    def __init__(self, url: str) -> None:
        self.pause_seconds = 0.1
        self.statuses: list[int] = []
        self._url, self._stopping = url, threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {token_of_user(1)}"}, timeout=10) as client:
            while not self._stopping.wait(self.pause_seconds):
                self.statuses.append(client.get(self._url + "/api/bookings/1").status_code)

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(20)


@contextmanager
def running_app(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run the app with its log in a file: a failing request writes much."""
    port = unused_port()
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGAUGE_", "REFERENCE_"))}
    with (folder / "app.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "reference_app"],
            env={**outer, "REFERENCE_APP_PORT": str(port), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), why="the app is ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def told(hook: ScriptedReceiver, status: str) -> Received | None:
    """The first message about the page's SLO with this status."""
    for each in hook.received:
        alerts = json.loads(each.body)["alerts"]
        if any((alert["labels"]["kind"], alert["status"]) == ("burn", status) for alert in alerts):
            return each
    return None


def seen_at(clock: Clock, question: Callable[[], object], *, why: str, seconds: float = 60) -> datetime:
    """Ask until true and return when that was, by the clock in use."""
    until(question, why=why, seconds=seconds)
    return datetime.fromtimestamp(clock.at_real(time.time()), UTC)


def backtested(environment: dict[str, str]) -> list[dict[str, Any]]:
    """The pages that `tidegauge slo backtest` prints."""
    app = typer.Typer()
    mount(app)
    command = ["slo", "backtest", "reference-app", "--days", "0.1", "--json"]
    result = CliRunner().invoke(app, command, env=environment)
    assert result.exit_code == 0, result.output
    return [alert for alert in json.loads(result.stdout)[0]["alerts"] if alert["severity"] == "page"]


def live_alert(collector_url: str) -> dict[str, Any]:
    alerts = httpx.get(collector_url + "/v1/alerts", timeout=10).json()["alerts"]
    return next(each for each in alerts if each["alert_id"] == "burn/reference-app/availability/page")


@pytest.mark.timeout(240)
def test_errors_in_the_running_app_page_within_a_minute_of_the_backtests_instant_and_resolve(
    cluster: Cluster, shared_store_url: str, tmp_path: Path
) -> None:
    name = cluster.new_database()
    prepare(cluster.primary.url(name), today=datetime.now(UTC).date(), terms=SeedTerms())
    begin = time.time()
    clock = Clock(begin // 60 * 60 - 36000, begin, SPEED)
    with scripted_receiver() as hook:
        shared = {**clock.to_environment(), "TIDEGAUGE_CLICKHOUSE_DATABASE": "page"}
        collector = start_collector(
            tmp_path, shared_store_url, environment={**shared, "HOOK_URL": hook.url}, config_text=CONFIG
        )
        try:
            collector.wait_until_alive("/readyz")
            environment = {
                **shared,
                "REFERENCE_APP_DATABASE_URL": cluster.primary.url(name),
                "TIDEGAUGE_COLLECTOR_URL": collector.url,
            }
            with running_app(tmp_path, environment) as url, Users(url) as users:
                until(lambda: len(users.statuses) >= 30, why="the users are served")
                assert set(users.statuses) == {404}, "nobody has the booking, and it is answered"
                until(lambda: clock.now_seconds() % 60 < 5, why="a minute begins")
                assert hook.received == []

                cluster.primary.run("ALTER TABLE bookings RENAME TO bookings_away", name)  # a migration gone wrong
                until(lambda: 500 in users.statuses, why="the app fails")
                arrived = seen_at(clock, lambda: told(hook, "firing"), why="the page arrives")
                commands = {
                    **shared, "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url,
                    "TIDEGAUGE_CONFIG": str(tmp_path / "tidegauge.yaml"),
                }  # fmt: skip
                (page,) = backtested(commands)
                fired = datetime.fromisoformat(page["fired_at"])
                assert live_alert(collector.url)["fired_at"] == page["fired_at"]
                assert timedelta() <= arrived - fired <= timedelta(minutes=1)

                cluster.primary.run("ALTER TABLE bookings_away RENAME TO bookings", name)
                users.pause_seconds = 0.01  # so that the failed ones are soon under 30 % of all
                resolved = seen_at(clock, lambda: told(hook, "resolved"), why="the end of the page is told")
                (page,) = backtested(commands)
                assert page["fired_at"] == fired.isoformat()
                assert live_alert(collector.url)["ended_at"] == page["ended_at"]
                assert timedelta() <= resolved - datetime.fromisoformat(page["ended_at"]) <= timedelta(minutes=1)
                assert [each.headers["webhook-id"] for each in hook.received] == list(
                    dict.fromkeys(each.headers["webhook-id"] for each in hook.received)
                ), "each told once"
        finally:
            collector.kill()
