from pathlib import Path
from typing import Any

import pytest

from collector.security import (
    LARGEST_REQUEST_BYTES,
    Guarded,
    Security,
    SecuritySettingsError,
    authorization,
    read_security,
    role_for,
)

INGEST, READ, ADMIN = "ingest-0123456789", "read-0123456789ab", "admin-0123456789a"
ALL = {"TIDEGAUGE_INGEST_TOKEN": INGEST, "TIDEGAUGE_READ_TOKEN": READ, "TIDEGAUGE_ADMIN_TOKEN": ADMIN}


def test_loopback_needs_nothing_and_every_other_address_a_token_for_every_role() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        assert not read_security({}, host=host).asks
    for host in ("0.0.0.0", "::", "10.0.0.1", "collector.internal"):
        with pytest.raises(SecuritySettingsError, match="TIDEGAUGE_INGEST_TOKEN, TIDEGAUGE_READ_TOKEN"):
            read_security({}, host=host)
        with pytest.raises(SecuritySettingsError, match="set TIDEGAUGE_ADMIN_TOKEN"):
            read_security({**ALL, "TIDEGAUGE_ADMIN_TOKEN": ""}, host=host)
        assert read_security(ALL, host=host).asks


def test_several_tokens_are_good_at_once_and_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{READ}\nread-of-yesterday-1\n")
    tokens = read_security({"TIDEGAUGE_READ_TOKEN_FILE": str(file)}, host="127.0.0.1").tokens
    assert tokens["read"] == (READ, "read-of-yesterday-1")
    assert authorization({"TIDEGAUGE_READ_TOKEN_FILE": str(file)}, "read") == {"Authorization": f"Bearer {READ}"}
    assert authorization({}, "read") == {}


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"TIDEGAUGE_READ_TOKEN": "geheim"}, "at least 16"),
        ({"TIDEGAUGE_READ_TOKEN": "geheim-geheim-ge\u00e4"}, "ASCII"),
        ({"TIDEGAUGE_READ_TOKEN": " , "}, "expected a token, got none"),
        ({"TIDEGAUGE_READ_TOKEN": READ, "TIDEGAUGE_READ_TOKEN_FILE": "/x"}, "got both"),
        ({"TIDEGAUGE_READ_TOKEN_FILE": "/no/such/file"}, "TIDEGAUGE_READ_TOKEN_FILE: expected a readable file"),
        ({"TIDEGAUGE_READ_TOKEN": READ, "TIDEGAUGE_ADMIN_TOKEN": READ}, "expected other tokens than in"),
        ({"TIDEGAUGE_TLS_CERT": "/x"}, "expected both or neither"),
        ({"TIDEGAUGE_TLS_CERT": "/x", "TIDEGAUGE_TLS_KEY": "/y"}, "expected a certificate in PEM"),
    ],
)
def test_settings_that_are_not_as_expected_are_refused_without_repeating_a_token(
    environ: dict[str, str], told: str
) -> None:
    with pytest.raises(SecuritySettingsError, match=told) as refusal:
        read_security(environ, host="127.0.0.1")
    assert "geheim" not in str(refusal.value)
    assert READ not in str(refusal.value)


def test_tokens_are_never_shown() -> None:
    assert READ not in repr(read_security(ALL, host="0.0.0.0"))


def test_posting_observations_is_ingest_getting_is_read_and_the_rest_is_for_the_administrator() -> None:
    assert role_for("GET", "/healthz") is None
    assert role_for("POST", "/v1/events") == "ingest"
    assert role_for("GET", "/v1/load-runs/x") == "read"
    assert role_for("GET", "/metrics") == "read"
    assert role_for("POST", "/v1/anything-new") == "admin"
    assert role_for("DELETE", "/v1/events") == "admin"


async def answered(app: Any, method: str, path: str, token: str | None, body: list[bytes] | None = None) -> int:
    """The status of a request; `app` is told of a length only by the messages themselves."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in body or [b""]]
    messages[-1]["more_body"] = False
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return int(sent[0]["status"])


async def open_app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("method", "path", "by_token"),
    [
        ("POST", "/v1/events", {None: 401, "wrong-wrong-wrong": 401, INGEST: 200, READ: 403, ADMIN: 200}),
        ("GET", "/v1/slo", {None: 401, INGEST: 403, READ: 200, ADMIN: 200}),
        ("POST", "/v1/silences", {None: 401, INGEST: 403, READ: 403, ADMIN: 200}),
        ("GET", "/readyz", {None: 200, READ: 200}),
    ],
)
async def test_each_role_may_do_its_own_and_the_administrator_all(
    method: str, path: str, by_token: dict[str | None, int]
) -> None:
    app = Guarded(open_app, read_security(ALL, host="0.0.0.0"))
    assert {token: await answered(app, method, path, token) for token in by_token} == by_token


async def test_without_any_token_nothing_is_asked_for() -> None:
    assert await answered(Guarded(open_app, Security()), "POST", "/v1/silences", None) == 200


async def test_a_body_that_grows_too_large_is_refused_though_it_never_said_its_length() -> None:
    from starlette.exceptions import HTTPException

    half = bytes(LARGEST_REQUEST_BYTES // 2)
    app = Guarded(open_app, Security())
    assert await answered(app, "POST", "/v1/markers", None, [half, half]) == 200
    with pytest.raises(HTTPException) as refusal:  # which the application's own error answer makes a 413
        await answered(app, "POST", "/v1/markers", None, [half, half, b"x"])
    assert refusal.value.status_code == 413
