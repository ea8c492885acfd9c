"""The README's commands for a service of one's own, run one after the other on a stack as it starts it."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.stack_fixtures import folder as folder
from tests.e2e.stack_fixtures import free_ports
from tests.e2e.test_tutorial import environ, terminal, typed
from tests.integration.store_fixtures import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(600)]

README = Path(__file__).parents[2] / "README.md"
CONFIG = """\
version: 1
services:
  shop:
    source: events
    slos:
      - {name: availability, kind: availability, target: 0.999, window: 30d}
    scaling:
      target: {kind: local, name: shop}
      mode: observe
      min_replicas: 2
      max_replicas: 20
      capacity_rps: [10, 12]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {target_rps_per_replica: 7}
"""
SCENARIO = """\
version: 1
name: items
service: shop
target: http://127.0.0.1:8000
journeys:
  - name: look
    steps:
      - {name: item, get: /items/7}
scenarios:
  steady: {executor: constant-arrival-rate, rate: 5, duration: 6s, maxVUs: 20}
thresholds:
  http_req_failed: ["rate<0.01"]
"""
APP = """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{item}")
def item(item: int) -> dict[str, int]:
    return {"item": item}
"""
JUDGING = ("tidegauge backtest policy", "tidegauge load run", "tidegauge load capacity")
HISTORY = (
    "tidegauge load shape --peak-rps 40 --days 15 --step 5m --first-day $(date -u -d '15 days ago' +%F) --out s.csv",
    """awk -F, 'NR == 1 {print "timestamp,value"; next} {print $1 "," $2 * 300}' s.csv > requests.csv""",
)


def commands() -> list[str]:
    """Return the lines of the README that begin with the command, without what is said of them."""
    _, part = README.read_text().split("## With your own service", 1)
    (block,) = re.findall(r"^```sh\n(.*?)^```$", part.split("\n## ", 1)[0], re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].split("   #")[0].strip() for line in block.strip().splitlines()]


def test_every_command_for_a_service_of_ones_own_does_what_it_says(folder: Path) -> None:
    port = free_port()
    for name, text in (("tidegauge.yaml", CONFIG), ("scenario.yaml", SCENARIO), ("shop.py", APP)):
        (folder / name).write_text(text.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    up, *others = commands()
    environment = environ(free_ports())
    with ExitStack() as terminals:
        terminals.enter_context(terminal(f"uvicorn shop:app --port {port}", folder, environment))
        terminals.enter_context(terminal(up, folder, environment))
        for line in HISTORY:
            typed(line, folder, environment)
        for line in others:
            asked = line.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            if line.startswith(JUDGING):  # 1 is an answer too: not better, or too busy a machine to measure on
                asked += {"load capacity": " --budget 20s"}.get(" ".join(line.split()[1:3]), "") + " || [ $? = 1 ]"
            print(typed(asked, folder, environment)[:2000])
    assert (folder / "shop.pdf").read_bytes().startswith(b"%PDF")
    assert "openslo" in (folder / "slos.yaml").read_text().lower()
