import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from collector.instrument import Event, EventClient, RecordRequests, trace_id_of, user_agent_family
from collector.sources.events import decompressed

TRACE = "4bf92f3577b34da6a3ce929d0e0effff"


class Events(list[Event]):
    """A client that keeps what it is told."""

    def record(self, event: Event) -> None:
        self.append(event)


def application() -> FastAPI:
    app, router, sub = FastAPI(), APIRouter(prefix="/tenants/{tenant}"), FastAPI()

    @router.get("/items/{item}")
    async def item(request: Request, tenant: str, item: int) -> dict[str, Any]:
        request.scope["tidegauge"].update(cache_level="l1", database_target="replica")
        return {"tenant": tenant, "item": item}

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("on purpose")

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @sub.get("/inner/{x}")
    async def inner(x: str) -> str:
        return x

    app.include_router(router, prefix="/api")
    app.mount("/sub", sub)
    return app


def recorded(app: Any, **options: Any) -> tuple[httpx.AsyncClient, Events]:
    events = Events()
    wrapped = RecordRequests(
        app,
        client=events,  # type: ignore[arg-type]  # a fake of EventClient
        service="s",
        instance="i",
        version="v",
        **options,
    )
    transport = httpx.ASGITransport(wrapped, raise_app_exceptions=False)  # type: ignore[arg-type]  # narrower scope type
    return httpx.AsyncClient(transport=transport, base_url="http://t"), events


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/api/tenants/a/items/3", "/api/tenants/{tenant}/items/{item}", 200),
        ("/api/tenants/a/items/x", "/api/tenants/{tenant}/items/{item}", 422),
        ("/sub/inner/7", "/sub/inner/{x}", 200),
        ("/nope/12345", "/unmatched", 404),
        ("/fails", "/fails", 500),
    ],
)
async def test_every_request_is_one_event_with_the_template_and_never_the_path(
    path: str, route: str, status: int
) -> None:
    client, events = recorded(application(), clock=lambda: 1_700_000_000.25)
    async with client:
        await client.get(path)
    assert [(event.route, event.status, event.method) for event in events] == [(route, status, "GET")]
    assert events[0].ts_us == 1_700_000_000_250_000
    assert events[0].duration_us > 0


async def test_starlette_routes_and_mounts_have_templates_too() -> None:
    async def answer(request: Request) -> Response:
        return PlainTextResponse("five!")

    app = Starlette(routes=[Route("/p/{n}", answer), Mount("/m/{tenant}", routes=[Route("/q/{z}", answer)])])
    client, events = recorded(app)
    async with client:
        for path in ("/p/1", "/m/acme/q/2", "/m/acme/none"):
            await client.get(path)
    assert [event.route for event in events] == ["/p/{n}", "/m/{tenant}/q/{z}", "/m/{tenant}/*"]
    assert events[0].response_bytes == 5


async def test_what_the_app_and_the_headers_say_is_kept() -> None:
    client, events = recorded(application(), region="home")
    async with client:
        await client.get("/api/tenants/a/items/3", headers={"x-region": "eu-west", "user-agent": "curl/8"})
        await client.get("/api/tenants/a/items/3", headers={"x-region": "no good; region"})
    assert (events[0].cache_level, events[0].database_target) == ("l1", "replica")
    assert (events[0].region, events[0].user_agent_family) == ("eu-west", "curl")
    assert events[1].region == "home"


@pytest.mark.parametrize(
    ("headers", "country"),
    [
        ({"cf-ipcountry": "DE"}, "DE"),
        ({"cloudfront-viewer-country": "br"}, "BR"),
        ({"cf-ipcountry": "XXX", "x-country-code": "FR"}, "FR"),
        ({"cf-ipcountry": "1' OR"}, ""),
        ({}, ""),
    ],
)
async def test_the_viewers_country_is_the_one_that_the_cdn_names(headers: dict[str, str], country: str) -> None:
    client, events = recorded(application())
    async with client:
        await client.get("/api/tenants/a/items/3", headers=headers)
    assert events[0].country == country


async def test_what_another_instance_has_counted_is_no_event_and_the_region_is_the_apps_word() -> None:
    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        scope["tidegauge"] = {"region": "eu-west", "counted_elsewhere": scope["path"] == "/passed-on"}
        await PlainTextResponse("")(scope, receive, send)

    client, events = recorded(proxy)
    async with client:
        for path in ("/passed-on", "/own"):
            await client.get(path, headers={"x-region": "moon"})
    assert [event.region for event in events] == ["eu-west"]


async def test_requests_shed_before_routing_count() -> None:
    async def shed(request: Request, call_next: Any) -> Response:
        request.scope["tidegauge"]["route"] = "/api"
        return PlainTextResponse("busy", 503)

    app = application()
    app.add_middleware(BaseHTTPMiddleware, dispatch=shed)
    client, events = recorded(app)
    async with client:
        await client.get("/api/tenants/a/items/3")
    assert [(event.route, event.status) for event in events] == [("/api", 503)]


async def test_health_paths_are_not_recorded() -> None:
    client, events = recorded(application())
    async with client:
        assert (await client.get("/healthz")).status_code == 200
    assert events == []


async def test_a_cancelled_request_counts_as_failed_and_a_caller_who_left_as_gone() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.Event().wait()

    outcomes = []
    for message in ({"type": "http.request"}, {"type": "http.disconnect"}):
        events = Events()
        app = RecordRequests(waits, client=events, service="s", instance="i", version="v")  # type: ignore[arg-type]

        async def receive(message: Any = message) -> Any:
            return message

        async def send(message: Any) -> None:
            raise AssertionError(message)

        scope = {"type": "http", "path": "/x", "method": "GET", "headers": []}
        task = asyncio.create_task(app(scope, receive, send))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        outcomes.append(events[0].status)
    assert outcomes == [500, 499]


async def test_trace_ids_are_kept_for_errors_and_for_the_sample_only() -> None:
    client, events = recorded(application())
    events_of = {}
    async with client:
        for name, path, trace in (
            ("error", "/fails", TRACE),
            ("sampled", "/sub/inner/1", TRACE[:-4] + "0001"),
        ):
            await client.get(path, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
            events_of[name] = events[-1].trace_id
    assert events_of == {"error": TRACE, "sampled": TRACE[:-4] + "0001"}


def test_about_one_in_a_hundred_is_among_the_slowest() -> None:
    app = RecordRequests(None, client=Events(), service="s", instance="i", version="v")  # type: ignore[arg-type]
    header = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
    durations = [1000 + (index * 7919) % 10_000 for index in range(50_000)]  # every value of 1000..10999, five times
    kept = [bool(app._kept_trace(header, 200, duration)) for duration in durations]
    assert 200 <= sum(kept[25_000:]) <= 300  # 1 % of 25,000 is 250


def test_headers_are_reduced_to_few_words() -> None:
    assert trace_id_of(f"00-{TRACE}-00f067aa0ba902b7-01".encode()) == TRACE
    assert trace_id_of(b"00-0000-1-1") == ""
    assert trace_id_of(b"") == ""
    assert user_agent_family(b"Mozilla/5.0 (X11) AppleWebKit Chrome/120 Safari/537") == "chrome"
    assert user_agent_family(b"Googlebot/2.1") == "bot"
    assert user_agent_family(b"something") == "other"


class Collector:
    """A collector that answers with the given statuses, then with 200, and keeps what it accepted."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses, self.seen, self.accepted = statuses, [], []  # type: ignore[var-annotated]
        self.bodies: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(body)
                batch = json.loads(decompressed(body, self.headers.get("Content-Encoding", "")))
                outer.gate.wait(10)
                status = outer.statuses.pop(0) if outer.statuses else 200
                outer.seen.append(batch)
                if status == 200:
                    outer.accepted.append(batch)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def collector(*statuses: int) -> Iterator[Collector]:
    fake = Collector(list(statuses))
    thread = threading.Thread(target=fake.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        fake.gate.set()
        fake.server.shutdown()
        fake.server.server_close()
        thread.join()


def event(number: int) -> Event:
    return Event(ts_us=number, route="/a", method="GET", status=200, duration_us=1)


def until(question: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.005)  # polling with a deadline


def test_a_batch_is_repeated_unchanged_until_it_is_accepted() -> None:
    with collector(503, 429) as fake:
        client = EventClient(fake.url, service="s", instance="i", flush_seconds=0.01)
        client.record(event(1))
        assert client.close(10)
    assert len(fake.seen) == 3
    assert fake.seen[0] == fake.seen[1] == fake.seen[2]
    assert fake.accepted[0]["columns"]["ts_us"] == [1]
    assert fake.accepted[0]["client"]["generated_total"] == 1


def test_bodies_to_other_machines_are_packed_where_it_pays() -> None:
    with collector(503) as fake:
        client = EventClient(fake.url, service="s", instance="i", flush_seconds=5, pack=True)
        for number in range(500):
            client.record(event(number))
        assert client.close(10)
        small = EventClient(fake.url, service="s", instance="i", pack=True)
        small.record(event(1))
        assert small.close(10)
    assert [len(batch["columns"]["ts_us"]) for batch in fake.accepted] == [500, 1]
    assert [body.startswith(b"\x1f\x8b") for body in fake.bodies] == [True, True, False]  # one was repeated
    assert not EventClient("http://localhost:1", service="s", instance="i")._is_far
    assert EventClient("http://collector:1", service="s", instance="i")._is_far


def test_what_does_not_fit_is_dropped_counted_and_told() -> None:
    with collector() as fake:
        client = EventClient(fake.url, service="s", instance="i", flush_seconds=0.01, max_buffer=10)
        fake.gate.clear()
        client.record(event(0))
        until(lambda: not client._buffer)  # the first batch is under way and held up
        for number in range(1, 16):
            client.record(event(number))
        fake.gate.set()
        assert client.close(10)
    events = [ts for batch in fake.accepted for ts in batch["columns"]["ts_us"]]
    assert events == list(range(11))  # one under way, ten in the buffer
    last = fake.accepted[-1]["client"]
    assert (last["generated_total"], last["dropped_total"]) == (16, 5)


def test_a_batch_refused_for_good_is_dropped_counted_and_told() -> None:
    with collector(400) as fake:
        client = EventClient(fake.url, service="s", instance="i", flush_seconds=0.01)
        client.record(event(1))
        assert client.close(10)
    assert fake.accepted[-1]["columns"]["ts_us"] == []
    assert fake.accepted[-1]["client"]["dropped_total"] == 1


def test_large_backlogs_go_in_batches_of_at_most_5000() -> None:
    with collector() as fake:
        client = EventClient(fake.url, service="s", instance="i", flush_seconds=0.01)
        for number in range(12_000):
            client.record(event(number))
        assert client.close(10)
    sizes = [len(batch["columns"]["ts_us"]) for batch in fake.accepted]
    assert sum(sizes) == 12_000
    assert max(sizes) <= 5_000
    assert len({batch["batch_id"] for batch in fake.accepted}) == len(sizes)


def test_without_a_collector_recording_goes_on_and_closing_ends_in_time() -> None:
    client = EventClient("http://127.0.0.1:9", service="s", instance="i", flush_seconds=0.01)
    client.record(event(1))
    assert not client.close(0.3)
    client.record(event(2))  # after the end: counted, not raised
    assert client.dropped_total == 1
    assert not any(thread.name == "tidegauge-events" for thread in threading.enumerate())


def test_closing_without_a_collector_says_how_many_are_lost(caplog: pytest.LogCaptureFixture) -> None:
    client = EventClient("http://127.0.0.1:9", service="s", instance="i", flush_seconds=10, max_buffer=10)
    for number in range(15):  # five do not fit: they were dropped, and are told as such
        client.record(event(number))
    assert not client.close(0.3)
    assert client.dropped_total == 5
    assert "10 events are lost" in caplog.text
