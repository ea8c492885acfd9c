"""What a replica takes on: bounded bodies, bounded concurrency with a short queue, and a deadline for each request.

A request beyond the limit is answered at once with 503 and Retry-After: cheaper than to let everybody wait too long.
What is admitted runs until its deadline, which the routes' sessions pass on to the database. Health and metrics are
always answered. Which work is worth doing is not known here.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_app.problems import Problem, busy, problem_response

LARGEST_BODY_BYTES = 16_384
LONGEST_DEADLINE_SECONDS = 30.0
DEADLINE_HEADER = b"x-request-timeout-ms"
# Asked about the app, not of it: always answered, and no demand.
ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics", "/internal/databases", "/internal/queries"})
_TOO_LARGE = f"expected a body of at most {LARGEST_BODY_BYTES} bytes"
_BAD_DEADLINE = "x-request-timeout-ms: expected whole milliseconds from 1 to 30000"


@dataclass(frozen=True, slots=True)
class OverloadTerms:
    """Requests at once (0: no limit), how many more may wait how long, and the default deadline (0: none)."""

    concurrency: int = 64
    queue: int = 128
    wait_seconds: float = 1.0
    deadline_seconds: float = 5.0


class Admission:
    """Lets at most `concurrency` requests of one app run at once; counts whom it turned away, and why."""

    def __init__(self, terms: OverloadTerms) -> None:
        self._terms = terms
        self._queue: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0
        self.shed_total: Counter[str] = Counter(full=0, waited=0)
        self.expired_total = 0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def admitted(self, app: ASGIApp) -> ASGIApp:
        """Return `app` behind this limit: 503 beyond it, 504 past a request's deadline."""

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in ALWAYS_ANSWERED:
                await app(scope, receive, send)
                return
            try:
                deadline = self._deadline(scope)
                await self._enter(deadline)
            except Problem as problem:
                await problem_response(problem)(scope, receive, send)
                return
            try:
                await self._run(app, scope, receive, send, deadline)
            finally:
                self._leave()

        return limited

    async def _run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, deadline: float | None) -> None:
        if deadline is None:
            await app(scope, receive, send)
            return
        scope["deadline"] = deadline  # of the loop's clock
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                await app(scope, receive, noting_start)
        except TimeoutError:
            if not limit.expired() or started:
                raise
            self.expired_total += 1
            late = Problem(504, "deadline-exceeded", "the request's deadline passed before its answer was ready")
            await problem_response(late)(scope, receive, send)

    def _deadline(self, scope: Scope) -> float | None:
        seconds = self._terms.deadline_seconds
        for name, value in scope["headers"]:
            if name == DEADLINE_HEADER:
                if not value.isdigit() or len(value) > 5 or not 0 < int(value) <= LONGEST_DEADLINE_SECONDS * 1000:
                    raise Problem(422, "invalid-deadline", f"{_BAD_DEADLINE}, got {ascii(value[:20])[1:]}")
                seconds = int(value) / 1000 if seconds else 0.0
        return asyncio.get_running_loop().time() + seconds if seconds else None

    async def _enter(self, deadline: float | None) -> None:
        limit = self._terms.concurrency
        if not limit or self.in_flight < limit:
            self.in_flight += 1
            return
        if len(self._queue) >= self._terms.queue:
            self.shed_total["full"] += 1
            raise busy("overloaded", f"{self.in_flight} requests run, {self.waiting} wait", retry_after_seconds=1)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.append(turn)
        last = loop.time() + self._terms.wait_seconds
        try:
            async with asyncio.timeout_at(last if deadline is None else min(last, deadline)):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place came at the moment we gave up: it goes to the next
            else:
                with suppress(ValueError):  # or it was taken out already
                    self._queue.remove(turn)
            if not isinstance(error, TimeoutError):
                raise
            self.shed_total["waited"] += 1
            raise busy("overloaded", "no place became free in time", retry_after_seconds=1) from None

    def _leave(self) -> None:
        # The place goes to who has waited longest; the number in flight stays as it is.
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_flight -= 1


def with_body_limit(app: ASGIApp) -> ASGIApp:
    """Return `app` behind a limit of 16 KiB per request body: 413 beyond it, before the body is read."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > LARGEST_BODY_BYTES:
            await problem_response(Problem(413, "content-too-large", _TOO_LARGE))(scope, receive, send)
            return
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await app(scope, counting, send)

    return limited
