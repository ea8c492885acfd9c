"""What the local cluster remembers when its process is killed: floor, desired count, the HPA's memory, transitions.

The state is one small JSON file, replaced atomically; transitions are lines appended to a second one. What the numbers
mean is the autoscaler's; this module only keeps them.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forecaster.scaling.hpa import HpaMemory

log = logging.getLogger(__name__)

KEPT_TRANSITIONS = 20_000
"""Newest transitions that are served; the file is cut to them at start."""


class StateError(ValueError):
    """The state file does not hold what we wrote: says which file, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The floor in force and who set it (None = the operator's), the replicas wanted, and the HPA's memory."""

    floor: int
    desired: int
    manager: str | None = None
    memory: HpaMemory = field(default_factory=HpaMemory)


@dataclass(frozen=True, slots=True)
class Counts:
    """current = starting + ready replicas; draining ones are counted in neither."""

    current: int
    ready: int


@dataclass(frozen=True, slots=True)
class Transition:
    """Something changed at `at` (clock time, epoch seconds): its kind, and the numbers after it.

    kind: floor | desired | starting | ready | draining | stopped | lost. instance: the replica it is about, if any.
    """

    at: float
    kind: str
    floor: int
    desired: int
    current: int
    ready: int
    instance: str | None = None


class Journal:
    """The durable state and its transitions. One process writes; every write is on its way to disk when it returns."""

    def __init__(self, folder: Path, *, initial: ClusterState, now_seconds: Callable[[], float]) -> None:
        """Read what an earlier process left in `folder` (created if missing), or begin with `initial`.

        now_seconds: the clock in use, epoch seconds. Raises StateError when the state file is not ours.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._state_path = folder / "state.json"
        self._log_path = folder / "transitions.jsonl"
        self._now_seconds = now_seconds
        found = _read_state(self._state_path)
        self.state = found or initial
        self._transitions = _read_transitions(self._log_path)

    def keep(self, state: ClusterState) -> None:
        """Replace the state. Floor, desired and manager are synced to disk; memory alone is only written."""
        before, self.state = self.state, state
        durable = (before.floor, before.desired, before.manager) != (state.floor, state.desired, state.manager)
        _write_state(self._state_path, state, durable=durable or not self._state_path.exists())

    def note(self, kind: str, counts: Counts, instance: str | None = None) -> None:
        """Append a transition that has just happened; floor and desired are the state's."""
        transition = Transition(
            at=round(self._now_seconds(), 3),
            kind=kind,
            floor=self.state.floor,
            desired=self.state.desired,
            current=counts.current,
            ready=counts.ready,
            instance=instance,
        )
        self._transitions.append(transition)
        with self._log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(transition)) + "\n")
            if kind in ("floor", "desired"):
                file.flush()
                os.fsync(file.fileno())

    def note_lost(self) -> None:
        """Note as lost whichever replicas the log left alive: they died with the process that had started them."""
        last = {transition.instance: transition.kind for transition in self._transitions}
        for instance, kind in last.items():
            if instance is not None and kind not in ("stopped", "lost"):
                self.note("lost", Counts(current=0, ready=0), instance)

    def since(self, epoch_seconds: float) -> list[Transition]:
        """Return the kept transitions at or after an instant of the clock in use, oldest first."""
        return [transition for transition in self._transitions if transition.at >= epoch_seconds]


def _read_state(path: Path) -> ClusterState | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        found = json.loads(text)
        manager = found["manager"]
        return ClusterState(
            floor=int(found["floor"]),
            desired=int(found["desired"]),
            manager=None if manager is None else str(manager),
            memory=HpaMemory(_entries(found["recommendations"]), _entries(found["scale_events"])),
        )
    except (ValueError, KeyError, TypeError) as error:
        expected = "expected JSON with floor, desired, manager, recommendations and scale_events"
        hint = "remove the file to start at the configured floor"
        raise StateError(f"{path}: {expected}; {type(error).__name__}: {error}; {hint}") from error


def _entries(pairs: list[list[Any]]) -> tuple[tuple[datetime, int], ...]:
    return tuple((datetime.fromtimestamp(float(at), UTC), int(count)) for at, count in pairs)


def _write_state(path: Path, state: ClusterState, *, durable: bool) -> None:
    content = {
        "floor": state.floor,
        "desired": state.desired,
        "manager": state.manager,
        "recommendations": [[at.timestamp(), count] for at, count in state.memory.recommendations],
        "scale_events": [[at.timestamp(), count] for at, count in state.memory.scale_events],
    }
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_transitions(path: Path) -> deque[Transition]:
    kept: deque[Transition] = deque(maxlen=KEPT_TRANSITIONS)
    if not path.exists():
        return kept
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            kept.append(Transition(**json.loads(line)))
        except (ValueError, TypeError):  # a kill can leave half a last line: the rest still counts
            log.warning("%s: line %d is not a transition, left out", path, number)
    if len(kept) != len(lines):
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(asdict(transition)) + "\n" for transition in kept), encoding="utf-8")
        fresh.replace(path)
    return kept
