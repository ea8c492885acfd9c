"""A store and a collector that die and come back, a load upon them, and the books of both afterwards."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from collector.clickhouse import ClickHouseSettings, Client, StoreError, connect
from collector.instrument import Event
from tests.integration.collector_fixtures import CollectorProcess, start_collector, until, unused_port
from tests.integration.store_fixtures import StoreProcess, start_store

SETTLED_WITHIN_SECONDS = 180.0
ROUTES = tuple(f"/items/{number}" for number in range(5))


@dataclass
class Rig:
    """The two processes in one folder, always on the same ports and state."""

    folder: Path
    config_text: str
    environment: dict[str, str] = field(default_factory=dict)
    state: Path | None = None
    store_port: int = field(default_factory=unused_port)
    collector_port: int = field(default_factory=unused_port)
    store: StoreProcess | None = None
    collector: CollectorProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.collector_port}"

    def start_store(self) -> None:
        self.store = start_store(self.folder / "store", port=self.store_port)

    def start_collector(self) -> None:
        self.collector = start_collector(
            self.state or self.folder / "state",
            f"http://127.0.0.1:{self.store_port}",
            port=self.collector_port,
            environment=self.environment,
            config_text=self.config_text,
        )

    def kill(self, what: str) -> None:
        process = self.store if what == "store" else self.collector
        assert process is not None
        assert process.process.poll() is None, process.log.read_text()[-3000:]
        process.kill()

    def is_ready(self) -> bool:
        try:
            return httpx.get(self.url + "/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def end(self) -> None:
        for process in (self.collector, self.store):
            if process is not None and process.process.poll() is None:
                process.kill()

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = connect(ClickHouseSettings(url=f"http://127.0.0.1:{self.store_port}"))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def running_rig(folder: Path, config_text: str, **more: Any) -> Iterator[Rig]:
    rig = Rig(folder, config_text, **more)
    try:
        rig.start_store()
        rig.start_collector()
        until(rig.is_ready, why="the collector is ready", seconds=60)
        yield rig
    finally:
        rig.end()


class Load:
    """Sends batches from threads, each until it is acknowledged, as the middleware's client does."""

    def __init__(self, url: str, *, seed: int, senders: int = 2, pause_seconds: float = 0.02) -> None:
        self._url, self._pause = url, pause_seconds
        self.acknowledged: dict[str, int] = {}
        self.refused: Counter[int] = Counter()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{number}"),), daemon=True)
            for number in range(senders)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send no more."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, source: random.Random) -> None:
        with httpx.Client(timeout=10) as http:
            while not self._ending.is_set():
                identity = str(uuid.UUID(int=source.getrandbits(128)))
                events = source.randint(1, 40)
                if self._deliver(http, json.dumps(batch(source, identity, events)).encode()):
                    self.acknowledged[identity] = events
                self._ending.wait(self._pause)

    def _deliver(self, http: httpx.Client, body: bytes) -> bool:
        """Post until acknowledged; False when the load ended first: then it may be stored, or not."""
        while True:
            with suppress(httpx.TransportError):
                answer = http.post(self._url + "/v1/events", content=body)
                if answer.status_code == 200:
                    return True
                self.refused[answer.status_code] += 1
                assert answer.status_code in (429, 503), answer.text
            if self._ending.wait(0.05):
                return False


def batch(source: random.Random, identity: str, events: int) -> dict[str, Any]:
    """A batch whose events carry its identity, so that each can be asked for afterwards."""
    now = int(time.time() * 1e6)
    rows = [
        Event(
            ts_us=now - source.randrange(600_000_000), route=source.choice(ROUTES), method="GET", status=200,
            duration_us=source.randrange(1, 10**6), trace_id=identity,
        )
        for _ in range(events)
    ]  # fmt: skip
    columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
    sender = {"id": "load", "service": "shop", "generated_total": 0, "dropped_total": 0}
    return {"schema": 1, "batch_id": identity, "client": sender, "columns": columns}


@dataclass(frozen=True)
class Books:
    """What became of the batches. All but the first two must be zero."""

    acknowledged: int
    events: int
    lost: int
    torn: int
    doubled: int
    off_in_rollups: int

    def line(self) -> str:
        return (
            f"{self.acknowledged} batches ({self.events} events) acknowledged: {self.lost} lost, {self.torn} torn,"
            f" {self.doubled} stored twice, {self.off_in_rollups} events off in the rollups"
        )

    @property
    def balance(self) -> bool:
        return not (self.lost or self.torn or self.doubled or self.off_in_rollups)


def settled_books(rig: Rig, load: Load) -> Books:
    """Wait until nothing waits in the spool, and compare what is stored with what was acknowledged."""
    pending = (rig.state or rig.folder / "state") / "spool" / "pending"
    until(rig.is_ready, why="the collector is ready again", seconds=SETTLED_WITHIN_SECONDS)
    until(lambda: not os.listdir(pending), why="everything is settled", seconds=SETTLED_WITHIN_SECONDS)
    assert not list(pending.with_name("dead-letter").glob("*.json"))
    with rig.client() as client:
        stored = dict(client.query_rows("SELECT trace_id, count() FROM request_events GROUP BY trace_id"))
        rows = dict(client.query_rows("SELECT batch_id, count() FROM event_batches GROUP BY batch_id"))
        totals = client.query_rows(
            "SELECT (SELECT sum(requests) FROM red_1m), (SELECT sum(requests) FROM red_1h),"
            " (SELECT toUInt64(sum(value)) FROM demand_recorded)"
        )[0]
    known = load.acknowledged
    everything = sum(stored.values())
    return Books(
        acknowledged=len(known),
        events=sum(known.values()),
        lost=sum(1 for identity in known if identity not in stored or identity not in rows),
        torn=sum(1 for identity, events in known.items() if 0 < stored.get(identity, 0) < events),
        doubled=sum(1 for identity, events in known.items() if stored.get(identity, 0) > events)
        + sum(1 for count in rows.values() if count > 1),
        off_in_rollups=sum(abs(total - everything) for total in totals),
    )


def wait_for_store(rig: Rig) -> None:
    def answers() -> bool:
        try:
            with rig.client() as client:
                return bool(client.query_rows("SELECT 1"))
        except StoreError:
            return False

    until(answers, why="the store answers", seconds=60)
