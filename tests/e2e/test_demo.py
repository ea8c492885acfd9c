"""`tidegauge demo --headless` as its user runs it: what it says in the end, and that no killed process changes it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.stack_fixtures import Stack, running
from tests.e2e.stack_fixtures import folder as folder

pytestmark = [pytest.mark.e2e, pytest.mark.server]

PREPARED_SECONDS = 240.0  # until the window is played
BACK_SECONDS = 45.0
REQUESTS_BETWEEN_KILLS = 100
# Events wait half a second for company. A replica serves at most 14 requests/s; one is killed, and then all of a
# cluster, which are at most 20: 21 * 14 / 2 = 147.
UNSENT_AT_MOST = 147
SUMMARY_KEYS = {
    "speed", "window", "history", "events", "forecast", "observed", "scaling", "lead_seconds", "slo", "measured",
    "simulated",
}  # fmt: skip
OBSERVED_KEYS = {"peak_at", "peak_rps", "requests", "failed", "unsent", "p95_ms", "p99_ms"}
SCALING_KEYS = {"at", "floor_before", "floor_after", "reason", "needed_at", "ready_at"}
TOLL_KEYS = {"under_provisioned_seconds", "replica_seconds"}


def finish(stack: Stack, *, seconds: float) -> dict[str, Any]:
    """Wait for the demo's own end and return its summary."""
    assert stack.exit_code(seconds=seconds) == 0, stack.output()
    stack.assert_nothing_is_left()
    summary: dict[str, Any] = json.loads((stack.folder / "out" / "summary.json").read_text())
    print(stack.output())
    return summary


def demo(folder: Path, *, minutes: float) -> tuple[str, ...]:
    return ("demo", "--headless", "--minutes", str(minutes), "--speed", "60", "--out", str(folder / "out"))


@pytest.mark.timeout(480)
def test_a_demo_without_a_screen_raises_the_floor_loses_nothing_and_says_so(folder: Path) -> None:
    with running(folder, *demo(folder, minutes=2)) as stack:
        summary = finish(stack, seconds=450)
    assert_is_as_documented(summary)
    events = summary["events"]
    assert events["generated"] == events["acknowledged"] == events["stored"] > 0
    assert (events["dropped"], events["duplicates"]) == (0, 0)
    # Every request reached the one service that records: what users counted is what is stored.
    assert summary["observed"]["requests"] == events["stored"]
    assert any(row["floor_after"] > row["floor_before"] for row in summary["scaling"])
    assert (summary["speed"], summary["history"]["rows"] > 0) == (60.0, True)


def assert_is_as_documented(summary: dict[str, Any]) -> None:
    assert set(summary) >= SUMMARY_KEYS
    assert set(summary["history"]) == {"source", "rows"}
    assert set(summary["events"]) == {"generated", "acknowledged", "stored", "dropped", "duplicates"}
    assert set(summary["forecast"]) >= {"origin", "peak_at", "peak_rps"}
    assert set(summary["forecast"]["peak_rps"]) == {"0.5", "0.95"}
    assert set(summary["observed"]) >= OBSERVED_KEYS
    for row in summary["scaling"]:
        assert set(row) == SCALING_KEYS
    for objective in summary["slo"]:
        assert set(objective) == {"name", "target", "sli"}
    assert set(summary["simulated"]) == {"predictive", "reactive_only"}
    for toll in (summary["measured"], *summary["simulated"].values()):
        assert set(toll) == TOLL_KEYS


@pytest.mark.timeout(700)
def test_any_one_process_may_be_killed_and_no_acknowledged_event_is_lost(folder: Path) -> None:
    with running(folder, *demo(folder, minutes=2)) as stack:
        stack.wait_until_said("Importing", seconds=PREPARED_SECONDS)
        kill_part(stack, "store")  # in the middle of the import or of the backtest
        stack.wait_until_said("Playing", seconds=PREPARED_SECONDS)
        for name in ("collector", "valkey", "store", "forecaster", "postgres-primary", "postgres-replica", "dashboard"):
            under_load(stack)
            kill_part(stack, name)
        under_load(stack)
        kill_checkpointer(stack)
        under_load(stack)
        kill_replica(stack)
        under_load(stack)
        kill_sender(stack)
        under_load(stack)
        kill_part(stack, "load")
        under_load(stack)
        kill_part(stack, "cluster", back=lambda: len(ready_replicas(stack)) >= 2)
        # The window is over when the load is no part any more: now the record settles and is read.
        stack.until(lambda: stack.part("load")["state"] == "absent", what="the window's end", seconds=200)
        for name in ("cluster", "store"):
            os.kill(stack.part(name)["pid"], signal.SIGKILL)
        summary = finish(stack, seconds=120)
    assert_is_as_documented(summary)
    events, observed = summary["events"], summary["observed"]
    print(events, observed)
    assert events["stored"] == events["acknowledged"] > 0
    assert events["duplicates"] == 0
    # A client's next report tells of all that it ever made, so a batch that was acknowledged and lost would show here.
    # What a killed replica had not sent yet was never told to anybody, by its counter neither.
    assert events["generated"] == events["acknowledged"] + events["dropped"]
    # The users' own books: what was answered is stored, but for what the killed replicas had not sent.
    answered = observed["requests"] - observed["failed"]
    assert answered <= events["stored"] + UNSENT_AT_MOST
    assert any(row["floor_after"] > row["floor_before"] for row in summary["scaling"])


def under_load(stack: Stack) -> None:
    """Return when the users have been answered some more requests."""
    before = answered(stack)
    stack.until(lambda: answered(stack) >= before + REQUESTS_BETWEEN_KILLS, what="load", seconds=BACK_SECONDS)


def answered(stack: Stack) -> int:
    path = stack.data / "load" / "load.json"
    return int(json.loads(path.read_text())["done"]) if path.exists() else 0


def kill_part(stack: Stack, name: str, *, back: Callable[[], Any] = lambda: True) -> None:
    """Kill a part's own process; return when its successor is ready."""
    before = stack.part(name)

    def is_back() -> bool:
        now = stack.part(name)
        return now["state"] == "ready" and now["restarts"] > before["restarts"] and bool(back())

    assert before["pid"], before
    _kill(stack, name, before["pid"], is_back)


def kill_replica(stack: Stack) -> None:
    """Kill the oldest ready replica; return when as many are ready as the floor wants."""
    pid = stack.until(lambda: ready_replicas(stack), what="a ready replica")[0]["pid"]

    def is_back() -> bool:
        ready = [replica["pid"] for replica in ready_replicas(stack)]
        return pid not in ready and len(ready) >= stack.get("CLUSTER", "/hpas/reference-app")["min_replicas"]

    _kill(stack, "a replica", pid, is_back)


def kill_checkpointer(stack: Stack) -> None:
    """Kill one of PostgreSQL's own processes, upon which it ends all others; return when there is another."""
    main = stack.part("postgres-primary")["pid"]
    pid = child_of(main, "checkpointer")
    assert pid
    _kill(stack, "a child of postgres-primary", pid, lambda: child_of(main, "checkpointer") not in (pid, 0))


def kill_sender(stack: Stack) -> None:
    """Kill the load generator's child; return when there is another."""
    pid = stack.until(lambda: sender_of(stack), what="the load generator's child")
    _kill(stack, "the load generator's child", pid, lambda: sender_of(stack) not in (pid, 0))


def _kill(stack: Stack, what: str, pid: int, is_back: Callable[[], bool]) -> None:
    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    stack.until(is_back, what=f"{what} to be back", seconds=BACK_SECONDS)
    print(f"{what} (pid {pid}) was killed and back after {time.monotonic() - killed_at:.1f} s", flush=True)


def ready_replicas(stack: Stack) -> list[dict[str, Any]]:
    return [replica for replica in stack.get("CLUSTER", "/replicas") if replica["state"] == "ready"]


def sender_of(stack: Stack) -> int:
    """Return the pid of the process that sends; 0 while there is none."""
    pid = stack.part("load")["pid"]
    return child_of(pid, "loadgen.sending.worker") if pid else 0


def child_of(pid: int, word: str) -> int:
    """Return the pid of the child whose command line has this word; 0 while there is none."""
    with suppress(psutil.Error):  # it has just gone
        for child in psutil.Process(pid).children():
            if child.status() != psutil.STATUS_ZOMBIE and word in " ".join(child.cmdline()):
                return int(child.pid)
    return 0
