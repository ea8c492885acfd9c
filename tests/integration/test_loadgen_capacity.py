"""A capacity measured on a live server: one worker with a fixed service time, behind real sockets."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.clickhouse import ClickHouseSettings, connect
from collector.record import store as record
from forecaster.history import read_history
from forecaster.store.instants import floored
from loadgen.capacity.run import CapacityPlan
from loadgen.capacity.search import goal_of
from loadgen.commands.capacity import measure_and_tell
from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.thresholds import parse_slo
from tests.integration.collector_fixtures import CollectorProcess, start_collector
from tests.integration.loadgen_fixtures import serving
from tests.integration.store_fixtures import shared_store_url

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

MINUTE = timedelta(minutes=1)

TEXT = """version: 1
name: pool
service: pool
journeys: [{name: a, steps: [{name: one, get: /}]}]
scenarios: {a: {executor: constant-vus, vus: 1, duration: 1s}}
"""


def check_masked(store_url: str, run_id: str, began: datetime, ended: datetime) -> None:
    """Check that the record has the run, and that a forecaster learns from the minutes beside it alone."""
    client = connect(ClickHouseSettings(url=store_url))
    try:
        [run] = [one for one in record.read_load_runs(client, "pool") if one.run_id == run_id]
        assert run.status in ("finished", "invalid")
        first = floored(began, MINUTE) - 2 * MINUTE
        minutes = [first + index * MINUTE for index in range((ended - first) // MINUTE + 3)]
        columns = {
            "service": ["pool"] * len(minutes), "ts": [int(one.timestamp()) for one in minutes],
            "step_seconds": [60] * len(minutes), "value": [600.0] * len(minutes),
        }  # fmt: skip
        client.insert_columns("demand_recorded", columns, token=run_id)
        seen = read_history(client, "pool", since=first, until=minutes[-1] + MINUTE, step=MINUTE)["ds"].tolist()
        free = [minute for minute in minutes if minute + MINUTE <= began or minute > ended]
        assert seen == free
        assert first in free
        assert minutes[-1] in free
    finally:
        client.close()


@pytest.fixture
def collector(shared_store_url: str, tmp_path: Path) -> Iterator[CollectorProcess]:
    process = start_collector(tmp_path, shared_store_url)
    process.wait_until_alive("/readyz")
    yield process
    process.stop()


async def test_what_is_found_on_a_pool_of_one_stays_below_what_it_can_serve_at_all_and_is_no_demand_of_users(
    collector: CollectorProcess, shared_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGAUGE_COLLECTOR_URL", collector.url)
    worker = asyncio.Semaphore(1)

    async def fixed(_: int) -> int:
        async with worker:
            await asyncio.sleep(0.02)
        return 200

    run_id = f"capacity-{uuid.uuid4()}"
    began = datetime.now(UTC)
    async with serving(fixed) as tiny:
        plan = CapacityPlan(
            parse_scenario(TEXT, name="pool"), Target("127.0.0.1", tiny.port),
            (goal_of(parse_slo("http_req_duration: p(90)<1000")),), run_id, budget_seconds=1, most_rps=40,
            levels=(1, 2, 4), trial_seconds=3, requests=30,
        )  # fmt: skip
        found, _ = await measure_and_tell(plan, [], None)
    check_masked(shared_store_url, run_id, began, datetime.now(UTC))
    # A worker that takes at least 20 ms serves at most 50 in a second, however many users ask.
    assert 0 < found.ceiling_rps <= 52  # seconds are counted by when a request began: one may slip over the edge
    assert {level.users for level in found.levels} == {1, 2, 4}
    assert found.requests_per_arrival == 1
    if found.found.invalid_because:  # a machine too busy to send in time has to say so, and name no capacity
        assert found.interval is None
        return
    assert found.found.trials
    assert all(trial.rps <= 40 for trial in found.found.trials)
    if found.interval is not None:
        assert found.interval[0] < 50
