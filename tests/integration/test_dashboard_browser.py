"""The dashboard as a viewer has it: the real server on a real record, every page in headless Chromium."""

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
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import dashboard
from collector.catalog import read_catalog
from collector.clickhouse import ClickHouseSettings, connect
from tests.integration.dashboard_fixtures import create_tables, fill, present
from tests.integration.store_fixtures import free_port, running_store

pytestmark = [pytest.mark.server, pytest.mark.browser]
ROOT = Path(dashboard.__file__).parents[1]
DEADLINE_SECONDS = 40.0
FIGURES = {"Overview": 3, "SLO": 1, "Traffic": 2, "Scaling": 1}
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
        self.until(lambda: not self.driver.find_elements(By.CSS_SELECTOR, "[data-stale=true]"), why="it is settled")
        assert not self.driver.find_elements(By.CSS_SELECTOR, ERRORS), self.text()
        return seconds

    def _heading(self) -> str:
        return str(
            self.driver.execute_script("const h = document.querySelector('h1'); return h ? h.textContent.trim() : ''")
        )

    def go(self, title: str) -> float:
        """Click on a page's name."""
        links = self.driver.find_elements(By.CSS_SELECTOR, "[data-testid=stSidebarNavLink]")
        next(link for link in links if link.text.strip().endswith(title)).click()
        return self.see(title)

    def picture(self, name: str) -> None:
        """Save the whole page, however long."""
        tall = self.driver.execute_script("return document.querySelector('[data-testid=stMain]').scrollHeight")
        self.driver.set_window_size(1440, min(3000, max(800, tall + 10)))
        self.until(lambda: self.figures() > 0, why="figures are there at the new size")
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))
        self.driver.set_window_size(1440, 1000)


@contextmanager
def running_dashboard(store_url: str, log: Path) -> Iterator[str]:
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGAUGE_", "STREAMLIT_"))}
    settings = {"TIDEGAUGE_CLICKHOUSE_URL": store_url, "TIDEGAUGE_CONFIG": str(ROOT / "tidegauge.yaml")}
    options = ["--server.headless", "true", "--server.address", "127.0.0.1", "--server.port", str(port)]
    options += ["--server.fileWatcherType", "none"]
    argv = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py"), *options]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, env={**kept, **settings}, stdout=out, stderr=out)
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


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("no chromium or chromedriver here (Debian's packages chromium and chromium-driver)")
    pictures = Path(os.environ.get("TIDEGAUGE_SCREENSHOTS") or tmp_path / "screenshots")
    pictures.mkdir(parents=True, exist_ok=True)
    with running_store(tmp_path / "store") as store_url:
        client = connect(ClickHouseSettings(url=store_url))
        create_tables(client)
        fill(client, read_catalog(ROOT / "tidegauge.yaml").service("reference-app"), now=present())
        client.close()
        with running_dashboard(store_url, tmp_path / "dashboard.log") as url, running_browser(tmp_path / "c") as driver:
            yield Viewer(driver, url, pictures)


def test_every_page_draws_in_a_browser_and_lives(viewer: Viewer) -> None:
    driver = viewer.driver
    driver.get(f"{viewer.url}/slo?span=3+h")  # a link that was shared, as the very first request of the server
    viewer.see("SLO")
    assert "your time (America/St_Johns)" in viewer.text()
    viewer.picture("slo")

    for title in ("Overview", "Traffic", "Scaling"):
        viewer.go(title)
        assert "span=3+h" in driver.current_url, "the choice goes along"
        viewer.picture(title.lower())

    driver.get(f"{viewer.url}/?span=9+h")
    viewer.see("Overview")
    _see_it_live(viewer)
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    driver.refresh()
    viewer.see("Overview")
    viewer.picture("overview-dark")

    messages = [str(entry["message"]) for entry in driver.get_log("browser")]
    assert not [message for message in messages if not ITS_OWN.search(message)]


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
