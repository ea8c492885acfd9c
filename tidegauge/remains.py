"""Finds and ends what is left of a part after its own process is gone, and never anything else.

A process is ours when its recorded pid and birth agree (a pid alone may be somebody else's by now), when it carries the
mark that every part is given by environment and hands to its children, when it is in a part's session, or when it was
seen as a part's descendant. The supervisor decides when to look.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

STACK_MARK = "TIDEGAUGE_STACK"  # the stack's data directory
PART_MARK = "TIDEGAUGE_PART"


@dataclass(frozen=True, slots=True)
class Birth:
    """One process, told from a later one with the same pid by when it was born (in the kernel's own count)."""

    pid: int
    born: float


def birth_of(pid: int) -> Birth | None:
    """Return the process that has this pid now; None when there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return None if fields[0] == "Z" else Birth(pid, float(fields[19]))
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # not Linux
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else Birth(pid, process.create_time())
    except psutil.Error:
        return None


def descendants_of(pid: int) -> set[Birth]:
    """Return the children of a process, theirs, and so on."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return set()
    return {birth for child in children if (birth := birth_of(child.pid))}


def marks(data: Path, part: str) -> dict[str, str]:
    """Return the environment by which a part's processes are known."""
    return {STACK_MARK: str(data), PART_MARK: part}


def find_marked(mark: Mapping[str, str], *, session: int | None = None) -> set[Birth]:
    """Return the processes that carry all of `mark`, or are in the session; never this one or those above it."""
    above = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = set()
    for pid in psutil.pids():
        if pid not in above and ((session is not None and _session_of(pid) == session) or _carries(pid, mark)):
            found.add(birth_of(pid))
    return {birth for birth in found if birth}


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _carries(pid: int, mark: Mapping[str, str]) -> bool:
    try:
        environment = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return False
    return all(environment.get(name) == value for name, value in mark.items())


def send(birth: Birth, number: signal.Signals) -> None:
    """Send a signal to this very process, if it still lives."""
    if birth_of(birth.pid) == birth:
        try:
            os.kill(birth.pid, number)
        except ProcessLookupError:
            return


async def end_all(births: Collection[Birth], *, grace_seconds: float = 2.0) -> None:
    """Ask these processes to stop, and after the grace make them; return when they are gone."""
    living = {birth for birth in births if birth_of(birth.pid) == birth}
    for birth in living:
        send(birth, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while living := {birth for birth in living if birth_of(birth.pid) == birth}:
        if time.monotonic() > deadline:
            for birth in living:
                send(birth, signal.SIGKILL)
        await asyncio.sleep(0.02)
