"""Back-off and readiness probes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tidegauge.part import Backoff, accepts_tcp, answers_http


def test_waits_double_from_a_fifth_of_a_second_to_ten_seconds():
    waits = [Backoff().delay_seconds(failures) for failures in range(1, 9)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert Backoff().delay_seconds(10_000) == 10.0


def test_half_a_minute_of_health_makes_the_next_failure_the_first():
    assert Backoff().failures_after(5, ready_for_seconds=29.9) == 6
    assert Backoff().failures_after(5, ready_for_seconds=30.0) == 1


@pytest.mark.parametrize(("status", "ready"), [("200 OK", True), ("503 Service Unavailable", False), ("", False)])
async def test_only_status_200_is_ready(status, ready):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        assert asked.startswith(b"GET /readyz HTTP/1.1\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode() if status else b"")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await answers_http(f"http://127.0.0.1:{port}/readyz")() is ready


async def test_where_nobody_listens_nothing_is_ready():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert not await answers_http(f"http://127.0.0.1:{port}/readyz")()
        assert not await accepts_tcp(port)()
        probe.listen()
        assert await accepts_tcp(port)()
