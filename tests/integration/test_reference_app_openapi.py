"""The OpenAPI document is complete, and the real app keeps to it whatever is sent: schemathesis finds nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import hypothesis
import pytest
import schemathesis
import uvicorn
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from reference_app.__main__ import build
from reference_app.service_settings import service_settings_from_environment
from reference_app.settings import settings_from_environment
from tests.integration.booking_fixtures import AS_ADMIN, FixedClock, environment
from tests.integration.database_fixtures import Cluster, cluster, wait_until
from tests.integration.reference_app_fixtures import as_user, seed

__all__ = ["cluster"]
pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

EXAMPLES = 6  # of each operation; with the seed fixed, always the same ones
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
)


@pytest.fixture(scope="module")
def base_url(cluster: Cluster) -> Iterator[str]:
    """The app in a thread of its own, on a real port."""
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    settings = environment(cluster.primary.url(name))
    app, _ = build(settings_from_environment(settings), service_settings_from_environment(settings), FixedClock())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started, what="the app to listen")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


def openapi_document() -> dict[str, Any]:
    """Return the document of an app that was never started: the tests are made of it."""
    settings = environment("postgresql://nowhere/")
    app, _ = build(settings_from_environment(settings), service_settings_from_environment(settings), FixedClock())
    return app.openapi()


def without_deadlines(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without the deadline's header: who gives a millisecond gets the 504 that was asked for."""
    kept = deepcopy(document)
    for methods in kept["paths"].values():
        for operation in methods.values():
            parameters = operation.get("parameters", [])
            operation["parameters"] = [one for one in parameters if one["name"] != "X-Request-Timeout-Ms"]
    return kept


DOCUMENT = openapi_document()
schema = schemathesis.openapi.from_dict(without_deadlines(DOCUMENT))


@schema.exclude(path_regex="^/metrics$").parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_whatever_is_sent_the_answer_is_as_the_document_says_and_never_a_500(case: Any, base_url: str) -> None:
    headers = AS_ADMIN if case.path.startswith("/api/admin") else as_user(1)
    case.call_and_validate(base_url=base_url, headers=headers, checks=CHECKS)


@schema.include(path_regex="^/api/(bookings|users|payments|admin)").parametrize()
@hypothesis.settings(
    max_examples=2, derandomize=True, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_nothing_is_answered_to_someone_without_a_token(case: Any, base_url: str) -> None:
    case.headers = {}
    response = case.call(base_url=base_url, headers={"Authorization": "Bearer wrong"})
    # a malformed request may be refused for its form first
    assert response.status_code in (401, 403, 404, 405, 413, 415, 422), response.text


def test_every_operation_has_examples_problems_and_its_own_security() -> None:
    paths = DOCUMENT["paths"]
    secured = {"/api/bookings": "user", "/api/users": "user", "/api/payments": "user", "/api/admin": "admin"}
    for path, methods in paths.items():
        for method, operation in methods.items():
            name = f"{method} {path}"
            assert operation["summary"], name
            expected = next((role for prefix, role in secured.items() if path.startswith(prefix)), None)
            roles = [role for requirement in operation.get("security", []) for role in requirement]
            assert roles == ([expected] if expected else []), name
            if not path.startswith("/api/"):
                continue
            problems = [status for status in operation["responses"] if int(status) >= 400]
            assert {"422", "503", "504"} <= set(problems), name
            assert ("401" in problems) is (expected is not None), name
            assert ("403" in problems) is (expected == "admin"), name
            for status in problems:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"], name
            for parameter in operation.get("parameters", []):
                described = parameter.get("schema", {})
                assert (
                    "example" in str(parameter)
                    or "enum" in str(described)
                    or "default" in described
                    or parameter["in"] in ("header", "cookie")
                ), f"{name} {parameter['name']}"
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        for methods in paths.values()
        for operation in methods.values()
        if "requestBody" in operation
    ]
    models = DOCUMENT["components"]["schemas"]
    assert len(bodies) == 7
    assert all(models[name]["examples"] for name in bodies)


def test_pages_are_numbered_capped_and_deep_ones_have_a_cursor() -> None:
    for path in ("/api/users/me/bookings", "/api/admin/inventory"):
        parameters = {one["name"]: one["schema"] for one in DOCUMENT["paths"][path]["get"]["parameters"]}
        assert (parameters["page"]["maximum"], parameters["limit"]["maximum"]) == (100, 100)
        assert "cursor" in parameters
