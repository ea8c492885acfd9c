"""Forecaster processes on a Kubernetes API server and a store, in the environment that people start them in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.integration.store_fixtures import free_port
from tests.integration.wave_fixtures import SERVICE
from tests.kubernetes.cluster import FORECASTER_TOKEN, MERGE
from tests.kubernetes.cluster_fixtures import Shop

WITHIN_SECONDS = 400.0  # of anything that a busy machine has to come to; a free one takes seconds
CONFIG = """\
version: 1
services:
  {service}:
    source: events
    scaling:
      target: {{kind: kubernetes, namespace: {namespace}, name: reference-app}}
      mode: observe
      min_replicas: 3
      max_replicas: 50
      capacity_rps: [12, 14]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {{target_rps_per_replica: 10}}
"""


@dataclass
class ForecasterProcess:
    """A forecaster that may be killed and started again on its data. `log` has what all of its lives said."""

    environment: Mapping[str, str]
    log: Path
    url: str
    http: httpx.Client
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as errors:
            command = [sys.executable, "-m", "forecaster"]
            self.process = subprocess.Popen(command, env=dict(self.environment), stderr=errors)

    def kill(self) -> None:
        """SIGKILL: what it had not on disk is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long; nothing when it does not run."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        self.kill()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response | None:
        """Its answer, None while it does not listen or is still without its store."""
        try:
            answer = self.http.request(method, self.url + path, json=body)
        except httpx.TransportError:
            return None
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

    def leads(self) -> bool:
        """Whether it says so itself."""
        answer = self.ask("GET", "/metrics")
        return answer is not None and "tidegauge_leader 1.0" in answer.text


@contextmanager
def forecaster_of(
    shop: Shop, folder: Path, *, store: Mapping[str, str], clock: str, **more: str
) -> Iterator[ForecasterProcess]:
    """A forecaster that is not started yet, of the wave's service; ended afterwards, and its lease given away."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "tidegauge.yaml"
    config.write_text(CONFIG.format(service=SERVICE, namespace=shop.namespace))
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIDEGAUGE_")},
        **store,
        "KUBECONFIG": str(shop.cluster.kubeconfig(FORECASTER_TOKEN, f"forecaster-{port}")),
        "TIDEGAUGE_KUBERNETES_NAMESPACE": "tidegauge",
        "TIDEGAUGE_KUBERNETES_NODES": "elastic",  # there is none, and that shall limit no plan
        "TIDEGAUGE_CLOCK": clock,
        "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_DATA": str(folder),
        "TIDEGAUGE_COLLECTOR_URL": f"http://127.0.0.1:{free_port()}",  # nobody is told, and that stops nothing
        "TIDEGAUGE_FORECASTER_PORT": str(port),
        "TIDEGAUGE_FORECAST_HORIZON": "3h",
        "TIDEGAUGE_FORECAST_REFRESH": "10m",  # a machine that is busy may take seconds: not to be stale by then
        "TIDEGAUGE_FORECAST_SETTLE": "0.05s",
        **more,
    }
    with httpx.Client(timeout=30) as http:
        made = ForecasterProcess(environment, folder / "forecaster.log", f"http://127.0.0.1:{port}", http)
        try:
            yield made
        finally:
            made.end()


@contextmanager
def starting_pods(shop: Shop) -> Iterator[None]:
    """Let pods start: what kubelets do of a real cluster, and all controllers of one in memory."""
    ended = threading.Event()
    thread = threading.Thread(target=_start_pods, args=(shop, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _start_pods(shop: Shop, ended: threading.Event) -> None:
    path = f"/api/v1/namespaces/{shop.namespace}/pods"
    started = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    while not ended.wait(0.3):
        shop.cluster.sync()
        for pod in shop.cluster.ask("GET", path)["items"]:
            if pod["status"].get("phase") != "Running":
                shop.cluster.respond("PATCH", f"{path}/{pod['metadata']['name']}/status", started, how=MERGE)


def until(question: Callable[[], object], *, what: str, log: Path | None = None) -> None:
    """Ask until the answer is true; fails with the end of a log after WITHIN_SECONDS."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while not question():
        said = log.read_text()[-3000:] if log is not None and log.exists() else ""
        assert time.monotonic() < deadline, f"not within {WITHIN_SECONDS:.0f} s: {what}\n{said}"
        time.sleep(0.1)  # polling with a deadline
