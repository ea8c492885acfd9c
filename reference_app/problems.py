"""Problem details (RFC 9457): the one shape in which this app says no.

Every error a caller can see is made here, so that bad input gets a clear document and never a stack trace. Which input
is bad is decided by the routes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import rfc9457
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
LONGEST_ECHO = 80
_TYPE = "urn:reference-app:problem:{type}"


class Problem(rfc9457.Problem):
    """What the caller did or met, with the status that says whose turn it is. `kind` is a stable slug."""

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None, errors: Sequence[Any] = ()
    ) -> None:
        extras = {"errors": list(errors)} if errors else {}
        super().__init__(HTTPStatus(status).phrase, kind, detail, status, headers or {}, **extras)


def busy(kind: str, detail: str, *, retry_after_seconds: int) -> Problem:
    """Return the 503 that asks the caller to come back after `retry_after_seconds`."""
    return Problem(503, kind, detail, headers={"Retry-After": str(retry_after_seconds)})


def problem_response(problem: Problem) -> Response:
    """Return the problem as an `application/problem+json` response."""
    document = problem.marshal(uri=_TYPE)
    # ASCII escapes: a caller's lone surrogate must not make the answer unencodable.
    body = json.dumps(document, ensure_ascii=True)
    return Response(body, problem.status, headers=dict(problem.headers or {}), media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems a route may answer with; who takes a body (413) may get a bad one."""
    if 413 in statuses:
        statuses = (400, *statuses)
    return {status: {"description": HTTPStatus(status).phrase, "content": _example(status)} for status in statuses}


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101 - registered for this type only
        return problem_response(error)

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
        errors = [_field_error(entry) for entry in error.errors()]
        first = errors[0] if errors else {"field": "request", "message": "not understood"}
        return problem_response(Problem(422, "invalid-request", f"{first['field']}: {first['message']}", errors=errors))

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return problem_response(Problem(error.status_code, kind, str(error.detail), headers=dict(error.headers or {})))

    async def on_defect(_: Request, error: Exception) -> Response:
        log.error("a defect answered 500", exc_info=error)
        return problem_response(Problem(500, "defect", "The app met a defect of its own; it has been logged."))

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_defect)


def _field_error(entry: dict[str, Any]) -> dict[str, str]:
    field = ".".join(str(part) for part in entry["loc"]) or "request"
    came = entry.get("input")
    shown = {} if isinstance(came, (dict, list)) or came is None else {"got": ascii(came)[:LONGEST_ECHO]}
    return {"field": field, "message": str(entry["msg"]), **shown}


def _example(status: int) -> dict[str, Any]:
    kind = HTTPStatus(status).phrase.lower().replace(" ", "-")
    example = {
        "type": f"urn:reference-app:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": "what was expected, what came, and where",
    }
    properties = {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    }
    required = ["type", "title", "status", "detail"]
    return {
        MEDIA_TYPE: {"schema": {"type": "object", "properties": properties, "required": required}, "example": example}
    }
