"""`make bench-dashboard`: how long the dashboard's pages take in a real browser, over a record of --events events.

Of each page, in seconds from the navigation on: `cold`, the very first visit of a dashboard that was just started, by
a browser that has seen nothing yet; `open`, by its address, on a running one; `go`, by a click in the sidebar. Each
twice: in `sight`, when the last element came that a window of 1440 x 900 shows any part of, and `whole`, when the last
one of the page did, what lies beneath the window's edge too. Starts a store, dashboards and headless Chromium of its
own; the events are those of `bench-record`, the rest of the record (forecasts, decisions, samples, alerts, load tests)
is that of the dashboard's tests. While a page is looked at, the dashboard asks for the next minute's answers ahead of
time: `open` and `go` are those of a dashboard that is in use. The row `Empty`
is a page of Streamlit with a title alone, measured in turn with the others: what no page can be faster than.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from selenium import webdriver
from selenium.webdriver.common.by import By

from benchmarks import record_reads
from benchmarks.circumstances import circumstances
from benchmarks.record import whole_number
from collector.catalog import read_catalog
from collector.clickhouse import ClickHouseSettings, connect
from tests.integration.browser_fixtures import FIGURES, running_browser, running_dashboard, running_server
from tests.integration.dashboard_fixtures import create_tables, present, write_scaling
from tests.integration.dashboard_more import write_whole
from tests.integration.store_fixtures import free_port, running_store

PACKAGES = ("chdb", "streamlit", "altair", "pandas")
DATABASE, WAYS = "large", ("cold", "open", "go")
WINDOW = {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False}
FLOOR, BESIDE = "Empty", "Nothing"  # the two pages of benchmarks/dashboard_floor.py
FLOOR_APP = Path(__file__).with_name("dashboard_floor.py")
RECORDED = timedelta(hours=9)  # of forecasts, decisions and samples
LONGEST_SECONDS = 120.0
QUIET_MS = 600  # a page without a change for so long has been drawn
SCALED = """\
    scaling:
      target: {kind: local, name: bench}
      mode: observe
      min_replicas: 2
      max_replicas: 40
      capacity_rps: [12, 14]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {target_rps_per_replica: 11, sync: 15s, tolerance: 0.1, scale_down_stabilization: 300s}
    cost: {replica_hour: 0.10, currency: USD}
"""
# Notes when each part of the page came, and the last change of all. What a figure is drawn into is made when it is
# drawn. Changes within a canvas are not seen: they are the table that a grid writes for screen readers, .2 s after it
# was drawn.
WATCH = """
window.tidegauge = {last: 0, came: new Map()};
const unseen = change => change.target.closest && change.target.closest('canvas');
const seen = new MutationObserver(changes => {
  const now = performance.now();
  for (const change of changes) {
    if (unseen(change)) continue;
    window.tidegauge.last = now;
    for (const node of change.addedNodes) if (node.getBoundingClientRect) window.tidegauge.came.set(node, now);
  }
});
document.addEventListener('DOMContentLoaded', () => seen.observe(document, {childList: true, subtree: true}));
"""
# Milliseconds from arguments[1] to the last change in sight and to the last of all, once the page is whole and at rest;
# null until then. In sight: what is at last within the window, if only by a part of it.
DRAWN = """
const [title, since, quiet] = arguments, now = performance.now(), h = document.querySelector('h1');
if (!h || h.textContent.trim() !== title || now - window.tidegauge.last < quiet) return null;
const busy = '[data-stale=true], [data-testid=stSpinner], [data-testid=stSkeleton], [data-test-script-state=running],'
  + ' [data-test-script-state=initial]';
const all = sign => document.querySelectorAll(sign).length, figure = '[data-testid=stVegaLiteChart]';
if (all(busy) || all(figure) !== all(figure + ' .marks') || window.tidegauge.last <= since) return null;
let sight = since;
for (const [node, at] of window.tidegauge.came) {
  if (at <= sight || !node.isConnected) continue;
  const box = node.getBoundingClientRect();
  if (box.height && box.width && box.bottom > 0 && box.top < window.innerHeight) sight = at;
}
return [sight - since, window.tidegauge.last - since];
"""


@dataclass(frozen=True, slots=True)
class Seconds:
    """One visit, from the navigation on: until everything in sight was there, and until the page was whole."""

    sight: float
    whole: float


Spent = dict[str, dict[str, list[Seconds]]]  # of every visit, by page and way


def main() -> None:
    """Build the record, visit every page, print a table and a line of JSON (with --json the latter only)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=whole_number, default=1_000_000, help="such as 1M or 100M")
    parser.add_argument("--visits", type=int, default=10, help="of each page, by its address and by a click")
    parser.add_argument("--cold", type=int, default=3, help="first visits of each page")
    parser.add_argument("--span", default="9 h", help="the time range, as the dashboard offers it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    results = circumstances(seed=chosen.seed, packages=PACKAGES)
    results |= {name: getattr(chosen, name) for name in ("events", "visits", "cold", "span")}
    with tempfile.TemporaryDirectory(prefix="tidegauge-bench-") as folder, ExitStack() as running:
        settings = build(Path(folder), running, chosen.events, seed=chosen.seed)
        spent = visit_all(Path(folder), settings, chosen)
    results["pages"] = {page: {way: told(times) for way, times in ways.items()} for page, ways in spent.items()}
    if not chosen.json:
        draw_table(results["pages"])
    print(json.dumps(results))


def build(folder: Path, running: ExitStack, events: int, *, seed: int) -> dict[str, str]:
    """Start a store and fill it; return the settings of a dashboard over it."""
    store = folder / "store"
    store.mkdir()
    url = running.enter_context(running_store(store))
    config = folder / "tidegauge.yaml"
    config.write_text(record_reads.CATALOG + SCALED)
    service = read_catalog(config).service(record_reads.SERVICE)
    client = connect(ClickHouseSettings(url=url, database=DATABASE), timeout_seconds=1800)
    create_tables(client)
    now = present()
    record_reads.build(client, events, now=now, seed=seed)
    start = (now - RECORDED).replace(second=0, microsecond=0, minute=0)
    write_scaling(client, service, start=start, now=now, random=np.random.default_rng(seed))
    write_whole(client, service, start=start, now=now)
    client.close()
    away = {f"TIDEGAUGE_{part}_URL": "http://127.0.0.1:9" for part in ("COLLECTOR", "FORECASTER", "LOADGEN")}
    return {
        "TIDEGAUGE_CLICKHOUSE_URL": url, "TIDEGAUGE_CLICKHOUSE_DATABASE": DATABASE, "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_CLICKHOUSE_USER": "tidegauge_reader", **away,
    }  # fmt: skip


def visit_all(
    folder: Path, settings: dict[str, str], chosen: argparse.Namespace
) -> dict[str, dict[str, list[Seconds]]]:
    """Return the seconds of every visit, by page and way, the floor's as those of a page."""
    spent: Spent = {page: {way: [] for way in WAYS} for page in (FLOOR, *FIGURES)}
    for number in range(chosen.cold):
        for page, ways in spent.items():
            say(f"cold: {page}, {number + 1} of {chosen.cold}")
            with at_dashboards(folder / f"{page}-{number}", settings) as (driver, url, floor):
                ways["cold"].append(by_address(driver, floor if page == FLOOR else url, page, chosen.span))
    with at_dashboards(folder / "warm", settings) as (driver, url, floor):
        for number in range(chosen.visits + 1):
            say(f"opened: round {number} of {chosen.visits}")
            for page, ways in spent.items():
                seconds = by_address(driver, floor if page == FLOOR else url, page, chosen.span)
                ways["open"] += [seconds] if number else []  # the first round warms up
        for number in range(chosen.visits + 1):
            say(f"clicked: round {number} of {chosen.visits}")
            by_address(driver, floor, BESIDE, chosen.span)
            visited = [(FLOOR, by_click(driver, FLOOR))]
            by_address(driver, url, list(FIGURES)[-1], chosen.span)
            visited += [(page, by_click(driver, page)) for page in FIGURES]
            for page, seconds in visited:
                spent[page]["go"] += [seconds] if number else []
    return spent


@contextmanager
def at_dashboards(folder: Path, settings: dict[str, str]) -> Iterator[tuple[webdriver.Chrome, str, str]]:
    """Start a browser, the dashboard and the floor, all new; yield the browser and both addresses.

    folder: made anew, for the browser's profile and the logs.
    """
    folder.mkdir()
    port = free_port()
    floor = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", str(FLOOR_APP), "--server.headless", "true"]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port), "--server.fileWatcherType", "none"]
    with (
        running_server(command, floor + "/_stcore/health", folder / "floor.log"),
        running_dashboard(folder / "log", **settings) as url,
        running_browser(folder / "profile") as driver,
    ):
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", WINDOW)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        yield driver, url, floor


def by_address(driver: webdriver.Chrome, url: str, page: str, span: str) -> Seconds:
    """Return how long a page takes from its address on."""
    path = "" if page in ("Overview", FLOOR) else page.lower().replace(" ", "-")
    driver.get("about:blank")
    driver.get(f"{url}/{path}?span={span.replace(' ', '+')}")
    return drawn(driver, page, since=0.0)


def by_click(driver: webdriver.Chrome, page: str) -> Seconds:
    """Return how long a page takes from a click on its name on."""
    links = driver.find_elements(By.CSS_SELECTOR, "[data-testid=stSidebarNavLink]")
    link = next(link for link in links if link.text.strip().endswith(page))
    since = driver.execute_script("const t = performance.now(); arguments[0].click(); return t", link)
    return drawn(driver, page, since=since)


def drawn(driver: webdriver.Chrome, page: str, *, since: float) -> Seconds:
    """Wait until a page is at rest; return how long it took since `since` (ms of the document's clock)."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while (found := driver.execute_script(DRAWN, page, since, QUIET_MS)) is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"{page} is not drawn within {LONGEST_SECONDS:g} s")
        time.sleep(0.02)  # polling with a deadline
    sight, whole = found
    return Seconds(sight / 1000, whole / 1000)


def told(visits: list[Seconds]) -> dict[str, dict[str, float]]:
    """Return the median and the 95th percentile of both measures."""
    return {name: _percentiles([getattr(each, name) for each in visits]) for name in ("sight", "whole")}


def _percentiles(times: list[float]) -> dict[str, float]:
    last = statistics.quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]
    return {"p50": round(statistics.median(times), 3), "p95": round(last, 3)}


def draw_table(pages: dict[str, Any]) -> None:
    """Print a row per page."""
    shown = [(way, *each) for way in WAYS for each in (("sight", "p50"), ("sight", "p95"), ("whole", "p50"))]
    print(f"{'seconds':12}" + "".join(f"{' '.join(each):>16}" for each in shown))
    for page, ways in pages.items():
        print(f"{page:12}" + "".join(f"{ways[way][measure][point]:16.2f}" for way, measure, point in shown))


def say(text: str) -> None:
    """Tell stderr how far it is."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
