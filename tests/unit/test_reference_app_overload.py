"""Overload: a bounded number of requests at once, a short queue, shedding with Retry-After, and deadlines."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reference_app.limits import Admission, OverloadTerms
from reference_app.service_settings import service_settings_from_environment


class SlowApp:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.deadlines: list[float | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.deadlines.append(scope.get("deadline"))
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


async def until(question: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while not question():
        assert asyncio.get_running_loop().time() < deadline, "waited 5 s"
        await asyncio.sleep(0)


def as_set(**own: str) -> OverloadTerms:
    """Return the terms of the environment over these, so that a measure can be switched off from outside."""
    outer = {name: value for name, value in os.environ.items() if name.startswith("REFERENCE_APP_")}
    return service_settings_from_environment({**own, **outer}).overload


async def test_what_is_beyond_limit_and_queue_is_shed_at_once_with_retry_after() -> None:
    # Measure: REFERENCE_APP_CONCURRENCY. At 0 all twenty run at once.
    app = SlowApp()
    terms = as_set(REFERENCE_APP_CONCURRENCY="3", REFERENCE_APP_QUEUE="2", REFERENCE_APP_QUEUE_WAIT_MS="60000")
    admission = Admission(terms)
    async with client_of(admission.admitted(app)) as client:
        asked = [asyncio.create_task(client.get("/api/x")) for _ in range(20)]
        await until(lambda: sum(task.done() for task in asked) == 15 or app.running == 20)
        assert (admission.in_flight, admission.waiting) == (3, 2)
        app.go.set()
        answers = await asyncio.gather(*asked)
    assert Counter(answer.status_code for answer in answers) == {200: 5, 503: 15}
    shed = next(answer for answer in answers if answer.status_code == 503)
    assert shed.headers["retry-after"] == "1"
    assert shed.headers["content-type"] == "application/problem+json"
    assert app.most == 3
    assert (admission.in_flight, admission.waiting, admission.shed_total["full"]) == (0, 0, 15)


async def test_who_waits_too_long_in_the_queue_is_shed_and_leaves_no_place_behind() -> None:
    app = SlowApp()
    admission = Admission(OverloadTerms(concurrency=1, queue=5, wait_seconds=0.01, deadline_seconds=0))
    async with client_of(admission.admitted(app)) as client:
        first = asyncio.create_task(client.get("/api/x"))
        await until(lambda: app.running == 1)
        assert (await client.get("/api/x")).status_code == 503
        app.go.set()
        assert (await first).status_code == 200
        assert (await client.get("/api/x")).status_code == 200
    assert (admission.in_flight, admission.waiting, admission.shed_total["waited"]) == (0, 0, 1)


async def test_a_caller_who_goes_away_while_waiting_gives_up_the_place() -> None:
    app = SlowApp()
    admission = Admission(OverloadTerms(concurrency=1, queue=5, wait_seconds=60, deadline_seconds=0))
    async with client_of(admission.admitted(app)) as client:
        first, second, third = (asyncio.create_task(client.get("/api/x")) for _ in range(3))
        await until(lambda: admission.waiting == 2)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        app.go.set()
        answers = await asyncio.gather(first, third)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (admission.in_flight, admission.waiting) == (0, 0)


async def test_health_and_metrics_are_answered_however_full_it_is() -> None:
    app = SlowApp()
    admission = Admission(OverloadTerms(concurrency=1, queue=0))
    async with client_of(admission.admitted(app)) as client:
        first = asyncio.create_task(client.get("/api/x"))
        await until(lambda: app.running == 1)
        health = asyncio.create_task(client.get("/healthz"))
        await until(lambda: app.running == 2)
        app.go.set()
        assert (await health).status_code == 200
        assert (await first).status_code == 200


async def test_past_its_deadline_a_request_is_cancelled_and_answered_504() -> None:
    # Measure: REFERENCE_APP_DEADLINE_MS. At 0 nothing ends the request, and the test's own patience does.
    app = SlowApp()
    admission = Admission(as_set(REFERENCE_APP_DEADLINE_MS="20"))
    async with client_of(admission.admitted(app)) as client, asyncio.timeout(5):
        answer = await client.get("/api/x")
    assert answer.status_code == 504
    assert answer.json()["type"] == "urn:reference-app:problem:deadline-exceeded"
    assert (app.cancelled, admission.in_flight, admission.expired_total) == (1, 0, 1)


async def test_the_callers_deadline_counts_more_than_the_default_and_reaches_the_routes() -> None:
    app = SlowApp()
    app.go.set()
    admission = Admission(OverloadTerms(deadline_seconds=5))
    now = asyncio.get_running_loop().time()
    async with client_of(admission.admitted(app)) as client:
        await client.get("/api/x", headers={"X-Request-Timeout-Ms": "20000"})
    (deadline,) = app.deadlines
    assert deadline is not None
    assert 20 <= deadline - now <= 25  # of the loop's clock, read a little earlier


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "30001", "", "x", "9" * 100])
async def test_a_deadline_that_is_none_is_refused(value: str) -> None:
    app = SlowApp()
    async with client_of(Admission(OverloadTerms()).admitted(app)) as client:
        answer = await client.get("/api/x", headers={"X-Request-Timeout-Ms": value})
    assert (answer.status_code, app.deadlines) == (422, [])
