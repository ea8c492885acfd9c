"""The dashboard as a viewer has it: the real server on a real record, every page in headless Chromium."""

import math
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from collector.clickhouse import ClickHouseSettings, Client, connect
from tests.integration.browser_fixtures import (
    CHROMEDRIVER,
    CHROMIUM,
    FIGURE,
    FIGURES,
    Viewer,
    running_browser,
    running_dashboard,
)
from tests.integration.dashboard_fixtures import FILLED, ROOT, AlertActions, present
from tests.integration.store_fixtures import free_port

pytestmark = [pytest.mark.server, pytest.mark.browser]
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
    # The promise of the whole service: maintenance counts for nothing.
    ((valid, bad),) = client.query_rows(
        "SELECT sum(requests), sumIf(requests, status >= 500) FROM red_1m WHERE service = 'reference-app'"
        " AND minute < toStartOfMinute(now()) AND NOT arrayExists(span -> minute >= span.1 AND minute < span.2,"
        " (SELECT groupArray((starts_at, ends_at)) FROM markers WHERE service = 'reference-app' AND excludes_slo))"
    )
    slo = viewer.row("slos", "availability")
    left = 1 - bad / (valid * 0.001)
    assert slo["state"] == ("● kept" if left >= 0 else "◆ spent")
    assert float(slo["measured"].removesuffix(" %")) == pytest.approx((1 - bad / valid) * 100, abs=0.002)
    assert float(slo["budget left"].removesuffix(" %")) == pytest.approx(left * 100, abs=2)
    row = viewer.row("classic", "/api/bookings")
    assert row["state"] == ("● kept" if failed / requests <= 0.1 and mean_us <= 2e6 else row["state"])
    assert row["state"] == "● kept"
    told = int(row["requests"].replace(",", ""))
    assert abs(told - requests) <= 20, "the minute that ends between page and query"
    assert float(row["errors"].removesuffix(" %")) == pytest.approx(failed / requests * 100, abs=0.02)


def test_why_we_scaled_is_answered_in_three_clicks(viewer: Viewer, client: Client) -> None:
    viewer.open_overview()
    viewer.go("Scaling")

    # A change that is neither the first nor the newest: it has to be chosen, as the one of 14:20 has to be.
    changes = client.query_rows(
        "SELECT decided_at, floor_before, floor_after, reasons, model, quantile, capacity_low_rps, forecast_origin"
        " FROM decisions WHERE service = 'reference-app' AND floor_before != floor_after"
        " AND decided_at > now() - INTERVAL 8 HOUR ORDER BY decided_at"
    )
    decided, before, after, reasons, model, quantile, capacity, origin = changes[1]
    assert viewer.row_of_words(f"{decided:%d %b %H:%M} UTC")[1].endswith(f"{before} → {after}")
    viewer.choose("explained", f"{decided:%d %b %H:%M} UTC")
    head = f"{before} → {after} (decided {decided:%d %b %H:%M} UTC"
    viewer.until(lambda: head in viewer.text(), why="the chosen change is explained")
    explained = " ".join(viewer.text().split()).partition(head)[2]
    assert f"on the forecast of {origin:%d %b %H:%M} UTC" in explained
    assert f"model {model}, quantile {quantile:g}, a replica carrying {capacity:.2f} requests/s" in explained
    for number in re.findall(r"(?<![\d:.])\d+(?:\.\d+)?(?![\d:.])", " ".join(reasons)):
        assert number in explained, f"{number} of {reasons}"


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
