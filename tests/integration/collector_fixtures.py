"""A real collector process for tests, and questions asked until they are answered as wanted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

DEADLINE_SECONDS = 90.0
CATALOG = """\
version: 1
services:
  shop:
    source: events
    slos:
      - {name: availability, kind: availability, target: 0.99, window: 30d}
      - {name: fast, kind: latency, target: 0.95, threshold: 2s, window: 30d, route: "/items/{item}"}
    classic_rule: {window: 24h, mean_response: 2000ms, error_ratio: 0.1}
"""


@dataclass
class CollectorProcess:
    """A started collector. `log` is the file with its stderr."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def wait_until_alive(self, path: str = "/healthz") -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return httpx.get(self.url + path, timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        until(answers, why=f"the collector answers {path}")

    def kill(self) -> None:
        """SIGKILL: what the process had not on disk is gone."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def start_collector(
    folder: Path,
    store_url: str,
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    config_text: str = CATALOG,
) -> CollectorProcess:
    """Start `python -m collector` with its state in `folder`; does not wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "tidegauge.yaml"
    config.write_text(config_text)
    port = port or unused_port()
    log = folder / "collector.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGAUGE_")}
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "collector"],
            env={
                **inherited,
                "TIDEGAUGE_DATA": str(folder),
                "TIDEGAUGE_CONFIG": str(config),
                "TIDEGAUGE_COLLECTOR_PORT": str(port),
                "TIDEGAUGE_CLICKHOUSE_URL": store_url,
                **(environment or {}),
            },
            stdout=stderr,
            stderr=stderr,
        )
    return CollectorProcess(process, f"http://127.0.0.1:{port}", log)


def unused_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(question: Callable[[], object], *, why: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Ask until the answer is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"not within {seconds} s: {why}"
        time.sleep(0.02)  # polling with a deadline
