"""Headless Chromium at a dashboard: opening pages, pressing, typing, reading tables, taking pictures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import (
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.integration.dashboard_fixtures import ROOT
from tests.integration.store_fixtures import free_port

DEADLINE_SECONDS = 60.0
SETTLE_SECONDS = 10.0
# Of the filled record; of another one a viewer is told which.
FIGURES = {
    "Overview": 3, "SLO": 3, "Traffic": 5, "Forecast": 4, "Scaling": 1, "Capacity": 3, "Load tests": 4, "Data tier": 6,
    "Alerts": 0,
}  # fmt: skip
UNSETTLED = "[data-stale=true], [data-test-script-state=running], [data-test-script-state=initial]"
FIGURE = "[data-testid=stVegaLiteChart] .marks"
ERRORS = "[data-testid=stException], [data-testid=stAlertContentError]"
# Streamlit asks for these beside a page's own address first, and finds them at the root; Vega says the other of layers
# that have no row yet.
ITS_OWN = re.compile(r"/_stcore/(health|host-config) - Failed to load resource: .* 404|Infinite extent for field")
# In one go: what refreshes itself may be drawn anew between finding a button and clicking on it.
PRESS = """
const buttons = [...document.querySelectorAll('[role=dialog] button, [data-testid=stMain] button')];
const found = buttons.find(each => each.textContent.trim() === arguments[0] && !each.disabled);
if (found) found.click();
return Boolean(found);
"""
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
    figures_of: Mapping[str, int] | None = None  # by page; a page that is left out may have any number

    def until(self, question: Callable[[], object], *, why: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._holds(question):
            assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {why}; {self.text()}"
            time.sleep(0.05)  # polling with a deadline

    def _holds(self, question: Callable[[], object]) -> bool:
        with suppress(StaleElementReferenceException):  # drawn anew while it was looked at
            return bool(question())
        return False

    def text(self) -> str:
        return str(self.driver.execute_script("return document.body ? document.body.innerText : ''"))

    def figures(self) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, FIGURE))

    def see(self, title: str) -> float:
        """Wait until a page is drawn to its end; the seconds until its figures were there."""
        started = time.monotonic()
        wanted = FIGURES[title] if self.figures_of is None else self.figures_of.get(title)
        self.until(
            lambda: self.heading() == title and (self._at_rest() if wanted is None else self.figures() == wanted),
            why=f"{title} is drawn",
        )
        seconds = time.monotonic() - started
        self._settle()
        assert not self.driver.find_elements(By.CSS_SELECTOR, ERRORS), self.text()
        return seconds

    def _at_rest(self) -> bool:
        """Say whether everything is there and nothing is on its way."""
        busy = self.driver.find_elements(By.CSS_SELECTOR, UNSETTLED)
        drawn = len(self.driver.find_elements(By.CSS_SELECTOR, "[data-testid=stVegaLiteChart]"))
        return not busy and self.figures() == drawn

    def _settle(self) -> None:
        """Give the page time to come to its end: on a busy machine what refreshes itself may never be at rest."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.driver.find_elements(By.CSS_SELECTOR, UNSETTLED) and time.monotonic() < deadline:
            time.sleep(0.05)  # polling with a deadline

    def heading(self) -> str:
        return str(
            self.driver.execute_script("const h = document.querySelector('h1'); return h ? h.textContent.trim() : ''")
        )

    def go(self, title: str) -> float:
        """Click on a page's name."""
        script = """
            const links = [...document.querySelectorAll('[data-testid=stSidebarNavLink]')];
            const found = links.find(each => each.innerText.trim().endsWith(arguments[0]));
            if (found) found.click();
            return Boolean(found);"""
        self.until(lambda: self.driver.execute_script(script, title), why=f"there is a link to {title}")
        return self.see(title)

    def open_overview(self) -> None:
        """Come anew, as who was called at night."""
        self.driver.get(f"{self.url}/?span=9+h")
        self.see("Overview")

    def press(self, label: str) -> None:
        """Click on the first button of a name that may be pressed."""
        self.until(lambda: self.driver.execute_script(PRESS, label), why=f"there is a button {label}")

    def has(self, key: str) -> bool:
        """Say whether there is a widget of a key."""
        return bool(self.driver.find_elements(By.CSS_SELECTOR, f".st-key-{key}"))

    def type_into(self, key: str, text: str) -> None:
        """Write into the text input of a key, and leave it: only then Streamlit has what was written."""
        css = f".st-key-{key} input"
        self.until(lambda: self._typed(css, text), why=f"there is an input {key}")

    def _typed(self, css: str, text: str) -> bool:
        with suppress(NoSuchElementException, ElementNotInteractableException):  # a dialog that is still opening
            self.driver.find_element(By.CSS_SELECTOR, css).send_keys(text, Keys.TAB)
            return True
        return False

    def choose(self, key: str, begins: str) -> None:
        """Open the list of a key, and click on the first entry that begins so."""
        css = f".st-key-{key} [data-testid=stSelectbox] [role=combobox], .st-key-{key} [data-testid=stSelectbox] input"
        self.until(lambda: self._clicked(css, ""), why=f"there is a list {key}")
        self.until(lambda: self._clicked("[role=option]", begins), why=f"{key} offers {begins}")

    def _clicked(self, css: str, begins: str) -> bool:
        with suppress(ElementNotInteractableException):
            for found in self.driver.find_elements(By.CSS_SELECTOR, css):
                if found.text.strip().startswith(begins):
                    found.click()
                    return True
        return False

    def row_of_words(self, begins: str) -> list[str]:
        """The cells of the first row of a table of text whose first cell begins so."""
        script = """
            const rows = [...document.querySelectorAll('[data-testid=stTable] tbody tr')];
            const cells = rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.textContent.trim()));
            return cells.find(row => row[0] && row[0].startsWith(arguments[0])) || [];"""
        self.until(lambda: self.driver.execute_script(script, begins), why=f"a row begins with {begins}")
        found: list[str] = self.driver.execute_script(script, begins)
        return found

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
            self.driver.set_window_size(1440, min(4000, max(800, tall + 120)))
            drawn = "return document.readyState === 'complete'"
            self.until(lambda: self.driver.execute_script(drawn), why="the page is there at the new size")
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))
        if whole:
            self.driver.set_window_size(1440, 1000)


@contextmanager
def running_dashboard(log: Path, *, port: int | None = None, **settings: str) -> Iterator[str]:
    port = port or free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGAUGE_", "STREAMLIT_"))}
    environment = {**kept, "TIDEGAUGE_DASHBOARD_PORT": str(port), **settings}
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "dashboard"]
    with running_server(command, url + "/_stcore/health", log, environment=environment):
        yield url


@contextmanager
def running_server(
    command: Sequence[str], answers_at: str, log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a server from the root until the block ends; it begins when the server answers at an address."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=ROOT)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _answers(answers_at):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)  # polling with a deadline
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2):
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
