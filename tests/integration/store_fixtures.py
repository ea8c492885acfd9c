"""A real store process for tests: import `running_store` (a context manager) or the `store_url` fixture."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_WITHIN_SECONDS = 30
STOP_WITHIN_SECONDS = 15


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class StoreProcess:
    """A started store. `log` is the file with its stderr."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with (
                suppress(urllib.error.URLError, ConnectionError),
                urllib.request.urlopen(self.url + "/readyz", timeout=2),
            ):
                return
            time.sleep(0.02)  # polling with a deadline
        raise AssertionError(f"the store is not ready; exit code {self.process.poll()}; log:\n{self.log.read_text()}")

    def stop(self) -> int:
        """SIGTERM, and the exit code; SIGKILL when it does not end in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: what the process had not on disk is gone."""
        self.process.kill()
        self.process.wait(STOP_WITHIN_SECONDS)


def start_store(data: Path, *, port: int | None = None, environment: Mapping[str, str] | None = None) -> StoreProcess:
    """Start `python -m collector.embedded` on a directory; does not wait for it."""
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log = data / "store.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGAUGE_")}
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "collector.embedded"],
            env={
                **inherited,
                "TIDEGAUGE_DATA": str(data),
                "TIDEGAUGE_CLICKHOUSE_PORT": str(port),
                "TIDEGAUGE_CLICKHOUSE_MEMORY_BYTES": str(2 << 30),
                **(environment or {}),
            },
            stdout=stderr,
            stderr=stderr,
        )
    return StoreProcess(process, port, log)


@contextmanager
def running_store(tmp_path: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a store with its state in `tmp_path`; gives its URL, and ends the process afterwards."""
    store = start_store(tmp_path, environment=environment)
    try:
        store.wait_until_ready()
        yield store.url
    finally:
        if store.process.poll() is None:
            store.kill()


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store of this test's own."""
    with running_store(tmp_path / "store") as url:
        yield url


@pytest.fixture(scope="module")
def shared_store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a store that the tests of one module share: use a database of your own."""
    with running_store(tmp_path_factory.mktemp("store")) as url:
        yield url
