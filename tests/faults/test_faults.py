"""What was acknowledged is stored exactly once, and what was to be told is told under one id, whatever fails.

Each test has a short form, which runs with all others, and a whole one: `make test-faults`. They print what they did.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.faults.rig import Load, Rig, running_rig, settled_books, wait_for_store
from tests.integration.collector_fixtures import until

SEED = int(os.environ.get("FAULTS_SEED") or 1)
HOUR = 3600
CONFIG = """\
version: 1
services:
  shop: {source: events}
alerts:
  repeat: 30d
  receivers:
    - {name: hook, kind: webhook, url_env: HOOK_URL, secret_env: HOOK_SECRET, allow_networks: [127.0.0.0/8]}
    - {name: hanging, kind: webhook, url_env: HANGING_URL, secret_env: HOOK_SECRET, allow_networks: [127.0.0.0/8]}
"""


def whole(*values: object) -> object:
    return pytest.param(*values, marks=[pytest.mark.faults, pytest.mark.timeout(2400)], id="whole")


def short(*values: object) -> object:
    return pytest.param(*values, marks=[pytest.mark.server, pytest.mark.timeout(300)], id="short")


class Receiver:
    """Takes webhooks; a third of the ids are failed at their first coming, and all of them when it `hangs`."""

    def __init__(self, source: random.Random, *, hangs: bool = False) -> None:
        self.ids_by_service: dict[str, set[str]] = defaultdict(set)
        self.failed: set[str] = set()
        self.requests = 0
        self._source, self._hangs = source, hangs
        self._lock, self.ending = threading.Lock(), threading.Event()

    def take(self, identity: str, body: bytes) -> int | None:
        """Return the status to answer with; None: no answer at all."""
        with self._lock:
            self.requests += 1
            if self._hangs:
                return None
            if identity not in self.failed and self._source.random() < 1 / 3:
                self.failed.add(identity)
                return self._source.choice([500, 503, 429])
            for alert in json.loads(body)["alerts"]:
                if alert["status"] == "firing":
                    self.ids_by_service[alert["labels"]["service"]].add(identity)
            return 200


@contextmanager
def serving(receiver: Receiver) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(self.headers["webhook-id"], body)
            if status is None:
                receiver.ending.wait(60)
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A collector that was killed in the middle is what the test is about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
    finally:
        receiver.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


def alerting(hook: str, hanging: str) -> dict[str, str]:
    """An environment whose clock is twenty hours behind and thirty times as fast: a minute ends every two seconds."""
    now = time.time()
    return {
        "HOOK_URL": hook,
        "HANGING_URL": hanging,
        "HOOK_SECRET": "whsec_" + base64.b64encode(bytes(range(24))).decode(),
        "TIDEGAUGE_CLOCK": f"{now - 20 * HOUR}:{now}:30",
    }


def post_condition(rig: Rig, service: str) -> bool:
    """Post a condition; True when it was acknowledged."""
    body = {"service": service, "name": "capacity", "severity": "page", "summary": "s", "expires_in_seconds": 20 * HOUR}
    try:
        return httpx.post(rig.url + "/v1/alerts", json=body, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("kills", [short(6), whole(int(os.environ.get("FAULTS_KILLS") or 200))])
def test_random_kills_under_load_lose_nothing_double_nothing_and_every_alert_is_told(
    kills: int, tmp_path: Path
) -> None:
    source = random.Random(SEED)
    told, hanging = Receiver(random.Random(SEED + 1)), Receiver(random.Random(0), hangs=True)
    begun, victims, promised = time.monotonic(), defaultdict(int), []
    with serving(told) as hook, serving(hanging) as dead_end, ExitStack() as running:
        rig = running.enter_context(running_rig(tmp_path, CONFIG, environment=alerting(hook, dead_end)))
        with Load(rig.url, seed=SEED) as load:
            while sum(victims.values()) < kills:
                if rig.is_ready() and len(promised) < kills and post_condition(rig, f"told-{len(promised)}"):
                    promised.append(f"told-{len(promised)}")
                time.sleep(source.uniform(0, 0.7))  # the kill comes at any instant
                for what in source.choice([("collector",), ("store",), ("collector", "store")]):
                    rig.kill(what)
                    victims[what] += 1
                    rig.start_store() if what == "store" else rig.start_collector()
                if source.random() < 0.5:
                    until(rig.is_ready, why="both are back", seconds=60)
            until(rig.is_ready, why="both are back", seconds=60)
        books = settled_books(rig, load)
        until(lambda: set(promised) <= set(told.ids_by_service), why="every alert is told", seconds=120)
    twice = [service for service in promised if len(told.ids_by_service[service]) != 1]
    untold = set(promised) - set(told.ids_by_service)
    print(
        f"\n{dict(victims)} killed in {time.monotonic() - begun:.0f} s, seed {SEED}: {books.line()};"
        f" {len(promised)} alerts, {len(untold)} not told, {len(twice)} under two ids,"
        f" {told.requests} webhooks taken, {len(told.failed)} failed at first, {hanging.requests} hung"
    )
    assert books.balance
    assert books.acknowledged > kills
    assert twice == []


@pytest.mark.parametrize("seconds", [short(3), whole(int(os.environ.get("FAULTS_AWAY_SECONDS") or 600))])
def test_while_the_store_is_away_everything_is_taken_and_stored_when_it_is_back(seconds: int, tmp_path: Path) -> None:
    config = CONFIG.split("alerts:")[0]
    with running_rig(tmp_path, config) as rig, Load(rig.url, seed=SEED, pause_seconds=0.05) as load:
        until(lambda: len(load.acknowledged) > 5, why="the load runs")
        rig.kill("store")
        before, ends = len(load.acknowledged), time.monotonic() + seconds
        until(lambda: time.monotonic() > ends, why="the time of absence is over", seconds=seconds + 30)
        meanwhile = len(load.acknowledged) - before
        rig.start_store()
        wait_for_store(rig)
        load.end()
        books = settled_books(rig, load)
    print(f"\nthe store away for {seconds} s of real time, {meanwhile} batches taken meanwhile: {books.line()}")
    assert meanwhile > seconds
    assert books.balance


@pytest.mark.parametrize("times", [short(1), whole(10)])
def test_a_store_that_hangs_is_as_good_as_away(times: int, tmp_path: Path) -> None:
    source = random.Random(SEED)
    with running_rig(tmp_path, CONFIG.split("alerts:")[0]) as rig, Load(rig.url, seed=SEED) as load:
        for _ in range(times):
            assert rig.store is not None
            rig.store.process.send_signal(signal.SIGSTOP)
            before = len(load.acknowledged)
            until(lambda before=before: len(load.acknowledged) > before + 5, why="batches are taken meanwhile")
            time.sleep(source.uniform(0, 2))
            rig.store.process.send_signal(signal.SIGCONT)
        load.end()
        books = settled_books(rig, load)
    print(f"\nthe store hung {times} times: {books.line()}")
    assert books.balance


@pytest.mark.parametrize("times", [short(1), whole(5)])
def test_a_full_disk_refuses_and_what_was_taken_is_stored_once_there_is_room(times: int, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no small filesystem can be mounted here: it takes root")
    try:
        with running_rig(tmp_path, CONFIG.split("alerts:")[0], state=disk / "state") as rig:
            with Load(rig.url, seed=SEED) as load:
                for _ in range(times):
                    until(lambda: len(load.acknowledged) > 5, why="the load runs")
                    ballast = disk / "ballast"
                    fill(ballast)
                    seen = load.refused[429]
                    until(lambda seen=seen: load.refused[429] > seen, why="batches are refused")
                    rig.kill("collector")
                    taken = len(load.acknowledged)
                    ballast.unlink()
                    rig.start_collector()
                    until(lambda taken=taken: len(load.acknowledged) > taken + 5, why="batches are taken again")
            books = settled_books(rig, load)
            print(f"\nthe disk full {times} times, {load.refused[429]} refusals: {books.line()}")
            assert books.balance
            rig.end()
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(path: Path) -> None:
    """Write until nothing more can be written."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)):
                pass
        except OSError:
            return


@pytest.mark.parametrize(
    "steps", [short((-HOUR, 2 * HOUR)), whole((-HOUR, 2 * HOUR, -6 * HOUR, 3 * HOUR, 0, -60, 60) * 3)]
)
def test_a_clock_that_is_stepped_loses_nothing_and_doubles_nothing(steps: tuple[int, ...], tmp_path: Path) -> None:
    with running_rig(tmp_path, CONFIG.split("alerts:")[0]) as rig, Load(rig.url, seed=SEED) as load:
        for step in steps:
            until(lambda: len(load.acknowledged) > 5, why="the load runs")
            rig.kill("collector")
            rig.environment = {"TIDEGAUGE_CLOCK": f"{time.time() - 12 * HOUR + step}:{time.time()}:1"}
            rig.start_collector()
            before = len(load.acknowledged)
            until(lambda before=before: len(load.acknowledged) > before + 5, why="batches are taken")
            until(lambda: spool_age(rig) >= 0, why="the age of the spool is no negative time")
        load.end()
        books = settled_books(rig, load)
    print(f"\nthe clock stepped {len(steps)} times by up to {max(map(abs, steps)) // HOUR} h: {books.line()}")
    assert books.balance


def spool_age(rig: Rig) -> float:
    try:
        lines = httpx.get(rig.url + "/metrics", timeout=10).text.splitlines()
    except httpx.TransportError:
        return -1
    return next((float(line.split()[1]) for line in lines if line.startswith("tidegauge_spool_oldest_seconds ")), -1)


@pytest.mark.parametrize("times", [short(1), whole(20)])
def test_a_half_written_file_of_the_spool_costs_itself_alone(times: int, tmp_path: Path) -> None:
    source = random.Random(SEED)
    pending, dead = (tmp_path / "state" / "spool" / part for part in ("pending", "dead-letter"))
    with running_rig(tmp_path, CONFIG.split("alerts:")[0]) as rig, Load(rig.url, seed=SEED) as load:
        for number in range(times):
            until(lambda: len(load.acknowledged) > 5, why="the load runs")
            rig.kill("collector")
            whole_body = json.dumps({"schema": 1, "columns": {"ts_us": list(range(1000))}}).encode()
            torn = whole_body[: source.randrange(1, len(whole_body))]
            name = f"{int(time.time() * 1e6):020d}-00000000-0000-4000-8000-{number:012d}.json"
            (pending / f"{name}.tmp").write_bytes(torn)  # what a kill leaves: it was never acknowledged
            (pending / name).write_bytes(torn)  # what no kill leaves, but a broken disk may
            rig.start_collector()
            until(lambda number=number: len(list(dead.glob("*.json"))) == number + 1, why="it is put aside", seconds=60)
        load.end()
        for path in dead.iterdir():
            path.unlink()
        books = settled_books(rig, load)
        assert not list(pending.glob("*.tmp"))
    print(f"\n{times} half-written files: {books.line()}")
    assert books.balance


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-m", "faults", "-s", *sys.argv[1:]]))
