"""Who may see the dashboard off loopback, tried with what stands in front of it: an OIDC provider, and nginx.

Both dashboards are told who people are as they would be on any other address; that they listen on loopback here changes
nothing of it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.integration.browser_fixtures import (
    CHROMEDRIVER,
    CHROMIUM,
    Viewer,
    running_browser,
    running_dashboard,
    running_server,
)
from tests.integration.dashboard_fixtures import FILLED, ROOT
from tests.integration.store_fixtures import free_port

pytestmark = [pytest.mark.server, pytest.mark.browser]
OPERATOR = {"sub": "1", "email": "ana@example.com", "email_verified": True}
VIEWER = {"sub": "2", "email": "bo@example.com", "email_verified": True}
STRANGER = {"sub": "3", "email": "cy@elsewhere.org", "email_verified": True}
PASSWORD, PROXY_SECRET = "correct horse battery", "a-secret-of-24-characters"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("no chromium or chromedriver here (Debian's packages chromium and chromium-driver)")
    with running_browser(tmp_path_factory.mktemp("logins") / "c") as driver:
        yield driver


@pytest.fixture(scope="module")
def settings(dashboard_store: str) -> dict[str, str]:
    away = {f"TIDEGAUGE_{part}_URL": f"http://127.0.0.1:{free_port()}" for part in ("COLLECTOR", "FORECASTER")}
    return {
        "TIDEGAUGE_CLICKHOUSE_URL": dashboard_store, "TIDEGAUGE_CLICKHOUSE_DATABASE": FILLED,
        "TIDEGAUGE_CLICKHOUSE_USER": "tidegauge_reader", "TIDEGAUGE_CONFIG": str(ROOT / "tidegauge.yaml"),
        "TIDEGAUGE_DASHBOARD_OPERATORS": "ana@example.com, operator", "TIDEGAUGE_DASHBOARD_VIEWERS": "*@example.com",
        **away,
    }  # fmt: skip


@contextmanager
def running_provider(log: Path) -> Iterator[str]:
    """The issuer of an OIDC provider that knows the people above and asks nobody for a password."""
    port = free_port()
    people = [word for each in (OPERATOR, VIEWER, STRANGER) for word in ("--user-claims", json.dumps(each))]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *people]
    url = f"http://127.0.0.1:{port}"
    with running_server(command, f"{url}/.well-known/openid-configuration", log):
        yield url


def test_people_log_in_at_an_oidc_provider_and_get_the_role_that_they_have(
    driver: webdriver.Chrome, settings: Mapping[str, str], tmp_path: Path
) -> None:
    port = free_port()  # the provider has to know where people come back to before the dashboard runs
    with running_provider(tmp_path / "provider.log") as issuer:
        file = tmp_path / "secrets.toml"
        file.write_text(
            f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
            f'cookie_secret = "{secrets.token_hex(16)}"\nclient_id = "tidegauge"\nclient_secret = "known to two"\n'
            f'server_metadata_url = "{issuer}/.well-known/openid-configuration"\n'
        )
        asked = {"TIDEGAUGE_DASHBOARD_ACCESS": "oidc", "STREAMLIT_SECRETS_FILES": str(file)}
        with running_dashboard(tmp_path / "dashboard.log", port=port, **settings, **asked) as url:
            viewer = Viewer(driver, url, tmp_path, figures_of={})

            _sign_in(viewer, "1")
            viewer.see("Overview")
            assert "ana@example.com · operator" in viewer.text()
            viewer.go("Scaling")
            assert viewer.has("act-pause")

            _sign_out(viewer)
            _sign_in(viewer, "2")
            viewer.see("Overview")
            assert "bo@example.com · viewer" in viewer.text()
            viewer.go("Scaling")
            assert "Only operators change how it scales; you (bo@example.com) are a viewer." in viewer.text()
            assert not viewer.has("act-pause")

            _sign_out(viewer)
            _sign_in(viewer, "3")
            refused = "No access: cy@elsewhere.org is neither among the viewers nor among the operators"
            viewer.until(lambda: refused in viewer.text(), why="a stranger is refused")
            assert viewer.heading() != "Overview"


def _sign_in(viewer: Viewer, person: str) -> None:
    viewer.driver.delete_all_cookies()
    viewer.driver.get(viewer.url)
    viewer.until(lambda: viewer.has("login"), why="a login is offered")
    assert "Overview" not in viewer.text(), "nothing is shown before"
    viewer.press("Sign in")
    css = f"button[name=sub][value='{person}']"
    viewer.until(lambda: viewer.driver.find_elements(By.CSS_SELECTOR, css), why="the provider asks who it is")
    viewer.driver.find_element(By.CSS_SELECTOR, css).click()


def _sign_out(viewer: Viewer) -> None:
    script = "const out = document.querySelector('.st-key-logout button'); if (out) out.click(); return Boolean(out)"
    viewer.until(lambda: viewer.driver.execute_script(script), why="there is a button to sign out")
    viewer.until(lambda: not viewer.has("logout"), why="nobody is signed in")


@contextmanager
def running_door(dashboard: str) -> Iterator[str]:
    """The nginx that docker-compose.yml puts before the dashboard."""
    folder = Path(tempfile.mkdtemp(prefix="tg-door-"))
    folder.chmod(0o755)  # nginx's workers are somebody else when it is started by root
    template = ROOT / "deploy" / "nginx" / "door.conf.template"
    start = (ROOT / "deploy" / "compose" / "door-start.sh").read_text()
    port, log = free_port(), folder / "log"
    told = {
        "DOOR_PORT": str(port), "DASHBOARD": dashboard.removeprefix("http://"), "DASHBOARD_PASSWORD": PASSWORD,
        "DASHBOARD_PROXY_SECRET": PROXY_SECRET, "RUN": str(folder),
    }  # fmt: skip
    command = ["bash", "-c", start.replace("/door.conf.template", str(template))]
    environment = {**os.environ, **told}
    try:
        with running_server(command, f"http://127.0.0.1:{port}/_stcore/health", log, environment=environment):
            yield f"http://operator:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder)


def test_behind_nginx_the_dashboard_knows_who_it_is_and_shows_nothing_past_it(
    driver: webdriver.Chrome, settings: Mapping[str, str], tmp_path: Path
) -> None:
    if not (shutil.which("nginx") and shutil.which("envsubst") and shutil.which("openssl")):
        pytest.skip("nginx, envsubst or openssl is not installed")
    asked = {"TIDEGAUGE_DASHBOARD_ACCESS": "proxy", "TIDEGAUGE_DASHBOARD_PROXY_SECRET": PROXY_SECRET}
    with running_dashboard(tmp_path / "dashboard.log", **settings, **asked) as url, running_door(url) as door:
        viewer = Viewer(driver, door, tmp_path, figures_of={})
        viewer.driver.get(door)
        viewer.see("Overview")
        assert "operator · operator" in viewer.text()

        past = Viewer(driver, url, tmp_path, figures_of={})
        refused = "No access: expected a connection through the proxy"
        forged = {"X-Forwarded-Email": "ana@example.com", "X-Tidegauge-Proxy-Secret": "guessed-24-characters-x"}
        for headers in ({}, forged):
            driver.execute_cdp_cmd("Network.enable", {})
            driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": headers})
            driver.get(url)
            past.until(lambda: refused in past.text(), why="nothing is shown past the door")
            assert "Overview" not in past.text()
        driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})
