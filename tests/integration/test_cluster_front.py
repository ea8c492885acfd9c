"""The front between a client and upstreams that answer, stream, hang, break off, or close."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.integration.cluster_fixtures import free_port
from tidegauge.cluster.front import Front, FrontSettings, Refusal, open_session
from tidegauge.cluster.refusals import event_of
from tidegauge.cluster.rotation import Backend, Rotation

pytestmark = pytest.mark.server

Upstream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeRefusals:
    told: list[Refusal] = field(default_factory=list)

    def record(self, refusal: Refusal) -> None:
        self.told.append(refusal)


@dataclass
class Served:
    """A front on a port, with what it told and the replicas behind it."""

    url: str
    port: int
    front: Front
    rotation: Rotation
    refusals: FakeRefusals
    client: aiohttp.ClientSession


@contextlib.asynccontextmanager
async def served(*upstreams: Upstream | int, **settings: float) -> AsyncIterator[Served]:
    """A front before upstreams, asked in this order; an int is a port on which nobody listens."""
    chosen = FrontSettings(**{"wait_for_ready_seconds": 0.2, "answer_seconds": 5.0, **settings})
    rotation, refusals = Rotation(), FakeRefusals()
    async with contextlib.AsyncExitStack() as stack:
        for number, upstream in enumerate(upstreams):
            port = upstream if isinstance(upstream, int) else await _listening(stack, upstream)
            rotation.add(Backend(f"upstream-{number}", port))
        session = await stack.enter_async_context(open_session(chosen))
        front = Front(rotation=rotation, session=session, refusals=refusals, settings=chosen)
        runner = web.ServerRunner(web.Server(front.answer, handler_cancellation=True), shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        client = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        yield Served(f"http://127.0.0.1:{port}", port, front, rotation, refusals, client)


async def _listening(stack: contextlib.AsyncExitStack, upstream: Upstream) -> int:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await upstream(reader, writer)
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


def answers(content: bytes, *, seen: list[bytes] | None = None, body_bytes: int = 0) -> Upstream:
    """Answers each request on the connection with these bytes, having read head and body."""

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(body_bytes)
            if seen is not None:
                seen.append(head + body)
            writer.write(content)

    return upstream


def closes_after_head(count: list[int]) -> Upstream:
    """Reads a request and closes without a byte of answer; counts how often."""

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        count.append(1)

    return upstream


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the front gives up


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


async def ask(made: Served, method: str = "GET", path: str = "/", **how: Any) -> tuple[int, bytes, Any]:
    async with made.client.request(method, made.url + path, **how) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_method_target_headers_and_body_arrive_as_they_were_sent():
    seen: list[bytes] = []
    async with served(answers(OK, seen=seen, body_bytes=4)) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(
            b"POST /a%2Fb/c?d=%20e&d=f HTTP/1.1\r\n"
            b"Host: shop.test\r\nX-Region: us-east\r\nContent-Length: 4\r\n\r\nbody"
        )
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a%2Fb/c?d=%20e&d=f HTTP/1.1"
    assert set(lines[1:]) == {
        b"Host: shop.test",
        b"X-Region: us-east",
        b"Content-Length: 4",
        b"X-Forwarded-For: 127.0.0.1",
    }
    assert body == b"body"


async def test_hop_by_hop_headers_stay_on_their_connection_in_both_directions():
    seen: list[bytes] = []
    content = (
        b"HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
    )
    async with served(answers(content, seen=seen)) as made:
        sent = {"Connection": "X-Yours", "X-Yours": "1", "TE": "trailers", "X-Forwarded-For": "10.0.0.1"}
        _, _, headers = await ask(made, headers=sent)
    assert headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert not {"X-Mine", "Keep-Alive"} & set(headers)
    names = {line.split(b":")[0].lower() for line in seen[0].split(b"\r\n")}
    assert not {b"x-yours", b"te"} & names
    assert b"X-Forwarded-For: 10.0.0.1, 127.0.0.1" in seen[0]


async def test_a_body_streams_through_before_it_is_whole():
    go_on = asyncio.Event()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        await reader.read()

    async with served(upstream) as made, made.client.get(made.url) as answer:
        assert await answer.content.readany() == b"first"
        go_on.set()
        assert await answer.content.read() == b"last"


async def test_compressed_bodies_and_heads_without_a_body_pass_untouched():
    zipped = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    async with served(answers(zipped)) as made:
        assert (await ask(made))[1] == b"\x1f\x8b\x08"
    async with served(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n")) as made:
        for _ in range(2):  # the second shows that the connection is still in step
            status, body, headers = await ask(made, "HEAD")
            assert (status, body, headers["Content-Length"]) == (200, b"", "300")
    async with served(answers(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n")) as made:
        assert (await ask(made))[0] == 304


async def test_a_client_that_waits_with_its_body_is_told_to_go_on():
    async with served(answers(OK, body_bytes=4)) as made:
        assert (await ask(made, "POST", data=b"body", expect100=True))[:2] == (200, b"ok")


async def test_a_request_that_was_never_sent_goes_to_another_replica_whatever_its_method():
    async with served(free_port(), answers(OK, body_bytes=4)) as made:
        assert (await ask(made, "POST", data=b"body"))[:2] == (200, b"ok")
        assert made.refusals.told == []


async def test_an_idempotent_request_is_repeated_once_on_another_replica():
    closed: list[int] = []
    async with served(closes_after_head(closed), answers(OK)) as made:
        assert (await ask(made))[:2] == (200, b"ok")
        assert made.refusals.told == []
    assert closed


async def test_two_replicas_that_close_are_enough():
    async with served(closes_after_head([]), closes_after_head([]), answers(OK)) as made:
        assert (await ask(made))[0] == 502
        assert [refusal.status for refusal in made.refusals.told] == [502]


async def test_a_post_that_may_have_been_carried_out_is_not_repeated():
    closed: list[int] = []
    async with served(closes_after_head(closed), answers(OK, body_bytes=4)) as made:
        assert (await ask(made, "POST", data=b"body"))[0] == 502
    assert closed == [1]


async def test_without_a_ready_replica_a_request_waits_and_is_then_refused_with_a_time_to_come_back():
    async with served() as made:
        status, body, headers = await ask(made, path="/api/x")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert b"no replica is ready" in body
        refusal = made.refusals.told[0]
        assert (refusal.method, refusal.path, refusal.status) == ("GET", "/api/x", 503)
        assert made.front.traffic.arrivals == 1  # refused load is offered load
        assert made.front.traffic.refused == made.front.traffic.answered == {503: 1}


async def test_a_request_that_waits_is_served_by_the_replica_that_becomes_ready():
    async with contextlib.AsyncExitStack() as stack:
        made = await stack.enter_async_context(served(wait_for_ready_seconds=30.0))
        port = await _listening(stack, answers(OK))
        waiting = asyncio.create_task(ask(made))
        while made.front.traffic.in_flight == 0:
            await asyncio.sleep(0.005)
        made.rotation.add(Backend("late", port))
        assert (await waiting)[0] == 200


async def test_a_replica_that_does_not_answer_in_time_is_a_504():
    async with served(hangs, answer_seconds=0.1) as made:
        assert (await ask(made))[0] == 504
        assert made.refusals.told[0].status == 504


async def test_a_response_that_breaks_off_is_not_passed_off_as_whole():
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    async with served(upstream) as made:
        with pytest.raises(aiohttp.ClientError):
            await ask(made)
        assert made.front.traffic.answered == {502: 1}


async def test_a_client_that_leaves_ends_the_request_on_the_replica_too():
    arrived, left = asyncio.Event(), asyncio.Event()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()  # the front closes
        left.set()

    async with served(upstream) as made:
        asking = asyncio.create_task(ask(made))
        await arrived.wait()
        asking.cancel()
        await left.wait()
        while made.front.traffic.in_flight:
            await asyncio.sleep(0.005)
        assert made.front.traffic.answered == {499: 1}
        assert made.refusals.told == []


def test_a_refused_request_becomes_an_event_of_few_distinct_words():
    refusal = Refusal("GET", "/api/bookings/81723", 503, 2.0, {"X-Region": "us-east", "User-Agent": "curl/8"})
    event = event_of(refusal, instance="front", now_seconds=1_700_000_000.25)
    assert (event.ts_us, event.status, event.duration_us) == (1_700_000_000_250_000, 503, 2_000_000)
    assert (event.route, event.method, event.instance) == ("/unmatched", "GET", "front")
    assert (event.region, event.user_agent_family) == ("us-east", "curl")
    assert event_of(Refusal("BREW", "/", 503, 0.0, {"X-Region": "a b"}), instance="f", now_seconds=0).method == "OTHER"
