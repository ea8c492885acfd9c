"""A forecaster that is killed again and again while it scales a real cluster: no floor is ever under the operator's."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from collector.clickhouse import ClickHouseSettings, connect
from forecaster import store
from forecaster.store import StoredBacktest
from forecaster.store.outcomes import read_patches
from tests.integration.cluster_fixtures import Cluster, cluster
from tests.integration.store_fixtures import free_port, shared_store_url
from tests.integration.wave_fixtures import SERVICE, SPEED, import_wave
from tidegauge.clock import clock_from_environment

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

OPERATORS_FLOOR = 2
KILLS = 3


def tell_store(url: str, database: str, *, now: datetime) -> None:
    """Import the wave, and let the policy have passed its backtest."""
    client = connect(ClickHouseSettings(url=url, database=database))
    first = import_wave(client, now=now)
    store.write_backtest(client, StoredBacktest(SERVICE, now, True, first, now, {"reason": "better"}))
    client.close()


def start(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as errors:
        return subprocess.Popen([sys.executable, "-m", "forecaster"], env=environment, stderr=errors)


async def floors(made: Cluster) -> list[int]:
    """Return every floor that was in force, in order: the cluster keeps a durable log of them."""
    told = (await made.get("/hpas/reference-app/transitions?since=0"))["transitions"]
    return [each["floor"] for each in told]


def changes_of(seen: list[int]) -> int:
    return sum(one != other for one, other in pairwise(seen))


async def has_changed(made: Cluster, before: int) -> bool:
    return changes_of(await floors(made)) > before


async def test_killing_it_at_any_point_never_leaves_a_floor_under_the_operators(
    shared_store_url: str, tmp_path: Path
) -> None:
    draw = random.Random(7)
    async with cluster(tmp_path, least=OPERATORS_FLOOR, most=8, speed=SPEED) as made:
        clock = made.environ["TIDEGAUGE_CLOCK"]
        database = "t_killed"
        now = clock_from_environment({"TIDEGAUGE_CLOCK": clock}).now()
        await asyncio.to_thread(tell_store, shared_store_url, database, now=now)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TIDEGAUGE_")},
            "TIDEGAUGE_CLOCK": clock,
            "TIDEGAUGE_CONFIG": made.environ["TIDEGAUGE_CONFIG"],
            "TIDEGAUGE_DATA": str(tmp_path / "forecaster"),
            "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url,
            "TIDEGAUGE_CLICKHOUSE_DATABASE": database,
            "TIDEGAUGE_CLUSTER_URL": made.api,
            "TIDEGAUGE_COLLECTOR_URL": f"http://127.0.0.1:{free_port()}",  # nobody is told, and that stops nothing
            "TIDEGAUGE_FORECASTER_PORT": str(free_port()),
            "TIDEGAUGE_FORECAST_HORIZON": "3h",
            "TIDEGAUGE_FORECAST_REFRESH": "10m",  # a machine that is busy may take seconds: not to be stale by then
            "TIDEGAUGE_FORECAST_SETTLE": "0.05s",
        }
        log = tmp_path / "forecaster.log"
        await made.until_ready(OPERATORS_FLOOR)
        for _ in range(KILLS):
            before = changes_of(await floors(made))
            process = await asyncio.to_thread(start, environment, log)
            try:
                await made.until(
                    partial(has_changed, made, before), what=f"another floor\n{log.read_text()[-2000:]}", seconds=150
                )
                await asyncio.sleep(draw.uniform(0, 1.0))  # the point of the kill: anywhere in a tick
            finally:
                process.kill()
                await asyncio.to_thread(process.wait)
            assert (await made.hpa())["min_replicas"] >= OPERATORS_FLOOR
        seen = await floors(made)
    assert min(seen) >= OPERATORS_FLOOR
    assert any(one < other for one, other in pairwise(seen))  # it raised
    assert any(one > other for one, other in pairwise(seen))  # and lowered
    client = connect(ClickHouseSettings(url=shared_store_url, database=database))
    patches = read_patches(client, SERVICE)
    client.close()
    assert patches
    assert all(patch.floor_after is not None and patch.floor_after >= OPERATORS_FLOOR for patch in patches)
