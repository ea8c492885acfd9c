"""The shipped nginx configuration, under the real nginx, before an origin that speaks as the app does."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from reference_app.caching.answers import Answers, Public, Terms, make_public
from reference_app.caching.compression import compressed
from reference_app.caching.invalidation import Publisher
from reference_app.caching.l1 import TaggedCache
from reference_app.caching.l2 import connect
from reference_app.caching.tags import INVENTORY_UPDATED
from reference_app.edge.__main__ import forget_in
from reference_app.edge.settings import edge_settings_from_environment
from tests.integration.edge_fixtures import served
from tests.integration.reference_app_fixtures import NOON, poll
from tests.integration.valkey_fixtures import valkey_node

NGINX, OPENSSL = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin"), shutil.which("openssl")
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="needs the programs nginx and openssl"),
]

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "deploy" / "nginx" / "nginx.conf.template"
SEARCH = "/api/flights/search?origin=ATL&destination=LHR&date=2030-05-02"
TAG = "seats:ATL-LHR:2030-05-02"


@dataclass
class Origin:
    """Answers as the app does, with a number that counts up, and notes the headers it was asked with."""

    s_maxage_seconds: int = 300
    broken: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            headers = Request(scope).headers
            self.asked.append(dict(headers) | {"path": scope["path"]})
            if self.broken:
                await Response(b"{}", 503)(scope, receive, send)
                return
            if scope["path"].startswith("/api/flights/search"):
                make_public(scope, Public((TAG, "route:ATL-LHR"), keep=False))
            body = b'{"number": %d, "padding": "%s"}' % (len(self.asked), b"x" * 3000)
            await Response(body, media_type="application/json")(scope, receive, send)

        terms = Terms(keep=False, s_maxage_seconds=self.s_maxage_seconds)
        return Answers(compressed(answer), l1=TaggedCache(), now=lambda: NOON, terms=terms)


@dataclass
class Edge:
    viewer: httpx.AsyncClient
    plain: httpx.AsyncClient
    https_port: int
    cache: Path

    async def search(self, **headers: str) -> httpx.Response:
        return await self.viewer.get(SEARCH, headers=headers)


def two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def certificate(folder: Path) -> tuple[Path, Path]:
    key, made = folder / "key.pem", folder / "certificate.pem"
    command = [str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


def filled_in(folder: Path, values: dict[str, str]) -> Path:
    """Do as envsubst does with the template's own variables."""
    text = re.sub(r"\$\{([A-Z_]+)\}", lambda found: values[found[1]], TEMPLATE.read_text())
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


@asynccontextmanager
async def running_nginx(origin_url: str) -> AsyncIterator[Edge]:
    folder = Path(tempfile.mkdtemp(prefix="tg-nginx-"))
    folder.chmod(0o755)
    (http_port, https_port), (made, key) = two_free_ports(), certificate(folder)
    static = folder / "static"
    shutil.copytree(TEMPLATE.parent / "static", static)
    for name in ("cache", "run"):
        (folder / name).mkdir()
        if os.geteuid() == 0:  # its workers are nobody's then
            os.chown(folder / name, pwd.getpwnam("nobody").pw_uid, -1)
    origin = origin_url.removeprefix("http://")
    config = filled_in(
        folder,
        {
            **{f"ORIGIN_{region}": origin for region in ("US_EAST", "US_WEST", "EU_WEST")},
            "HTTP_PORT": f"127.0.0.1:{http_port}",
            "HTTPS_PORT": f"127.0.0.1:{https_port}",
            "HTTPS_SUFFIX": f":{https_port}",
            "CERTIFICATE": str(made),
            "CERTIFICATE_KEY": str(key),
            "STATIC": str(static),
            "CACHE": str(folder / "cache"),
            "RUN": str(folder / "run"),
        },
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(NGINX), "-c", str(config), "-g", "daemon off;"], stdout=log, stderr=log)
    trust = ssl.create_default_context(cafile=str(made))
    try:
        base = f"https://localhost:{https_port}"
        async with (
            httpx.AsyncClient(base_url=base, verify=trust, timeout=20) as viewer,
            httpx.AsyncClient(base_url=f"http://localhost:{http_port}") as plain,
        ):
            deadline = time.monotonic() + 20
            while True:
                try:
                    await plain.get("/")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.02)
            yield Edge(viewer, plain, https_port, folder / "cache")
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def edge_before(origin: Origin) -> AsyncIterator[Edge]:
    async with served(origin.app(), lifespan="off") as url, running_nginx(url) as edge:
        yield edge


async def test_nginx_serves_a_popular_search_by_region_and_encoding_and_passes_on_what_is_somebodys_own():
    origin = Origin()
    async with edge_before(origin) as edge:
        answers = [await edge.search() for _ in range(3)]
        elsewhere = [await edge.search(**{"x-region": "eu-west"}), await edge.search(host="us-west.example.com")]
        plain = await edge.search(**{"accept-encoding": "identity"})
        own = [
            await edge.search(**headers)
            for headers in (
                {"authorization": "Bearer x"},
                {"x-last-write": "0/1"},
                {"cookie": "a=b; x-last-write=0/1"},
            )
        ]
    assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "MISS", "HIT"]
    assert answers[2].json()["number"] == 2  # the second question's answer was kept
    assert "surrogate-key" not in answers[2].headers
    assert {answer.headers["x-cache"] for answer in [*elsewhere, plain]} == {"MISS"}
    assert [answer.headers["x-cache"] for answer in own] == ["BYPASS"] * 3
    regions = [asked["x-region"] for asked in origin.asked]
    assert regions[:4] == ["us-east", "us-east", "eu-west", "us-west"]


async def test_nginx_answers_304_to_who_has_the_answer_and_keeps_the_apps_compression():
    async with edge_before(Origin()) as edge:
        for _ in range(2):
            answer = await edge.search(**{"accept-encoding": "gzip, deflate, br, zstd;q=0"})
        assert answer.headers["content-encoding"] == "gzip"
        again = await edge.search(**{"accept-encoding": "gzip", "if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.headers["x-cache"]) == (304, "HIT")
        zstd = await edge.search(**{"accept-encoding": "gzip, zstd"})
        assert zstd.headers["content-encoding"] == "zstd"
        payment = await edge.viewer.get("/api/payments/7", headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in payment.headers


async def test_nginx_serves_stale_when_the_origin_fails():
    origin = Origin(s_maxage_seconds=1)
    async with edge_before(origin) as edge:
        kept = [await edge.search() for _ in range(2)][-1]
        origin.broken = True
        deadline = time.monotonic() + 20
        while (answer := await edge.search()).headers["x-cache"] == "HIT":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    assert (answer.status_code, answer.headers["x-cache"]) == (200, "STALE")
    assert answer.content == kept.content


async def test_nginx_sends_plain_http_to_https_and_serves_static_files_compressed():
    async with edge_before(Origin()) as edge:
        moved = await edge.plain.get("/api/airports/JFK?x=1")
        page = await edge.viewer.get("/")
        style = await edge.viewer.get("/assets/site-1.css", headers={"accept-encoding": "gzip"})
        absent = await edge.viewer.get("/nothing")
    assert moved.status_code == 308
    assert moved.headers["location"] == f"https://localhost:{edge.https_port}/api/airports/JFK?x=1"
    assert "Reference booking API" in page.text
    assert "/assets/site-1.css" in page.text
    assert (style.headers["content-encoding"], style.headers["content-type"]) == ("gzip", "text/css")
    assert "immutable" in style.headers["cache-control"]
    assert page.headers["strict-transport-security"]
    assert absent.status_code == 404


async def test_nginx_forgets_what_carries_a_surrogate_key_when_a_change_is_told():
    origin = Origin()
    with valkey_node() as node:
        async with edge_before(origin) as edge:
            settings = edge_settings_from_environment({**os.environ, "REFERENCE_APP_REDIS_URL": node.url})
            forgetting = asyncio.create_task(forget_in(edge.cache, settings))
            for _ in range(2):
                kept = await edge.search()
            other = [await edge.viewer.get("/api/airports/JFK") for _ in range(2)][-1]
            publisher = Publisher(connect(node.url, cluster=False))
            await publisher.publish(INVENTORY_UPDATED, ["seats:ATL-LHR:2030-05-03"])
            await publisher.publish(INVENTORY_UPDATED, [TAG])
            await poll(lambda: not list(edge.cache.glob("?/??/*")), what="nginx's file to be removed")
            answer = await edge.search()
            await publisher.close()
            forgetting.cancel()
            await asyncio.gather(forgetting, return_exceptions=True)
    assert answer.headers["x-cache"] in ("MISS", "EXPIRED")
    assert answer.json()["number"] > kept.json()["number"]
    assert other.status_code == 200
