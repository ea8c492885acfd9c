"""The background half: events are buffered and posted to the collector in batches, each until it was accepted."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import os
import random
import threading
import time
import uuid
from collections import deque
from typing import NamedTuple
from urllib.parse import urlsplit

EVENTS_PER_BATCH = 5_000
GZIP_FROM_BYTES = 4_096  # below this a packet or two are saved, for the same work
_GZIP = b"\x1f\x8b"
_log = logging.getLogger("tidegauge.instrument")


class Event(NamedTuple):
    """One request, as POST /v1/events wants it. ts_us: start, epoch microseconds of the clock in use."""

    ts_us: int
    route: str
    method: str
    status: int
    duration_us: int
    response_bytes: int = 0
    region: str = ""
    instance: str = ""
    version: str = ""
    cache_level: str = ""
    database_target: str = ""
    user_agent_family: str = ""
    trace_id: str = ""
    country: str = ""


class EventClient:
    """Buffers events and posts them from a daemon thread; a batch is repeated until the collector has it.

    token: for a collector that asks for one; TIDEGAUGE_INGEST_TOKEN (or _FILE) when it is not given.
    flush_seconds: how long (real time) an event waits for company. max_buffer: events kept while the collector is
    away; more are dropped and counted. pack: gzip large bodies; unless said, to other machines only, for on loopback it
    costs the app more than it saves. `record` never blocks and never raises.
    """

    def __init__(
        self,
        collector_url: str,
        *,
        service: str,
        instance: str,
        flush_seconds: float = 0.5,
        max_buffer: int = 100_000,
        token: str | None = None,
        pack: bool | None = None,
    ) -> None:
        self._target = urlsplit(collector_url)
        if self._target.scheme not in ("http", "https") or not self._target.hostname:
            raise ValueError(f"collector_url: expected http(s)://host:port, got {collector_url!r}")
        self._headers = {"Content-Type": "application/json"}
        if token := token or _token_of_environment():
            self._headers["Authorization"] = f"Bearer {token}"
        self._is_far = self._target.hostname not in ("127.0.0.1", "::1", "localhost") if pack is None else pack
        self._service = service
        self._client_id = f"{instance}@{time.time():.6f}"
        self._flush_seconds, self._max_buffer = flush_seconds, max_buffer
        self._buffer: deque[Event] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._give_up_at = float("inf")
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None
        self.generated_total = 0
        self.dropped_total = 0
        self._accepted = 0
        self._told = (0, 0)  # the counters as of the last accepted batch

    def record(self, event: Event) -> None:
        """Take an event; dropped and counted when the buffer is full or the client closed."""
        with self._lock:
            self.generated_total += 1
            if len(self._buffer) >= self._max_buffer or self._closing.is_set():
                self.dropped_total += 1
                return
            self._buffer.append(event)
            if self._thread is None:  # only now: a process that forks before its first request keeps a working client
                self._thread = threading.Thread(target=self._run, name="tidegauge-events", daemon=True)
                self._thread.start()
            full = len(self._buffer) >= EVENTS_PER_BATCH
        if full:
            self._wake.set()

    def close(self, timeout: float = 5.0) -> bool:
        """Send what is left, with a last report of the counters; True when the collector has everything."""
        self._give_up_at = time.monotonic() + timeout
        with self._lock:
            self._closing.set()
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout + 0.1)
        left = self.generated_total - self.dropped_total - self._accepted
        if left:
            _log.warning("closed before the collector took everything: %d events are lost", left)
        return left == 0 and self._told == (self.generated_total, self.dropped_total)

    def _run(self) -> None:
        while True:
            if not self._closing.is_set():
                self._wake.wait(self._flush_seconds)
                self._wake.clear()
            while (batch := self._next_batch()) is not None:
                if not self._deliver(*batch):
                    return  # closing, and out of time
            if self._closing.is_set():
                if self._connection is not None:
                    self._connection.close()
                return

    def _next_batch(self) -> tuple[bytes, int, tuple[int, int]] | None:
        """Return body, number of events and the counters of the next batch, or None when there is nothing to tell."""
        with self._lock:
            counters = (self.generated_total, self.dropped_total)
            events = [self._buffer.popleft() for _ in range(min(EVENTS_PER_BATCH, len(self._buffer)))]
        if not events and counters == self._told:
            return None
        columns = zip(*events, strict=True) if events else [[] for _ in Event._fields]
        body = {
            "schema": 1,
            "batch_id": str(uuid.uuid4()),
            "client": {
                "id": self._client_id,
                "service": self._service,
                "generated_total": counters[0],
                "dropped_total": counters[1],
            },
            "columns": dict(zip(Event._fields, columns, strict=True)),
        }
        plain = json.dumps(body, separators=(",", ":")).encode()
        packed = self._is_far and len(plain) >= GZIP_FROM_BYTES
        return gzip.compress(plain, 1) if packed else plain, len(events), counters

    def _deliver(self, body: bytes, events: int, counters: tuple[int, int]) -> bool:
        """Post one batch until it is accepted or refused for good; False when closing ran out of time."""
        attempt = 0
        while True:
            status, retry_after = self._post(body)
            if status == 200:
                self._accepted += events
                self._told = counters
                return True
            if status in (400, 413):  # never acceptable: counted as dropped, told with the next report
                _log.error("the collector refused a batch of %d events with status %d", events, status)
                with self._lock:
                    self.dropped_total += events
                self._told = counters
                return True
            attempt += 1
            if status in (401, 403) and attempt == 1:
                _log.error("the collector asks for another token: set TIDEGAUGE_INGEST_TOKEN; events wait")
            pause = max(retry_after, min(5.0, 0.1 * 2 ** min(attempt, 6)) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            if self._closing.is_set():
                pause = min(pause, 0.2)
            if time.monotonic() + pause > self._give_up_at:
                return False
            self._closing.wait(pause) if not self._closing.is_set() else time.sleep(pause)

    def _post(self, body: bytes) -> tuple[int, float]:
        """Return status (0: no answer) and the seconds of Retry-After (0: none)."""
        try:
            if self._connection is None:
                kind = http.client.HTTPSConnection if self._target.scheme == "https" else http.client.HTTPConnection
                self._connection = kind(self._target.hostname or "", self._target.port, timeout=5)
            path = self._target.path.rstrip("/") + "/v1/events"
            packed = {"Content-Encoding": "gzip"} if body.startswith(_GZIP) else {}
            self._connection.request("POST", path, body, {**self._headers, **packed})
            response = self._connection.getresponse()
            response.read()
            after = response.headers.get("Retry-After", "0")
            return response.status, min(30.0, float(after)) if after.isdecimal() else 0.0
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return 0, 0.0


def _token_of_environment() -> str:
    """Return the first token of TIDEGAUGE_INGEST_TOKEN or the file of TIDEGAUGE_INGEST_TOKEN_FILE; "" without any."""
    text, file = os.environ.get("TIDEGAUGE_INGEST_TOKEN", ""), os.environ.get("TIDEGAUGE_INGEST_TOKEN_FILE")
    if not text and file:
        with open(file, encoding="utf-8") as lines:
            text = lines.read()
    return next(iter(text.replace(",", " ").split()), "")
