"""The cluster with real replicas: floor, draining, reactive scaling, death and resurrection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from collector.samplers.process import Replica, find_replicas, sample_process
from collector.samplers.reading import SourceUnreachableError
from tests.integration.cluster_fixtures import Cluster, cluster, is_alive

pytestmark = pytest.mark.server


async def load(made: Cluster, *, workers: int, until: asyncio.Event, path: str = "/", pause: float = 0.0) -> Counter:
    """Ask in closed loops until told to stop; count answers by instance, and failures by what came."""
    seen: Counter = Counter()

    async def worker() -> None:
        while not until.is_set():
            try:
                async with made.session.get(made.front + path) as answer:
                    seen[(await answer.json())["instance"] if answer.status == 200 else answer.status] += 1
            except Exception as error:  # noqa: BLE001 - whatever a user would have met is counted
                seen[repr(error)] += 1
            await asyncio.sleep(pause)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return seen


@contextlib.asynccontextmanager
async def under_load(made: Cluster, **how):
    """Yields a list that holds the counts once the block is left."""
    until, result = asyncio.Event(), []
    task = asyncio.create_task(load(made, until=until, **how))
    try:
        yield result
    finally:
        until.set()
        result.append(await task)


async def test_a_raised_floor_starts_replicas_that_take_their_share_at_once(tmp_path):
    async with cluster(tmp_path, least=1) as made:
        await made.until_ready(1)
        status, hpa = await made.patch(min_replicas=4, field_manager="tidegauge")
        assert (status, hpa["min_replicas"], hpa["manager"], hpa["operator_floor"]) == (200, 4, "tidegauge", 1)
        await made.until_ready(4)
        before = {replica["instance"]: replica["requests"] for replica in await made.replicas()}
        for _ in range(40):  # one at a time: all are equal, so the turn goes round: 40 / 4 = 10 each
            async with made.session.get(made.front + "/") as answer:
                assert answer.status == 200
        given = {
            replica["instance"]: replica["requests"] - before[replica["instance"]] for replica in await made.replicas()
        }
        assert list(given.values()) == [10, 10, 10, 10]
        kinds = [
            transition["kind"] for transition in (await made.get("/hpas/reference-app/transitions"))["transitions"]
        ]
        assert kinds.count("floor") == 1
        assert kinds.count("desired") == 1
        assert kinds.count("starting") == kinds.count("ready") == 4


async def test_no_replica_is_ready_sooner_than_a_pod_would_be(tmp_path):
    async with cluster(tmp_path, least=1, TIDEGAUGE_CLUSTER_START_SECONDS="1.5") as made:
        await made.until_ready(1)
        [replica] = await made.replicas()
        assert replica["ready_at"] - replica["started_at"] >= 1.5


async def test_scaling_down_under_load_fails_no_request(tmp_path):
    # Speed 600: 300 s of stabilization are half a second. The target is far above the load: the floor alone holds.
    async with cluster(tmp_path, least=1, target=100_000, speed=600, TIDEGAUGE_CLUSTER_STARTING="3") as made:
        await made.until_ready(1)
        await made.patch(min_replicas=6, field_manager="tidegauge")
        await made.until_ready(6)
        async with under_load(made, workers=8, path="/slow?0.03") as result:

            async def served(count: int) -> bool:
                return sum(replica["requests"] for replica in await made.replicas()) > count

            await made.until(lambda: served(300), what="300 requests before")
            _, hpa = await made.patch(release=True)
            assert (hpa["min_replicas"], hpa["manager"]) == (1, None)

            async def only_one_left() -> bool:
                return len(await made.replicas()) == 1

            await made.until(only_one_left, what="one replica left")
            given = (await made.replicas())[0]["requests"]
            await made.until(lambda: served(given + 100), what="100 requests after")
        answered = result[0]
        assert sum(answered.values()) > 300
        assert {key for key in answered if not str(key).startswith("reference-app-")} == set()
        transitions = (await made.get("/hpas/reference-app/transitions"))["transitions"]
        assert [t["kind"] for t in transitions].count("stopped") == 5
        assert [t["kind"] for t in transitions].count("lost") == 0
        first_drained = next(t["instance"] for t in transitions if t["kind"] == "draining")
        assert first_drained.endswith("-6")  # the newest goes first
        assert max(t["current"] - t["ready"] for t in transitions) == 3  # no more than three started at a time


async def test_load_scales_up_and_its_end_scales_down_only_after_the_stabilization_window(tmp_path):
    # Speed 100: a sync every 0.15 s, 300 s of stabilization in 3 real seconds. Target 5 requests per real second.
    async with cluster(tmp_path, least=1, most=4, target=5, speed=100) as made:
        await made.until_ready(1)
        async with under_load(made, workers=4, pause=0.02):  # well over the 3 * 5 that ask for a fourth
            await made.until_ready(4)
        await made.until_ready(1)
        transitions = (await made.get("/hpas/reference-app/transitions"))["transitions"]
        desired = [t for t in transitions if t["kind"] == "desired"]
        peak = max(index for index, t in enumerate(desired) if t["desired"] == 4)
        # The last recommendation of 4 came at or after desired became 4; nothing may fall within 300 s of it.
        assert desired[peak + 1]["at"] - desired[peak]["at"] >= 300
        assert desired[-1]["desired"] == 1


async def test_a_killed_replica_is_replaced_and_costs_no_idempotent_request(tmp_path):
    async with cluster(tmp_path, least=3) as made:
        await made.until_ready(3)
        async with under_load(made, workers=6, path="/slow?0.02") as result:
            victim = (await made.replicas())[0]
            os.kill(victim["pid"], signal.SIGKILL)

            async def replaced() -> bool:
                replicas = await made.replicas()
                return (
                    victim["pid"] not in [r["pid"] for r in replicas]
                    and [r["state"] for r in replicas] == ["ready"] * 3
                )

            await made.until(replaced, what="the replacement is ready")
        assert {key for key in result[0] if not str(key).startswith("reference-app-")} == set()
        kinds = [t["kind"] for t in (await made.get("/hpas/reference-app/transitions"))["transitions"]]
        assert kinds.count("lost") == 1


async def test_killing_the_cluster_leaves_no_replica_and_a_restart_resumes_floor_and_count(tmp_path):
    async with cluster(tmp_path, least=1, target=100_000) as made:
        await made.until_ready(1)
        await made.patch(min_replicas=3, field_manager="tidegauge")
        await made.until_ready(3)
        before = await made.get("/hpas/reference-app/transitions")
        pids = [replica["pid"] for replica in await made.replicas()]
        await made.stop(signal.SIGKILL)
        made.process = None

        async def all_dead() -> bool:
            return not any(is_alive(pid) for pid in pids)

        await made.until(all_dead, what="every replica dead")
        made.start()
        await made.until_ready(3)
        hpa = await made.hpa()
        assert (hpa["min_replicas"], hpa["desired"], hpa["manager"]) == (3, 3, "tidegauge")
        after = await made.get("/hpas/reference-app/transitions")
        assert after["transitions"][: len(before["transitions"])] == before["transitions"]


async def test_sigterm_finishes_what_was_accepted_and_ends_every_replica(tmp_path):
    async with cluster(tmp_path, least=2) as made:
        await made.until_ready(2)
        pids = [replica["pid"] for replica in await made.replicas()]
        slow = asyncio.create_task(_status(made, "/slow?0.7"))

        async def holds_one() -> bool:
            return sum(replica["in_flight"] for replica in await made.replicas()) == 1

        await made.until(holds_one, what="the request is on a replica")
        assert await made.stop() == 0
        assert await slow == 200
        assert not any(is_alive(pid) for pid in pids)


async def test_a_replica_that_never_becomes_ready_is_retried_with_growing_pauses(tmp_path):
    dying = f'["{sys.executable}", "-c", "raise SystemExit(3)"]'
    async with cluster(tmp_path, least=1, TIDEGAUGE_CLUSTER_COMMAND=dying) as made:

        async def lost_four() -> bool:
            transitions = (await made.get("/hpas/reference-app/transitions"))["transitions"]
            return [t["kind"] for t in transitions].count("lost") >= 4

        await made.until(lost_four, what="four attempts")
        async with made.session.get(made.api + "/readyz") as answer:
            assert answer.status == 503
        async with made.session.get(made.front + "/") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"
        async with made.session.get(made.api + "/metrics") as answer:
            text = await answer.text()
        assert 'tidegauge_cluster_refused_total{status="503"} 1.0' in text
        assert "tidegauge_cluster_desired_replicas 1.0" in text


async def test_a_request_that_the_front_refused_is_told_to_the_collector_as_demand(tmp_path):
    batches: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        batches.append(await request.json())
        return web.json_response({"acknowledged": len(batches[-1]["columns"]["status"]), "duplicate": False})

    collector = web.Application()
    collector.router.add_post("/v1/events", take)
    runner = web.AppRunner(collector)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    environ = {
        "TIDEGAUGE_COLLECTOR_URL": f"http://127.0.0.1:{runner.addresses[0][1]}",
        "TIDEGAUGE_CLUSTER_COMMAND": '["no-such-command-anywhere"]',
    }
    async with cluster(tmp_path, least=1, speed=60, **environ) as made:

        async def refused() -> bool:
            return await _status(made, "/api/flights/search") == 503

        await made.until(refused, what="the front is up and refuses")

        async def told() -> bool:
            return bool(batches)

        await made.until(told, what="the collector was told")
        columns = batches[0]["columns"]
        assert (columns["status"], columns["route"], columns["instance"]) == ([503], ["/unmatched"], ["front"])
        # The clock in use is 60 days behind: the event is dated by it.
        assert columns["ts_us"][0] / 1e6 < time.time() - 50 * 86_400
    await runner.cleanup()


async def test_the_api_refuses_what_cannot_be_and_says_why(tmp_path):
    async with cluster(tmp_path, least=1, most=8) as made:
        await made.until_ready(1)
        assert await made.patch(min_replicas=9, field_manager="x") == (
            409,
            {"error": "min_replicas: expected 1..8 (the maximum), got 9"},
        )
        assert (await made.patch(min_replicas=0, field_manager="x"))[0] == 409
        assert (await made.patch(min_replicas="3"))[0] == 400
        assert (await made.patch())[0] == 400
        assert (await made.hpa())["min_replicas"] == 1
        async with made.session.get(made.api + "/hpas/other") as answer:
            assert (answer.status, await answer.json()) == (404, {"error": "no HPA 'other'; known: reference-app"})
        async with made.session.get(made.api + "/hpas/reference-app/transitions?since=soon") as answer:
            assert answer.status == 400


async def test_what_each_replica_tells_of_itself_is_read_through_the_cluster_and_nothing_else_is(tmp_path):
    async with cluster(tmp_path, least=2) as made:
        await made.until_ready(2)
        instances = {replica["instance"] for replica in await made.replicas()}
        assert {each.instance for each in await asyncio.to_thread(find_replicas, made.api)} == instances
        one = instances.pop()
        async with made.session.get(f"{made.api}/replicas/{one}/metrics") as answer:
            assert (answer.status, await answer.text()) == (200, "process_cpu_seconds_total 3.5\n")
        told = await made.get(f"/replicas/{one}/internal/queries?limit=5")
        assert (told["instance"], told["target"]) == (one, "/internal/queries?limit=5")
        for path in (f"/replicas/{one}/api/bookings", f"/replicas/{one}/metrics/", "/replicas/nobody/metrics"):
            async with made.session.get(made.api + path) as answer:
                assert answer.status == 404
        assert "no replica 'nobody'" in (await made.get("/replicas/nobody/metrics"))["error"]
        async with made.session.post(f"{made.api}/replicas/{one}/metrics") as answer:
            assert answer.status == 405


async def test_a_replica_that_does_not_answer_is_told_so(tmp_path):
    deaf = f'["{sys.executable}", "-c", "import time; time.sleep(60)"]'
    async with cluster(tmp_path, least=1, TIDEGAUGE_CLUSTER_COMMAND=deaf) as made:

        async def starts() -> bool:
            return [replica["state"] for replica in await made.replicas()] == ["starting"]

        await made.until(starts, what="a replica that listens to nobody")
        instance = (await made.replicas())[0]["instance"]
        async with made.session.get(f"{made.api}/replicas/{instance}/metrics") as answer:
            assert answer.status == 502
            assert f"replica {instance} did not answer" in (await answer.json())["error"]
        assert await asyncio.to_thread(find_replicas, made.api) == []  # it is asked when it is ready
        with pytest.raises(SourceUnreachableError, match="502"):
            await asyncio.to_thread(sample_process, Replica(instance, f"{made.api}/replicas/{instance}"))


@pytest.mark.parametrize("setting", ["TIDEGAUGE_APP_PORT", "TIDEGAUGE_CLUSTER_PORT"])
async def test_a_port_in_use_is_named_with_its_setting_and_nothing_is_started(tmp_path, setting):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with cluster(tmp_path, **{setting: str(port)}) as made:
            assert made.process is not None
            assert await asyncio.to_thread(made.process.wait, 30) == 1
            assert f"port {port} (" in made.errors
            assert f"is in use; set {setting} to another" in made.errors
            assert not (tmp_path / "data").exists()


def test_a_wrong_setting_is_named_with_what_was_expected(tmp_path):
    (tmp_path / "tidegauge.yaml").write_text("version: 1\nservices: {}\n")
    environ = {**os.environ, "TIDEGAUGE_CONFIG": str(tmp_path / "tidegauge.yaml")}
    ended = subprocess.run([sys.executable, "-m", "tidegauge.cluster"], env=environ, capture_output=True, timeout=30)
    assert ended.returncode == 2
    assert b"no service 'reference-app'" in ended.stderr


async def _status(made: Cluster, path: str) -> int:
    async with made.session.get(made.front + path) as answer:
        await answer.read()
        return answer.status
