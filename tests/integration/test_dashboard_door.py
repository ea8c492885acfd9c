"""The nginx that docker-compose.yml puts before the dashboard: who is let through, and what the dashboard hears."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.integration.store_fixtures import free_port

pytestmark = pytest.mark.server

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD, SECRET = "correct horse battery", "a-secret-of-24-characters"


class Dashboard(BaseHTTPRequestHandler):
    """Answers with the headers that it got."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def door() -> Iterator[str]:
    if not (shutil.which("nginx") and shutil.which("envsubst") and shutil.which("openssl")):
        pytest.skip("nginx, envsubst or openssl is not installed")
    folder = Path(tempfile.mkdtemp(prefix="tg-door-"))
    folder.chmod(0o755)  # nginx's workers are somebody else when it is started by root
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Dashboard)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    template = DEPLOY / "nginx" / "door.conf.template"
    script = (DEPLOY / "compose" / "door-start.sh").read_text().replace("/door.conf.template", str(template))
    port = free_port()
    told = {"DOOR_PORT": str(port), "DASHBOARD": f"127.0.0.1:{behind.server_port}", "DASHBOARD_PASSWORD": PASSWORD,
            "DASHBOARD_PROXY_SECRET": SECRET, "RUN": str(folder)}  # fmt: skip
    process = subprocess.Popen(["bash", "-c", script], env={**os.environ, **told})
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                httpx.get(f"{url}/_stcore/health")
                break
            time.sleep(0.05)  # polling with a deadline
        yield url
    finally:
        process.terminate()
        process.wait(10)
        behind.shutdown()
        behind.server_close()
        shutil.rmtree(folder)


def test_only_who_knows_the_password_is_let_through_and_the_dashboard_is_told_who_it_is(door: str) -> None:
    assert httpx.get(door).status_code == 401
    assert httpx.get(door, auth=("operator", "guessed")).status_code == 401
    claims = {"x-forwarded-email": "somebody@else", "x-forwarded-groups": "operators", "x-tidegauge-proxy-secret": "x"}
    heard = httpx.get(door, auth=("operator", PASSWORD), headers=claims).json()

    assert heard["x-forwarded-email"] == "operator"
    assert heard["x-tidegauge-proxy-secret"] == SECRET
    assert not heard.get("x-forwarded-groups")
    assert "authorization" not in heard


def test_the_health_check_needs_no_password(door: str) -> None:
    assert httpx.get(f"{door}/_stcore/health").status_code == 200
