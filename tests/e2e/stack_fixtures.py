"""A whole stack as its user runs it: the `tidegauge` command as a process, ports and a data directory of its own.

    with running(folder, "up", "--no-load") as stack:
        stack.wait_until_whole()
        ...

Leaving the block ends the command by its pid, and then asserts that it left no process of its data directory and
nobody on its ports. What a part says is in the data directory's logs; what the command says is `stack.output()`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

COMMAND = Path(sys.executable).with_name("tidegauge")
SETTINGS = (
    "CLICKHOUSE", "POSTGRES", "VALKEY", "COLLECTOR", "FORECASTER", "LOADGEN", "APP", "EDGE", "CLUSTER", "JOBS",
    "DASHBOARD",
)  # fmt: skip
SHIPPED_CONFIG = Path(__file__).parents[2] / "tidegauge.yaml"
STOP_SECONDS = 90.0
POLL_SECONDS = 0.1
REMAINS_SECONDS = 5.0  # how long the kernel and the killed may take: a socket closes after its process


def until(question: Callable[[], Any], *, what: str, seconds: float) -> Any:
    """Return the first true answer, asked again and again; fail naming what was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(httpx.HTTPError, OSError):
            if answer := question():
                return answer
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(POLL_SECONDS)  # polling with a deadline


def free_ports() -> dict[str, int]:
    """Return a port for every setting, PostgreSQL's with the next four free as well.

    They lie below those that the kernel gives to outgoing connections: a load of thousands of connections would
    otherwise take one of them before its part has started.
    """
    found: dict[str, int] = {}
    taken: set[int] = set()
    while missing := [name for name in SETTINGS if name not in found]:
        port = random.randrange(12_000, 32_000, 5)
        if port not in taken and all(_is_free(port + offset) for offset in range(5)):
            taken.add(port)
            found[missing[0]] = port
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class Stack:
    """One `tidegauge` command. `data` is where its state lies (the demo has it one folder below what it was given)."""

    folder: Path
    arguments: tuple[str, ...]
    ports: Mapping[str, int] = field(default_factory=free_ports)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data" / "demo" if self.arguments[0] == "demo" else self.folder / "data"

    def environ(self) -> dict[str, str]:
        """Return the environment of this stack's commands: nothing of another Tidegauge is in it."""
        foreign = ("TIDEGAUGE_", "REFERENCE_APP_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **inherited,
            **{f"TIDEGAUGE_{name}_PORT": str(port) for name, port in self.ports.items()},
            "TIDEGAUGE_CLICKHOUSE_URL": "",
            "TIDEGAUGE_DATA": str(self.folder / "data"),
            "TIDEGAUGE_CONFIG": str(SHIPPED_CONFIG),
            **self.environment,
        }

    def start(self) -> None:
        with self._output_path.open("ab") as output:
            self.process = subprocess.Popen(
                [COMMAND, *self.arguments],
                env=self.environ(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C at the tests' terminal ends the tests, and they end this
            )

    @property
    def _output_path(self) -> Path:
        return self.folder / "output.log"

    def output(self) -> str:
        """Return all that the command has said."""
        return self._output_path.read_text() if self._output_path.exists() else ""

    def run(self, *arguments: str, seconds: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the same settings to its end."""
        return subprocess.run(
            [COMMAND, *arguments],
            env={**self.environ(), **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def url(self, setting: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[setting]}{path}"

    def get(self, setting: str, path: str) -> Any:
        return httpx.get(self.url(setting, path), timeout=5.0, trust_env=False).raise_for_status().json()

    def status(self) -> dict[str, Any]:
        """Return what `tidegauge status` reads, without the time that a command takes to start."""
        with suppress(FileNotFoundError, json.JSONDecodeError):
            state: dict[str, Any] = json.loads((self.data / "stack.json").read_text())
            return state
        return {"parts": []}

    def part(self, name: str) -> dict[str, Any]:
        """Return a part's state; without pid and in state `absent` while there is none."""
        found = [part for part in self.status()["parts"] if part["name"] == name]
        return found[0] if found else {"name": name, "state": "absent", "pid": None, "restarts": 0}

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def until(self, question: Callable[[], Any], *, what: str, seconds: float = 60.0) -> Any:
        """Like `until`, and fails at once when the command ends meanwhile."""

        def asked() -> Any:
            assert self.is_running(), f"ended with {self.exit_code()} while waiting for {what}:\n{self.output()}"
            return question()

        try:
            return until(asked, what=what, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()[-4000:]}\n{self.status()['parts']}") from None

    def wait_until_said(self, words: str, *, seconds: float = 90.0) -> None:
        self.until(lambda: words in self.output(), what=repr(words), seconds=seconds)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def exit_code(self, *, seconds: float = STOP_SECONDS) -> int:
        """Wait for the command's end and return its exit code; fail with what it has said when it does not end."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {seconds:g} s:\n{self.output()}") from None

    def end(self) -> None:
        """End the command, whatever it does: SIGTERM, and after a while SIGKILL."""
        if not self.is_running():
            return
        self.send(signal.SIGTERM)
        try:
            self.exit_code()
        except AssertionError:
            self.send(signal.SIGKILL)
            self.exit_code()
            raise

    def processes(self) -> list[psutil.Process]:
        """Return every process of this data directory, the command itself included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        mark = str(self.folder)
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except psutil.Error:  # it has gone, or is somebody else's
            return False
        return any(mark in word for word in words)

    def listening(self) -> list[int]:
        """Return those of our ports that somebody listens on."""
        ours = {*self.ports.values(), self.ports["POSTGRES"] + 1}
        listening = {
            connection.laddr.port
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        return sorted(ours & listening)

    def assert_nothing_is_left(self, *, seconds: float = REMAINS_SECONDS) -> None:
        """Fail, and end them by pid, when processes or listeners of this stack are left after `seconds`."""
        with suppress(AssertionError):
            until(lambda: not self.processes() and not self.listening(), what="nothing to be left", seconds=seconds)
        left, ports = self.processes(), self.listening()
        told = [f"{process.pid} {process.name()} {process.cmdline()}" for process in left if process.is_running()]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        assert not left, f"processes are left: {told}\n{self.output()[-4000:]}"
        assert not ports, f"somebody still listens on {ports}"


@contextmanager
def running(folder: Path, *arguments: str, **more: Any) -> Iterator[Stack]:
    """Run the command while the block lasts; then it must be gone with all its parts, and its lock too."""
    stack = Stack(folder, arguments, **more)
    stack.start()
    try:
        yield stack
        stack.end()
        assert not (stack.data / "lock").exists(), "the lock is left"
    finally:
        try:
            stack.end()
        finally:
            stack.assert_nothing_is_left()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own account may enter, which pytest's is not for a root user."""
    made = Path(tempfile.mkdtemp(prefix="tg-e2e-")).resolve()
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
