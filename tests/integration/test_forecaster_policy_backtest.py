"""`tidegauge backtest policy SERVICE` on a real store: verdict, contest, weeks with us and without; and the pace."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.record import store as record
from collector.sources.files import import_series, parse_csv
from forecaster import store
from forecaster.commands import mount
from forecaster.pace import read_pace
from forecaster.scaling.pacing import Pace
from forecaster.scaling.types import Capacity
from forecaster.store import ReplicaState
from tests.integration.store_fixtures import shared_store_url
from tests.unit.forecaster_fakes import HPA, SCALING, a_decision, a_stored

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

MINUTE, STEP, DAY = timedelta(minutes=1), timedelta(minutes=5), timedelta(days=1)
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 2 * DAY
DAYS = 5
CONFIG = """version: 1
services:
  shop:
    source: events
    cost: {replica_hour: 0.5, currency: EUR}
    scaling:
      target: {kind: local, name: app}
      mode: observe
      min_replicas: 2
      max_replicas: 20
      capacity_rps: [12, 14]
      quantile: 0.95
      paced: true
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {target_rps_per_replica: 10}
"""


@pytest.fixture
def client(shared_store_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=shared_store_url, database="b_" + request.node.name[:40]))
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    yield client
    client.close()


def import_noons(client: Client) -> None:
    """10 requests/s, but 60 in the hour from noon on, every day."""
    starts = [END - DAYS * DAY + index * STEP for index in range(DAYS * 288)]
    lines = [f"{at:%Y-%m-%dT%H:%M:%SZ},{(60 if at.hour == 12 else 10) * 300}" for at in starts]
    import_series(client, "shop", parse_csv("\n".join(["timestamp,value", *lines])), source="file", now=END)


def test_a_service_is_judged_played_and_told_what_its_floors_were_worth(
    client: Client, shared_store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_noons(client)
    raised_at = END - 3 * DAY + timedelta(hours=11, minutes=30)
    store.write_decision(client, a_stored(a_decision(5, at=raised_at), id="raised", applied=True))
    (tmp_path / "tidegauge.yaml").write_text(CONFIG)
    for name in [name for name in os.environ if name.startswith("TIDEGAUGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(tmp_path / "tidegauge.yaml"))
    monkeypatch.setenv("TIDEGAUGE_DATA", str(tmp_path))
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", shared_store_url)
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", client.database)
    monkeypatch.setenv("TIDEGAUGE_CLUSTER_URL", "http://127.0.0.1:9")  # the discard port: nobody answers
    monkeypatch.setenv("TIDEGAUGE_FORECAST_REFRESH", "30m")
    app = typer.Typer()
    mount(app)
    asked = ["backtest", "policy", "shop", "--window", "3h", "--processes", "1", "--policy", "tidegauge,hpa"]

    shown = CliRunner().invoke(app, asked, env={"COLUMNS": "200"})
    verdict = store.read_latest_backtest(client, "shop")
    assert verdict is not None
    assert shown.exit_code == (0 if verdict.passed else 1), shown.output
    assert verdict.window_to == END
    # 60 rps are 5 replicas at 12: our floor of 5 carried all three noons since. Without it 2 replicas met the first
    # minutes of each: at least the two that a replica needs to start, and no more than a few beside them.
    assert "Since our first floor" in shown.stdout
    found = re.search(rf"{raised_at:%Y-%m-%dT%H:%M:%SZ}\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", shown.stdout)
    assert found is not None, shown.stdout
    short, short_without, hours, hours_without = map(float, found.groups())
    assert short == 0
    assert 3 * 2 <= short_without <= 3 * 6
    assert hours > hours_without

    assert "One replica carries 12 requests/s (declared)" in shown.stdout

    record.write_capacity(client, record.Capacity("shop", END, "", "load-test", 15.0, 16.0, {}))
    told = CliRunner().invoke(app, [*asked, "--json"], env={"COLUMNS": "200"})  # its forecasts were kept
    answer = json.loads(told.stdout)
    assert answer["series"] == "shop"
    assert answer["capacity_rps"] == 15.0  # what was measured goes before what was declared
    assert {one["name"] for one in answer["policies"]} == {"tidegauge", "hpa"}
    assert len(list((tmp_path / "forecasts").glob("*.npz"))) == 1


def test_the_pace_is_read_from_the_last_decision_and_what_was_recorded_since(client: Client) -> None:
    decided_at, now, capacity = END, END + 20 * MINUTE, Capacity(12.0, 12.0, "declared")
    minutes = [int((decided_at + index * MINUTE).timestamp()) for index in range(20)]
    rps = [30.0] * 5 + [10.0] * 15  # 24 are carried: five minutes of twenty were short
    columns = {
        "service": ["shop"] * 20,
        "ts": minutes,
        "step_seconds": [60] * 20,
        "value": [each * 60 for each in rps],
    }
    client.insert_columns("demand_recorded", columns, token="demand/pace")
    seen = [ReplicaState("shop", decided_at + index * MINUTE, replace(HPA, ready=2), 12.0) for index in range(20)]
    store.write_replica_states(client, seen)
    last = a_stored(a_decision(2, at=decided_at, quantile=0.8))
    known = record.read_demand_extent(client, "shop")
    paced = replace(SCALING, paced=True)

    pace = read_pace(client, paced, last, capacity, known=known, now=now)
    assert pace is not None
    assert (pace.risk, pace.short, pace.span) == (pytest.approx(0.2), pytest.approx(0.25), 20 * MINUTE)
    just_now = read_pace(client, paced, last, capacity, known=known, now=decided_at + timedelta(seconds=30))
    assert just_now == Pace(pace.risk, 0.0, timedelta(0))
    assert read_pace(client, SCALING, last, capacity, known=known, now=now) is None
    assert read_pace(client, paced, None, capacity, known=known, now=now) is None
    unplanned = a_stored(a_decision(2, at=decided_at, quantile=None))
    assert read_pace(client, paced, unplanned, capacity, known=known, now=now) is None
