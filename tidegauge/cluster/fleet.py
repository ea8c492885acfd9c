"""The replicas as a whole: start what is missing, take out what died, drain what is too many.

The autoscaler says how many; the rotation learns which are ready; this module makes the processes agree. Each replica
has one task that lives as long as its process, and one loop compares the count with what is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

from tidegauge.cluster.replica import Probe, Replica, ReplicaSettings, free_port, send, spawn, terminate
from tidegauge.cluster.rotation import Backend, Rotation
from tidegauge.cluster.state import Counts

log = logging.getLogger(__name__)

_SETTLED_SECONDS = 10.0
_FORGIVEN_SECONDS = 60.0
_FIRST_BACK_OFF_SECONDS = 0.2
_LONGEST_BACK_OFF_SECONDS = 30.0
_IDLE_POLL_SECONDS = 0.02


class Note(Protocol):
    """Where transitions are told."""

    def __call__(self, kind: str, counts: Counts, instance: str | None = None) -> None:
        """Take one transition with the counts after it."""


def back_off_seconds(failures: int) -> float:
    """Return the real seconds to wait after the n-th failure in a row: 0, 0.2, 0.4, ... up to 30."""
    if failures <= 1:
        return 0.0
    return min(_LONGEST_BACK_OFF_SECONDS, _FIRST_BACK_OFF_SECONDS * 2.0 ** min(failures - 2, 30))


def choose_victims(live: Sequence[Replica], count: int) -> list[Replica]:
    """Return the `count` replicas to stop: those not ready before those that are, the newest first among each."""
    return sorted(live, key=lambda replica: (replica.state == "ready", -replica.number))[:count]


class Fleet:
    """Replicas of one service. `starting_limit`: how many may start at the same time (they compete for the CPU)."""

    def __init__(
        self,
        *,
        service: str,
        settings: ReplicaSettings,
        rotation: Rotation,
        probe: Probe,
        note: Note,
        now_seconds: Callable[[], float],
        starting_limit: int,
    ) -> None:
        """Begin with no replica; `run` starts them."""
        self._service = service
        self._settings = settings
        self._rotation = rotation
        self._probe = probe
        self._note = note
        self._now_seconds = now_seconds
        self._starting_limit = starting_limit
        self._tag = secrets.token_hex(2)
        self._number = 0
        self._desired = 0
        self._failures = 0
        self._failed_at = 0.0
        self._not_before = 0.0
        self._stopping = False
        self._replicas: list[Replica] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """Every replica whose process may still run, in start order."""
        return tuple(self._replicas)

    def counts(self) -> Counts:
        """Return how many replicas start or are ready, and how many are ready."""
        states = [replica.state for replica in self._replicas]
        return Counts(current=states.count("starting") + states.count("ready"), ready=states.count("ready"))

    def set_desired(self, desired: int) -> None:
        """Want this many replicas from now on."""
        self._desired = desired
        self._wake.set()

    async def run(self) -> None:
        """Keep the number of live replicas at what is wanted, until cancelled."""
        while True:
            self._wake.clear()
            self._reconcile()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until_retry_seconds()):
                    await self._wake.wait()

    async def stop(self) -> None:
        """Drain and end every replica; returns when no process of ours is left. `run` must have been cancelled."""
        self._stopping = True
        for replica in self.replicas:
            if replica.state != "draining":
                self._drain(replica)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _until_retry_seconds(self) -> float | None:
        remaining = self._not_before - time.monotonic()
        return remaining if remaining > 0 else None

    def _reconcile(self) -> None:
        live = [replica for replica in self._replicas if replica.state != "draining"]
        missing = self._desired - len(live)
        if missing < 0:
            for replica in choose_victims(live, -missing):
                self._drain(replica)
        elif missing > 0 and time.monotonic() >= self._not_before:
            starting = sum(replica.state == "starting" for replica in live)
            for _ in range(min(missing, self._starting_limit - starting)):
                self._start()

    def _start(self) -> None:
        self._number += 1
        backend = Backend(instance=f"{self._service}-{self._tag}-{self._number}", port=self._unused_port())
        replica = Replica(self._number, backend, started_at=self._now_seconds())
        self._replicas.append(replica)
        self._tell("starting", replica)
        self._go(self._live(replica))

    def _unused_port(self) -> int:
        taken = {replica.backend.port for replica in self._replicas}
        while (port := free_port()) in taken:
            continue
        return port

    async def _live(self, replica: Replica) -> None:
        """From spawn to exit."""
        instance = replica.backend.instance
        try:
            replica.process = await spawn(self._settings, instance=instance, port=replica.backend.port)
        except OSError:
            log.exception("replica %s: the command %s cannot be run", instance, self._settings.command)
            self._gone(replica)
            return
        probing = asyncio.create_task(self._until_ready(replica, replica.process))
        status = await replica.process.wait()
        probing.cancel()
        await asyncio.wait({probing})
        if not probing.cancelled() and (error := probing.exception()):
            log.error("replica %s could not be probed", instance, exc_info=error)
        if replica.state != "draining":
            log.warning("replica %s ended by itself with status %d", instance, status)
        self._gone(replica)

    async def _until_ready(self, replica: Replica, process: asyncio.subprocess.Process) -> None:
        created = time.monotonic()
        while replica.state == "starting" and not await self._is_ready(replica, created):
            if time.monotonic() - created > self._settings.start_timeout_seconds:
                log.error("replica %s was not ready in time: killing it", replica.backend.instance)
                send(process, signal.SIGKILL)
                return
            await asyncio.sleep(self._settings.ready_poll_seconds)
        if replica.state == "starting":
            replica.state = "ready"
            replica.ready_at = self._now_seconds()
            replica.ready_monotonic = time.monotonic()
            self._rotation.add(replica.backend)
            self._tell("ready", replica)
            self._wake.set()

    async def _is_ready(self, replica: Replica, created: float) -> bool:
        early = time.monotonic() - created < self._settings.least_start_seconds
        return not early and await self._probe(replica.backend.port)

    def _drain(self, replica: Replica) -> None:
        """Take a replica out of the rotation at once; it ends when the requests it holds are answered."""
        replica.state = "draining"
        self._rotation.remove(replica.backend)
        self._tell("draining", replica)
        self._go(self._retire(replica))

    async def _retire(self, replica: Replica) -> None:
        deadline = time.monotonic() + self._settings.drain_seconds
        while replica in self._replicas and (replica.process is None or replica.backend.in_flight > 0):
            if time.monotonic() > deadline:
                log.warning("replica %s still held %d requests", replica.backend.instance, replica.backend.in_flight)
                break
            await asyncio.sleep(_IDLE_POLL_SECONDS)
        if replica.process is not None:
            await terminate(replica.process, grace_seconds=self._settings.grace_seconds)

    def _gone(self, replica: Replica) -> None:
        wanted = replica.state == "draining"
        self._rotation.remove(replica.backend)
        self._replicas.remove(replica)
        if not wanted:
            self._count_failure(replica)
        self._tell("stopped" if wanted else "lost", replica)
        self._wake.set()

    def _count_failure(self, replica: Replica) -> None:
        """A replica that had served for a while is replaced at once; one that keeps dying, later and later."""
        now = time.monotonic()
        settled = replica.ready_monotonic is not None and now - replica.ready_monotonic >= _SETTLED_SECONDS
        forgiven = now - self._failed_at > _FORGIVEN_SECONDS
        self._failures = 1 if settled or forgiven else self._failures + 1
        self._failed_at = now
        self._not_before = now + back_off_seconds(self._failures)

    def _tell(self, kind: str, replica: Replica) -> None:
        self._note(kind, self.counts(), replica.backend.instance)

    def _go(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
