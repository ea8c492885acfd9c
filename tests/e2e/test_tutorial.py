"""The tutorial, done as it says: every file written, every command run, in a folder of its own on free ports."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.stack_fixtures import COMMAND, free_ports, until
from tests.e2e.stack_fixtures import folder as folder
from tests.integration.prometheus_fixtures import running_prometheus, write_past
from tests.integration.store_fixtures import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(300)]

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
OWN_TERMINAL = "# a terminal of its own\n"
DAY = 86_400


def section(title: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a section of the tutorial: (language, text)."""
    parts = re.split(r"^## (.+)$", TUTORIAL.read_text(), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return re.findall(r"^```(\w+)\n(.*?)^```$", found[title], re.MULTILINE | re.DOTALL)


def environ(ports: dict[str, int]) -> dict[str, str]:
    """Return a newcomer's environment: the ports are free ones, and nothing else is set."""
    foreign = ("TIDEGAUGE_", "REFERENCE_APP_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **inherited,
        **{f"TIDEGAUGE_{name}_PORT": str(port) for name, port in ports.items()},
        "TIDEGAUGE_COLLECTOR_URL": f"http://127.0.0.1:{ports['COLLECTOR']}",
        "TIDEGAUGE_FORECASTER_URL": f"http://127.0.0.1:{ports['FORECASTER']}",
        "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}",
    }


@contextmanager
def terminal(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a command in a terminal of its own, from when it says or listens that it is ready; Ctrl-C ends it."""
    log = folder / "terminal.log"
    log.unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(shlex.split(command), cwd=folder, env=environment, stdout=output, stderr=output)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        return "Up. State and logs" in log.read_text() or "Application startup complete" in log.read_text()

    try:
        until(is_ready, what=command, seconds=90)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def follow(title: str, folder: Path, ports: dict[str, int], replaced: dict[str, str]) -> str:
    """Do what a section says; return all that its commands printed."""
    environment, printed = environ(ports), []
    with ExitStack() as terminals:
        for language, text in section(title):
            for before, after in replaced.items():
                text = text.replace(before, after)
            if language in ("yaml", "python"):
                (folder / text.split("\n", 1)[0].removeprefix("# ")).write_text(text)
            elif text.startswith(OWN_TERMINAL):
                terminals.enter_context(terminal(text.removeprefix(OWN_TERMINAL), folder, environment))
            else:
                printed += [typed(line, folder, environment) for line in text.strip().splitlines()]
    return "\n".join(printed)


def typed(line: str, folder: Path, environment: dict[str, str]) -> str:
    """Type a line into a shell."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return f"$ {line}\n{done.stdout}"


def test_a_service_of_ones_own_is_on_the_dashboards_record_by_the_tutorial_alone(folder: Path) -> None:
    port = str(free_port())
    printed = follow("Your own FastAPI service", folder, free_ports(), {"127.0.0.1:8080": f"127.0.0.1:{port}",
                                                                        "--port 8080": f"--port {port}"})  # fmt: skip
    # Ten a second for twenty seconds, Poisson: about 200, and all of them are in the record when it is asked.
    sent = int(re.search(r"http_reqs \.+ (\d+)", printed)[1])
    assert 140 < sent < 260
    assert f"availability: 1.00000 of {sent} requests" in printed
    assert "release 1.0.0" in printed


def test_a_prometheus_of_ones_own_is_read_by_the_tutorial_alone(folder: Path) -> None:
    now = int(time.time()) // 60 * 60
    begin = now - 2 * DAY - 7200
    labels = '{job="shop",instance="a",status="200"}'
    scrapes = [f"shop_requests_total{labels} {at - begin} {at}" for at in range(begin, now + 1, 60)]
    write_past(folder / "data", "# TYPE shop_requests counter\n" + "\n".join(scrapes) + "\n# EOF\n")
    with running_prometheus(folder) as url:
        printed = follow("Your own Prometheus", folder, free_ports(), {"http://127.0.0.1:9090": url})
    # One request a second for two days: 172,800, give or take the minutes at either end.
    stored = int(re.search(r"availability: 1\.00000 of ([\d,]+) requests", printed)[1].replace(",", ""))
    assert 172_800 - 900 <= stored <= 172_800 + 900
