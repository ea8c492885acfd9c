"""The dashboard over a whole running stack, in Chromium: every page, and every button with what it changed.

What a button did is asked of the part that did it, or read from the record; the page's own word is not enough. Pictures
of all pages lie in TIDEGAUGE_SCREENSHOTS, where that is set.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import yaml
from selenium.webdriver.common.by import By

from collector.clickhouse import Client, connect, settings_from_environment
from tests.e2e.stack_fixtures import SHIPPED_CONFIG, Stack, running, until
from tests.e2e.stack_fixtures import folder as one_folder
from tests.integration.browser_fixtures import CHROMEDRIVER, CHROMIUM, FIGURES, Viewer, running_browser

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.browser, pytest.mark.timeout(400)]

SERVICE = "reference-app"
STEP, HISTORY = timedelta(minutes=5), timedelta(days=3)
READY_SECONDS = 150.0
SCENARIO = "a_minute"  # first in the list of scenarios
SCENARIO_TEXT = """\
version: 1
name: a_minute
service: reference-app
target: http://127.0.0.1:8000
journeys:
  - name: look
    steps: [{name: airport, get: /api/airports/ATL}]
scenarios:
  look: {executor: constant-arrival-rate, rate: 2, timeUnit: 1s, duration: 60s, preAllocatedVUs: 2, maxVUs: 4}
"""


class Receiver(BaseHTTPRequestHandler):
    """Takes every webhook, and remembers its id."""

    taken: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.taken.append(str(self.headers["webhook-id"]))
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


folder = pytest.fixture(scope="module", name="folder")(one_folder.__wrapped__)  # type: ignore[attr-defined]  # pytest's


@pytest.fixture(scope="module")
def stack(folder: Path, receiver: int) -> Iterator[Stack]:
    """A whole stack with load, an alert that somebody posted, and a second service of which nothing is known."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("no chromium or chromedriver here (Debian's packages chromium and chromium-driver)")
    config, scenarios = folder / "tidegauge.yaml", folder / "scenarios"
    document = yaml.safe_load(SHIPPED_CONFIG.read_text())
    document["services"]["checkout"] = {"source": "events", "description": "Takes the money."}
    url = f"http://127.0.0.1:{receiver}/"
    hook = {"name": "on-call", "kind": "webhook", "url": url, "allow_networks": ["127.0.0.0/8"]}
    document["alerts"] = {"receivers": [hook]}
    config.write_text(yaml.safe_dump(document))
    scenarios.mkdir()
    (scenarios / f"{SCENARIO}.yaml").write_text(SCENARIO_TEXT)
    environment = {
        "TIDEGAUGE_CONFIG": str(config), "TIDEGAUGE_LOAD_SCENARIOS": str(scenarios), "TIDEGAUGE_FORECAST_REFRESH": "1m",
    }  # fmt: skip
    with running(folder, "up", environment=environment) as made:
        made.wait_until_said("Up.", seconds=READY_SECONDS)
        _import_history(made)
        _post_alert(made)
        yield made


def _import_history(stack: Stack) -> None:
    end = datetime.now(UTC).replace(second=0, microsecond=0) - STEP
    end -= timedelta(minutes=end.minute % 5)
    ticks = [end - HISTORY + number * STEP for number in range(HISTORY // STEP)]
    rows = [f"{at:%Y-%m-%dT%H:%M:%SZ},{3000 + 100 * at.hour}" for at in ticks]
    file = stack.folder / "history.csv"
    file.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    done = stack.run("import", str(file), "--service", SERVICE)
    assert done.returncode == 0, done.stderr


def _post_alert(stack: Stack) -> None:
    body = {
        "service": SERVICE, "name": "payments-wait", "severity": "ticket", "breached": True, "details": {},
        "summary": "Payments wait for a minute", "hold_seconds": 0, "expires_in_seconds": 3600,
    }  # fmt: skip
    httpx.post(stack.url("COLLECTOR", "/v1/alerts"), json=body, timeout=10, trust_env=False).raise_for_status()


@pytest.fixture(scope="module")
def viewer(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    profile = tmp_path_factory.mktemp("browser")
    pictures = Path(os.environ.get("TIDEGAUGE_SCREENSHOTS") or profile / "pictures") / "stack"
    pictures.mkdir(parents=True, exist_ok=True)
    with running_browser(profile / "c") as driver:
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(profile / "saved")}
        )  # fmt: skip
        yield Viewer(driver, stack.url("DASHBOARD"), pictures, figures_of={})


@pytest.fixture(scope="module")
def record(stack: Stack) -> Iterator[Client]:
    client = connect(settings_from_environment(stack.environ()))
    yield client
    client.close()


def open_page(viewer: Viewer, title: str, *, service: str = SERVICE) -> None:
    name = "" if title == "Overview" else title.lower().replace(" ", "-")
    viewer.driver.get(f"{viewer.url}/{name}?service={service}&span=1+h")
    viewer.see(title)


def confirm(viewer: Viewer, label: str, *, key: str, why: str = "", force: bool = False) -> None:
    """Press a button, answer what it asks, and wait until the page says what became of it."""
    viewer.press(label)
    viewer.until(lambda: _dialog(viewer), why=f"{label} asks for a confirmation")
    if why:
        viewer.type_into(f"{key}-why", why)
    if force:
        viewer.driver.find_element(By.CSS_SELECTOR, f".st-key-{key}-force label").click()
    viewer.until(lambda: _confirmed(viewer), why=f"{label} is confirmed")


def _dialog(viewer: Viewer) -> list[Any]:
    return viewer.driver.find_elements(By.CSS_SELECTOR, "[role=dialog]")


def _confirmed(viewer: Viewer) -> bool:
    # What was typed goes to the server before the click does, as it does for a person; a busy one may lose the click.
    if _dialog(viewer):
        viewer.press("Confirm")
        viewer.until(lambda: not _dialog(viewer) or "Say why first" in viewer.text(), why="the answer is taken")
    return not _dialog(viewer)


def told(viewer: Viewer, words: str) -> None:
    viewer.until(lambda: words in viewer.text(), why=f"the page says {words!r}")


def test_every_page_is_drawn_from_the_running_stack(viewer: Viewer, stack: Stack) -> None:
    def decided() -> Any:
        return stack.get("FORECASTER", f"/v1/services/{SERVICE}")["forecast_origin"]

    until(decided, what="a forecast", seconds=READY_SECONDS)
    for title in FIGURES:
        open_page(viewer, title)
        viewer.picture(title.lower().replace(" ", "-"))
    assert "not known" not in viewer.text()
    viewer.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    for title in ("Overview", "Scaling"):
        open_page(viewer, title)
        viewer.picture(f"{title.lower()}-dark")
    viewer.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    open_page(viewer, "Traffic", service="checkout")
    assert "No request of checkout is recorded yet" in viewer.text()
    assert viewer.figures() == 0, "what nobody knows is not drawn as zero"
    assert viewer.complaints() == []


def test_the_mode_is_ordered_from_the_one_in_force_and_act_without_proof_must_be_forced(
    viewer: Viewer, stack: Stack, record: Client
) -> None:
    def mode() -> Any:
        return stack.get("FORECASTER", f"/v1/services/{SERVICE}")["mode"]

    open_page(viewer, "Scaling")
    assert "Mode observe, as tidegauge.yaml says." in viewer.text()
    viewer.press("recommend")
    viewer.see("Scaling")
    confirm(viewer, "Set the mode", key="act-mode", why="tell us first")
    told(viewer, "Set the mode: done for reference-app")
    assert mode() == "recommend"

    open_page(viewer, "Scaling")
    assert _pressed(viewer) == "recommend", "the control begins with what is in force, not with tidegauge.yaml"
    viewer.press("act")
    viewer.see("Scaling")
    confirm(viewer, "Set the mode", key="act-mode", why="no proof yet")
    told(viewer, "Refused: mode act of reference-app: expected a passed")
    assert mode() == "recommend"
    confirm(viewer, "Set the mode", key="act-mode", why="the sale begins", force=True)
    told(viewer, "Set the mode: done for reference-app, forced")
    assert mode() == "act"
    viewer.see("Scaling")
    viewer.picture("scaling-forced")

    confirm(viewer, "Decide now", key="act-apply", why="not in five minutes")
    told(viewer, "Decide now: done for reference-app")
    newest = stack.get("FORECASTER", f"/v1/services/{SERVICE}/decisions")["decisions"][0]
    assert (newest["mode"], newest["actor"]) == ("act", "local")
    orders = "SELECT value, actor, reason, forced FROM operator_orders WHERE kind = 'mode' ORDER BY ordered_at"
    assert record.query_rows(orders) == [
        ("recommend", "local", "tell us first", 0),
        ("act", "local", "the sale begins", 1),
    ]

    open_page(viewer, "Scaling")
    viewer.press("as configured (observe)")
    viewer.see("Scaling")
    confirm(viewer, "Set the mode", key="act-mode", why="over")
    told(viewer, "Set the mode: done")
    assert mode() == "observe"


def _pressed(viewer: Viewer) -> str:
    css = "[data-testid=stMain] [data-testid=stButtonGroup] button[aria-checked=true]"
    return str(viewer.driver.find_element(By.CSS_SELECTOR, css).text.strip())


def test_scaling_is_paused_resumed_and_released(viewer: Viewer, stack: Stack) -> None:
    def paused() -> Any:
        return stack.get("FORECASTER", "/v1/orders")["paused"].get(SERVICE)

    open_page(viewer, "Scaling")
    confirm(viewer, "Pause", key="act-pause", why="a risky deploy")
    told(viewer, "Pause: done for reference-app")
    assert "a risky deploy" in paused()
    confirm(viewer, "Resume", key="act-resume", why="it went well")
    told(viewer, "Resume: done for reference-app")
    assert paused() is None
    confirm(viewer, "Release", key="act-release", why="give it back")
    told(viewer, "Release: done for reference-app")
    assert "give it back" in paused(), "a release pauses"
    hpa = stack.get("CLUSTER", f"/hpas/{SERVICE}")
    assert (hpa["min_replicas"], hpa["manager"]) == (hpa["operator_floor"], None)
    (patch,) = [
        each
        for each in stack.get("FORECASTER", f"/v1/services/{SERVICE}/patches")["patches"]
        if each["action"] == "release"
    ]
    assert (patch["actor"], patch["reason"]) == ("local", "give it back")
    confirm(viewer, "Resume", key="act-resume", why="go on")
    told(viewer, "Resume: done for reference-app")
    assert paused() is None


def test_an_alert_is_acknowledged_silenced_and_told_again(viewer: Viewer, stack: Stack) -> None:
    def alert() -> dict[str, Any]:
        found = stack.get("COLLECTOR", "/v1/alerts")["alerts"]
        return next((each for each in found if each["name"] == "payments-wait" and each["phase"] == "firing"), {})

    def delivered() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = stack.get("COLLECTOR", "/v1/deliveries")["deliveries"]
        return [each for each in found if each["state"] == "delivered"]

    until(alert, what="the alert to fire", seconds=READY_SECONDS)
    until(delivered, what="its message to be delivered", seconds=READY_SECONDS)
    open_page(viewer, "Alerts")
    viewer.picture("alerts-firing")
    confirm(viewer, "Acknowledge", key="ack", why="on it")
    told(viewer, "payments-wait of reference-app is acknowledged by local")
    assert alert()["acknowledged_by"] == "local"

    viewer.type_into("silence-name", "x")  # after the star: silences what begins with anything and ends with x
    viewer.see("Alerts")
    confirm(viewer, "Silence", key="silence", why="known")
    told(viewer, "*x of reference-app is silenced for 30 min.")
    (silence,) = stack.get("COLLECTOR", "/v1/silences")["silences"]
    assert (silence["name"], silence["author"]) == ("*x", "local")
    confirm(viewer, "End it", key="unsilence")
    told(viewer, "The silence has ended.")
    assert stack.get("COLLECTOR", "/v1/silences")["silences"] == []

    before = len(Receiver.taken)
    confirm(viewer, "Send again", key="replay")
    told(viewer, "is sent to on-call again.")
    until(lambda: len(Receiver.taken) > before, what="the message to come again", seconds=60)
    assert Receiver.taken[-1] in Receiver.taken[:before], "it has the id that it had"


def test_a_load_run_is_started_and_stopped(viewer: Viewer, stack: Stack) -> None:
    def states() -> list[str]:
        return [each["state"] for each in stack.get("LOADGEN", "/v1/runs")["runs"] if each["scenario"] == SCENARIO]

    open_page(viewer, "Load tests")
    viewer.type_into("load-target", stack.url("APP"))
    viewer.see("Load tests")
    confirm(viewer, "Start", key="load-start")
    told(viewer, "Started a_minute-")
    until(lambda: "running" in states(), what="the run to send", seconds=60)
    open_page(viewer, "Load tests")
    viewer.picture("load-tests-running", whole=False)
    confirm(viewer, "Stop", key="load-stop")
    told(viewer, "The run is being stopped.")
    until(lambda: states() == ["finished"], what="the run to end", seconds=60)


def test_a_report_is_made_and_saved(viewer: Viewer, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_page(viewer, "Capacity")
    viewer.press("Make it")
    label = "Save capacity-reference-app"
    viewer.until(lambda: label in viewer.text() or "Save " in viewer.text(), why="a report to save")
    css = ".st-key-report-save button"
    viewer.driver.execute_script("arguments[0].click()", viewer.driver.find_element(By.CSS_SELECTOR, css))
    saved = Path(tmp_path_factory.getbasetemp())

    def files() -> list[Path]:
        return [each for each in saved.glob("browser*/saved/*.html") if each.stat().st_size]

    until(files, what="the report's file", seconds=60)
    text = files()[0].read_text()
    assert text.lstrip().lower().startswith("<!doctype html")
    assert SERVICE in text
    assert viewer.complaints() == []
