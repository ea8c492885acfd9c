"""A real Prometheus for tests, with a past written by promtool or a target to scrape; skips without the binary."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.store_fixtures import free_port

READY_WITHIN_SECONDS = 30


def need(binary: str) -> str:
    """The path of a binary of Debian's `prometheus` package; skips the test when it is missing."""
    path = shutil.which(binary)
    if path is None:
        pytest.skip(f"{binary} is not installed (Debian: apt-get install prometheus)")
    return path


def write_past(data: Path, openmetrics: str) -> None:
    """Write blocks of samples (OpenMetrics text with timestamps) into a data directory."""
    source = data.parent / "past.om"
    source.write_text(openmetrics)
    command = [need("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h"]
    subprocess.run([*command, str(source), str(data)], check=True, capture_output=True, timeout=120)


@contextmanager
def running_prometheus(
    directory: Path, *, target_port: int | None = None, remote_write: str | None = None
) -> Iterator[str]:
    """Run Prometheus on `directory/data`, scraping 127.0.0.1:target_port every second; gives its URL.

    remote_write: where to send what it scrapes. Native histograms are on, for a target that has them.
    """
    binary = need("prometheus")
    port = free_port()
    jobs = f"[{{job_name: shop, static_configs: [{{targets: ['127.0.0.1:{target_port}']}}]}}]" if target_port else "[]"
    config = directory / "prometheus.yml"
    queue = "queue_config: {batch_send_deadline: 500ms, max_backoff: 500ms}, metadata_config: {send: true}"
    write = f"[{{url: '{remote_write}', send_native_histograms: true, {queue}}}]" if remote_write else "[]"
    config.write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs: {jobs}\nremote_write: {write}\n")
    log = directory / "prometheus.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                "--storage.tsdb.retention.time=10y",
                "--enable-feature=native-histograms",
                "--web.enable-remote-write-receiver",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=stderr,
            stderr=stderr,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url + "/-/ready", timeout=2):
            return
        time.sleep(0.05)  # polling with a deadline
    raise AssertionError(f"Prometheus is not ready; exit code {process.poll()}; log:\n{log.read_text()}")
