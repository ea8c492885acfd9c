"""How the stack refuses to start, and how it ends: a taken port, Ctrl-C at any moment, a killed supervisor."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.stack_fixtures import Stack, free_ports, running
from tests.e2e.stack_fixtures import folder as folder

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(270)]

DEMO = ("demo", "--headless", "--minutes", "2")
INTERRUPTED = 130  # as a shell says it: 128 + SIGINT
STOPPED_SECONDS = 60.0
PREPARED_SECONDS = 150.0  # of a demo until it plays, beside another stack
ORPHANS_SECONDS = 15.0


@pytest.mark.parametrize("command", [("up",), DEMO], ids=["up", "demo"])
@pytest.mark.parametrize("setting", ["CLICKHOUSE", "DASHBOARD"])
def test_a_taken_port_is_told_with_its_number_and_its_setting(
    folder: Path, command: tuple[str, ...], setting: str
) -> None:
    stack = Stack(folder, command, ports=free_ports())
    with socket.create_server(("127.0.0.1", stack.ports[setting])):
        stack.start()
        assert stack.exit_code() == 1
    assert f"port {stack.ports[setting]} for" in stack.output()
    assert f"choose another with TIDEGAUGE_{setting}_PORT" in stack.output()
    assert "Traceback" not in stack.output()
    stack.assert_nothing_is_left()


def test_the_port_after_postgresqls_is_told_with_what_it_follows_from(folder: Path) -> None:
    stack = Stack(folder, ("up",))
    number = stack.ports["POSTGRES"] + 1
    with socket.create_server(("127.0.0.1", number)):
        stack.start()
        assert stack.exit_code() == 1
    assert f"port {number} for postgres-replica: it is in use; choose another with TIDEGAUGE_POSTGRES_PORT" in (
        stack.output()
    )


def test_a_second_stack_in_the_same_directory_is_refused_and_leaves_the_first_alone(folder: Path) -> None:
    with running(folder, "up", "--no-dashboard", "--no-load") as stack:
        stack.until(lambda: stack.part("store")["state"] == "ready", what="a store")
        second = stack.run("up", **{f"TIDEGAUGE_{name}_PORT": str(port) for name, port in free_ports().items()})
        assert second.returncode == 1
        assert f"in use by another Tidegauge stack (pid {stack.status()['supervisor']})" in second.stderr
        assert (stack.part("store")["state"], stack.part("store")["restarts"]) == ("ready", 0)


@pytest.mark.parametrize(
    ("command", "words", "code"),
    [
        (("up",), f"{'store':<17} starting", 0),
        (("up",), f"{'cluster':<17} starting", 0),
        (("up",), "Up. State and logs", 0),
        (DEMO, "Starting the store", INTERRUPTED),
        (DEMO, "Backtest of the policy", INTERRUPTED),
        (DEMO, "floor ", INTERRUPTED),
    ],
    ids=["up-store", "up-cluster", "up", "demo-starting", "demo-proving", "demo-playing"],
)
def test_ctrl_c_leaves_nothing(folder: Path, command: tuple[str, ...], words: str, code: int) -> None:
    with running(folder, *command) as stack:
        stack.wait_until_said(words, seconds=PREPARED_SECONDS)
        stack.send(signal.SIGINT)
        assert stack.exit_code(seconds=STOPPED_SECONDS) == code, stack.output()
        assert "Traceback" not in stack.output()
        assert not (stack.data / "lock").exists()
        stack.assert_nothing_is_left()


def test_a_killed_supervisor_takes_its_parts_along_and_the_next_start_works(folder: Path) -> None:
    stack = Stack(folder, ("up",))
    try:
        stack.start()
        stack.wait_until_said("Up.")
        assert stack.processes()
        stack.send(signal.SIGKILL)
        assert stack.exit_code() == -signal.SIGKILL
        stack.assert_nothing_is_left(seconds=ORPHANS_SECONDS)
        stack.start()
        stack.until(lambda: stack.output().count("Up.") == 2, what="the second start", seconds=90)
        stack.send(signal.SIGTERM)
        assert stack.exit_code(seconds=STOPPED_SECONDS) == 0
    finally:
        stack.end()
        stack.assert_nothing_is_left()
