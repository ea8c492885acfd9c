"""The dashboard as a viewer has it: the real server on a real record, every page in headless Chromium."""

import math
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from collector.clickhouse import ClickHouseSettings, Client, connect
from tests.integration.dashboard_fixtures import FILLED, ROOT, AlertActions, present
from tests.integration.store_fixtures import free_port

pytestmark = [pytest.mark.server, pytest.mark.browser]
DEADLINE_SECONDS = 60.0
SETTLE_SECONDS = 10.0
FIGURES = {
    "Overview": 3, "SLO": 3, "Traffic": 5, "Forecast": 4, "Scaling": 1, "Capacity": 3, "Load tests": 3, "Data tier": 6,
    "Alerts": 0,
}  # fmt: skip
CALENDAR = """calendar:
      country: US
      events:
        - {kind: sale, starts_at: %s, length: 8h, lead: 1h, factor: 1.8, name: Winter sale}
  checkout:
    description: Takes the money.
    source: events
    slos:
      - {name: availability, kind: availability, target: 0.999, window: 30d}
"""
UNSETTLED = "[data-stale=true], [data-test-script-state=running], [data-test-script-state=initial]"
FIGURE = "[data-testid=stVegaLiteChart] svg.marks"
ERRORS = "[data-testid=stException], [data-testid=stAlertContentError]"
# Streamlit asks for these beside a page's own address first, and finds them at the root.
ITS_OWN = re.compile(r"/_stcore/(health|host-config) - Failed to load resource: .* 404")
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    "--no-sandbox", "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--window-size=1440,1000",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Viewer:
    """A browser at a dashboard, and where its pictures go."""

    driver: webdriver.Chrome
    url: str
    pictures: Path

    def until(self, question: Callable[[], object], *, why: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not question():
            assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {why}; {self.text()}"
            time.sleep(0.05)  # polling with a deadline

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def figures(self) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, FIGURE))

    def see(self, title: str) -> float:
        """Wait until a page is drawn to its end; the seconds until its figures were there."""
        started = time.monotonic()
        self.until(lambda: self._heading() == title and self.figures() == FIGURES[title], why=f"{title} is drawn")
        seconds = time.monotonic() - started
        self._settle()
        assert not self.driver.find_elements(By.CSS_SELECTOR, ERRORS), self.text()
        return seconds

    def _settle(self) -> None:
        """Give the page time to come to its end: on a busy machine what refreshes itself may never be at rest."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.driver.find_elements(By.CSS_SELECTOR, UNSETTLED) and time.monotonic() < deadline:
            time.sleep(0.05)  # polling with a deadline

    def _heading(self) -> str:
        return str(
            self.driver.execute_script("const h = document.querySelector('h1'); return h ? h.textContent.trim() : ''")
        )

    def go(self, title: str) -> float:
        """Click on a page's name."""
        links = self.driver.find_elements(By.CSS_SELECTOR, "[data-testid=stSidebarNavLink]")
        next(link for link in links if link.text.strip().endswith(title)).click()
        return self.see(title)

    def open_overview(self) -> None:
        """Come anew, as who was called at night."""
        self.driver.get(f"{self.url}/?span=9+h")
        self.see("Overview")

    def press(self, label: str) -> None:
        """Click on the first visible button of a name."""
        self.until(lambda: self._button(label) is not None, why=f"there is a button {label}")
        button = self._button(label)
        assert button is not None
        self.driver.execute_script("arguments[0].click()", button)

    def _button(self, label: str) -> WebElement | None:
        found = self.driver.find_elements(By.CSS_SELECTOR, "[role=dialog] button, [data-testid=stMain] button")
        script = "return arguments[0].textContent.trim()"
        return next((each for each in found if self.driver.execute_script(script, each) == label), None)

    def row(self, key: str, first: str) -> dict[str, str]:
        """The row of a table in which any cell says `first`, by the names of its columns."""
        self.until(lambda: self._cells(key, first), why=f"{key} has a row of {first}")
        found: dict[str, str] = self._cells(key, first)
        return found

    def _cells(self, key: str, first: str) -> dict[str, str]:
        # The grid is drawn on a canvas; beneath it lies a table for those who can't see it.
        found: dict[str, str] = self.driver.execute_script(
            """
            const grid = document.querySelector(`.st-key-table-${arguments[0]}`);
            if (!grid) return {};
            grid.scrollIntoView({block: 'center'});
            const names = [...grid.querySelectorAll('[role=columnheader]')].map(cell => cell.textContent.trim());
            for (const row of grid.querySelectorAll('tbody tr')) {
              const cells = [...row.querySelectorAll('td')].map(cell => cell.textContent.trim());
              if (cells.includes(arguments[1])) return Object.fromEntries(names.map((name, at) => [name, cells[at]]));
            }
            return {};""",
            key, first,
        )  # fmt: skip
        return found

    def complaints(self) -> list[str]:
        """What the browser's console has said since it was last asked, but for what Streamlit always asks."""
        messages = [str(entry["message"]) for entry in self.driver.get_log("browser")]
        return [message for message in messages if not ITS_OWN.search(message)]

    def picture(self, name: str, *, whole: bool = True) -> None:
        """Save the page, the whole of it however long unless told otherwise."""
        if whole:
            tall = self.driver.execute_script("return document.querySelector('[data-testid=stMain]').scrollHeight")
            self.driver.set_window_size(1440, min(4000, max(800, tall + 10)))
            drawn = "return document.readyState === 'complete'"
            self.until(lambda: self.driver.execute_script(drawn), why="the page is there at the new size")
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))
        if whole:
            self.driver.set_window_size(1440, 1000)


@contextmanager
def running_dashboard(log: Path, **settings: str) -> Iterator[str]:
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGAUGE_", "STREAMLIT_"))}
    environment = {**kept, "TIDEGAUGE_DASHBOARD_PORT": str(port), **settings}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard"], env=environment, stdout=out, stderr=out, cwd=ROOT
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _answers(url + "/_stcore/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)  # polling with a deadline
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=2):
        return True
    return False


@contextmanager
def running_browser(profile: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(CHROMEDRIVER)))
    try:
        driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "America/St_Johns"})  # a half-hour zone
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def viewer(
    dashboard_store: str, alert_actions: AlertActions, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Viewer]:  # fmt: skip
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("no chromium or chromedriver here (Debian's packages chromium and chromium-driver)")
    folder = tmp_path_factory.mktemp("browser")
    pictures = Path(os.environ.get("TIDEGAUGE_SCREENSHOTS") or folder / "screenshots")
    pictures.mkdir(parents=True, exist_ok=True)
    config = folder / "tidegauge.yaml"
    sale = f"{present() + timedelta(hours=6):%Y-%m-%dT%H:%M}"
    text = (ROOT / "tidegauge.yaml").read_text()
    config.write_text(text.replace("calendar: {country: null, events: []}\n", CALENDAR % sale))
    settings = {
        "TIDEGAUGE_CLICKHOUSE_URL": dashboard_store, "TIDEGAUGE_CLICKHOUSE_DATABASE": FILLED,
        "TIDEGAUGE_CLICKHOUSE_USER": "tidegauge_reader", "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_COLLECTOR_URL": alert_actions.url,
        **{f"TIDEGAUGE_{part}_URL": f"http://127.0.0.1:{free_port()}" for part in ("FORECASTER", "LOADGEN")},
    }  # fmt: skip
    with running_dashboard(folder / "dashboard.log", **settings) as url, running_browser(folder / "c") as driver:
        yield Viewer(driver, url, pictures)


@pytest.fixture
def client(dashboard_store: str) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=dashboard_store, database=FILLED))
    yield client
    client.close()


def test_every_page_draws_in_a_browser_and_lives(viewer: Viewer) -> None:
    driver = viewer.driver
    driver.get(f"{viewer.url}/slo?span=3+h")  # a link that was shared, as the very first request of the server
    viewer.see("SLO")
    assert "your time (America/St_Johns)" in viewer.text()
    viewer.picture("slo")

    for title in [name for name in FIGURES if name != "SLO"]:
        viewer.go(title)
        assert "span=3+h" in driver.current_url, "the choice goes along"
        viewer.picture(title.lower().replace(" ", "-"))

    driver.get(f"{viewer.url}/?span=9+h")
    viewer.see("Overview")
    _see_it_live(viewer)
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    driver.refresh()
    viewer.see("Overview")
    viewer.picture("overview-dark")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert viewer.complaints() == []


def test_the_controls_are_pressed_and_nothing_breaks(viewer: Viewer) -> None:
    driver = viewer.driver
    viewer.open_overview()
    viewer.go("Traffic")
    for name in ("Region", "Version", "Cache level"):
        viewer.press(name)
        viewer.see("Traffic")
    viewer.go("SLO")
    viewer.press("search-p95")
    viewer.see("SLO")
    viewer.go("Alerts")
    viewer.press("Silence")
    viewer.until(lambda: "Nobody is told of" in viewer.text(), why="a confirmation is asked for")
    viewer.picture("alerts-confirmation", whole=False)
    viewer.press("Cancel")
    viewer.until(lambda: "Nobody is told of" not in viewer.text(), why="it is gone")
    viewer.see("Alerts")
    assert "region" not in driver.current_url
    assert viewer.complaints() == []


def test_is_booking_healthy_is_answered_in_one_click(viewer: Viewer, client: Client) -> None:
    viewer.open_overview()
    assert "reference-app is healthy" in viewer.text() or "reference-app is not healthy" in viewer.text()
    viewer.go("SLO")

    ((requests, failed, mean_us),) = client.query_rows(
        "SELECT sum(requests), sumIf(requests, status >= 500), sum(duration_us_sum) / sum(requests) FROM red_1m"
        " WHERE service = 'reference-app' AND route = '/api/bookings'"
        " AND minute < toStartOfMinute(now()) AND minute >= now() - INTERVAL 1 DAY"
    )
    row = viewer.row("classic", "/api/bookings")
    assert row["state"] == ("● kept" if failed / requests <= 0.1 and mean_us <= 2e6 else row["state"])
    assert row["state"] == "● kept"
    told = int(row["requests"].replace(",", ""))
    assert abs(told - requests) <= 20, "the minute that ends between page and query"
    assert float(row["errors"].removesuffix(" %")) == pytest.approx(failed / requests * 100, abs=0.02)


def test_why_we_scaled_is_answered_in_one_click(viewer: Viewer, client: Client) -> None:
    viewer.open_overview()
    viewer.go("Scaling")

    decided, before, after, reasons = client.query_rows(
        "SELECT decided_at, floor_before, floor_after, reasons FROM decisions WHERE service = 'reference-app'"
        " AND floor_before != floor_after AND decided_at > now() - INTERVAL 8 HOUR ORDER BY decided_at LIMIT 1"
    )[0]
    text = " ".join(viewer.text().split())
    assert f"{decided:%d %b %H:%M} UTC" in text
    assert f"{before} → {after}" in text
    assert reasons[0][1:].split(":")[0] in text


def test_whether_we_survive_friday_is_answered_in_one_click(viewer: Viewer, client: Client) -> None:
    viewer.open_overview()
    viewer.go("Capacity")

    ((low,),) = client.query_rows(
        "SELECT low_rps FROM capacities WHERE service = 'reference-app' AND source = 'load-test'"
        " AND version = '0.1.1' ORDER BY measured_at DESC LIMIT 1"
    )
    # The busiest hour of the last Friday that is whole in the record: the next one is forecast from such days.
    ((busiest,),) = client.query_rows(
        "SELECT max(rps) FROM (SELECT toStartOfHour(ts) AS hour, sum(value) / 3600 AS rps FROM demand_imported"
        " WHERE service = 'reference-app' AND toDayOfWeek(ts) = 5 GROUP BY hour)"
    )
    friday = next(day for day in range(1, 8) if (present() + timedelta(days=day)).weekday() == 4)
    row = viewer.row("days-ahead", f"{present() + timedelta(days=friday):%a %d %b}")
    likely = float(row["quantile 0.95"])
    assert 0.8 * busiest <= likely <= 1.6 * busiest
    assert int(row["replicas"]) == math.ceil(likely / low) or abs(likely / low - round(likely / low)) < 0.05
    assert row["survives"].startswith("●") == (likely <= 20 * low), "20 replicas is tidegauge.yaml's maximum"


def test_what_one_replica_carries_is_answered_in_one_click(viewer: Viewer, client: Client) -> None:
    viewer.open_overview()
    viewer.go("Capacity")

    ((low, high),) = client.query_rows(
        "SELECT low_rps, high_rps FROM capacities WHERE service = 'reference-app' AND source = 'load-test'"
        " AND version = '0.1.1' ORDER BY measured_at DESC LIMIT 1"
    )
    assert f"{low:.2f} to {high:.2f}" in viewer.text()
    assert "load-test, version 0.1.1" in viewer.text()


def test_which_query_is_slow_is_answered_in_one_click(viewer: Viewer, client: Client) -> None:
    viewer.open_overview()
    viewer.go("Data tier")

    rows = client.query_rows(
        "SELECT labels['statement'], max(value) - min(value) AS spent FROM samples JOIN series USING (series_id)"
        " WHERE name = 'pg_statement_seconds_total' AND ts > now() - INTERVAL 9 HOUR GROUP BY 1 ORDER BY spent DESC"
    )
    row = viewer.row("statements", rows[0][0])
    assert row["statement"] == rows[0][0]
    assert float(row["time, s"].replace(",", "")) == pytest.approx(rows[0][1], rel=0.05)
    share = rows[0][1] / sum(spent for _, spent in rows) * 100
    assert f"Most time went into one statement: {share:.0f} %" in viewer.text()


def _see_it_live(viewer: Viewer) -> None:
    """The body refreshes alone, and keeps its figures: their elements stay the same."""
    driver = viewer.driver
    viewer.picture("overview-9h")
    driver.execute_script(f"document.querySelectorAll('{FIGURE}').forEach(figure => figure.dataset.seen = 'yes')")
    first = _time_shown(viewer)
    viewer.until(lambda: _time_shown(viewer) not in (first, ""), why="the page tells a later time")
    kept = driver.find_elements(By.CSS_SELECTOR, f"{FIGURE}[data-seen=yes]")
    assert len(kept) == FIGURES["Overview"]


def _time_shown(viewer: Viewer) -> str:
    found = re.search(r"\d\d:\d\d:\d\d UTC", viewer.text())
    return found.group() if found else ""
