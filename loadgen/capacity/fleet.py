"""What n replicas carry together, for n = 1, 2, 4..: the Universal Scalability Law over replicas.

Who starts replicas is a `Replicas`: the local cluster through its API, or a command of one's own. The law is fitted to
the confirmed low ends; its contention and coherency are of what replicas share (database, cache), not of one process.
"""

from __future__ import annotations

import asyncio
import random
import shlex
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import httpx
import numpy as np

from loadgen.capacity.run import CapacityFound, CapacityPlan, measure_capacity
from loadgen.capacity.usl import Usl, fit_usl

READY_SECONDS = 120.0
POLL_SECONDS = 0.5

Measure = Callable[[CapacityPlan, Callable[[str], None]], Awaitable[CapacityFound]]


class ReplicasError(RuntimeError):
    """The number of replicas could not be set: says what was asked for and what came."""


class Replicas(Protocol):
    """Whoever runs the target's replicas."""

    async def set(self, count: int) -> None:
        """Have so many, ready. Raises ReplicasError."""

    def unsteady(self) -> str | None:
        """Return why there are not as many as were set; None where there are, or nobody knows."""

    async def release(self) -> None:
        """Leave the number to whoever had it before."""


@dataclass(slots=True)
class ClusterReplicas:
    """Replicas of the local cluster, held by their floor: where its autoscaler goes above it, a trial is invalid."""

    url: str
    name: str
    client: httpx.Client
    wanted: int = 0

    def _ask(self, method: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self.client.request(method, f"{self.url}/hpas/{self.name}", timeout=5.0, **more)
        except httpx.HTTPError as error:
            raise ReplicasError(f"the cluster at {self.url} does not answer: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise ReplicasError(f"expected the cluster at {self.url} to obey, got {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found

    async def set(self, count: int) -> None:
        """Raise or lower the floor, and wait until exactly so many are ready."""
        self.wanted = count
        self._ask("PATCH", json={"min_replicas": count, "field_manager": "tidegauge-load"})
        deadline = time.monotonic() + READY_SECONDS
        while (now := self._ask("GET"))["ready"] != count or now["current"] != count:
            if time.monotonic() > deadline:
                raise ReplicasError(f"expected {count} ready replicas within {READY_SECONDS:.0f} s, got {now['ready']}")
            await asyncio.sleep(POLL_SECONDS)

    def unsteady(self) -> str | None:
        """Return what the autoscaler did meanwhile."""
        ready = self._ask("GET")["ready"]
        return None if ready == self.wanted else f"{ready} replicas were ready, not {self.wanted}"

    async def release(self) -> None:
        """Give the operator's floor back."""
        self._ask("PATCH", json={"release": True, "field_manager": "tidegauge-load"})


@dataclass(slots=True)
class CommandReplicas:
    """Replicas that a command sets: `{n}` in it is the number. It returns when they are ready."""

    command: str

    async def set(self, count: int) -> None:
        """Run the command."""
        argv = [part.replace("{n}", str(count)) for part in shlex.split(self.command)]
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
        try:
            code = await asyncio.wait_for(process.wait(), READY_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ReplicasError(f"{argv[0]} did not end within {READY_SECONDS:.0f} s") from None
        if code:
            raise ReplicasError(f"expected {shlex.join(argv)} to end with 0, got {code}")

    def unsteady(self) -> str | None:
        """Return nothing: nobody tells."""
        return None

    async def release(self) -> None:
        """Leave them as they are."""


@dataclass(frozen=True, slots=True)
class FleetFound:
    """What each number of replicas carried, and the law over them; None: too few of them were measured."""

    by_replicas: dict[int, CapacityFound]
    usl: Usl | None

    def to_json(self) -> dict[str, Any]:
        """Return it for scripts and for the record."""
        return {
            "fleet": [
                {
                    "replicas": count,
                    "capacity_rps": found.to_json()["capacity_rps"],
                    "valid": found.interval is not None,
                }
                for count, found in sorted(self.by_replicas.items())
            ],
            "usl_replicas": None if self.usl is None else asdict(self.usl),
        }


async def measure_fleet(
    plan: CapacityPlan, counts: Sequence[int], replicas: Replicas, show: Callable[[str], None], *,
    measure: Measure = measure_capacity,
) -> FleetFound:  # fmt: skip
    """Measure each number of replicas, in random order, sharing the budget. Raises ReplicasError, CrewError."""
    order = list(counts)
    random.Random(plan.seed).shuffle(order)  # noqa: S311 - to be repeatable, not secret
    found: dict[int, CapacityFound] = {}
    try:
        for count in order:
            show(f"replicas: {count}")
            await replicas.set(count)
            each = replace(
                plan, budget_seconds=plan.budget_seconds / len(order), run_id=f"{plan.run_id}-{count}",
                unsteady=replicas.unsteady, levels=tuple(level * count for level in plan.levels),
            )  # fmt: skip
            found[count] = await measure(each, show)
    finally:
        await replicas.release()
    lows = [(count, one.interval[0]) for count, one in found.items() if one.interval is not None]
    n, x = np.array([float(count) for count, _ in lows]), np.array([low for _, low in lows])
    return FleetFound(found, fit_usl(n, x) if lows else None)
