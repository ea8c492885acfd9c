"""One HTTP request of ClickHouse's interface as one value: what belongs to the engine, what to HTTP alone. Pure.

Sessions are the one thing knowingly left out: each request has an engine handle of its own, so `session_id` is accepted
(clickhouse-connect sends one by default) and nothing lives from one request to the next: no SET, no temporary table.
`wait_end_of_query` is accepted too, but a large result is not kept until its end: one that fails late breaks off.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

# Settings that the HTTP server itself acts on; the engine has no connection to apply them to.
_HTTP_ONLY = frozenset(
    {
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_zlib_compression_level",
        "log_comment",  # the engine's handle carries our own, to find a query that must be cancelled
        "max_memory_usage",
        "password",
        "quota_key",
        "readonly",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*\Z")


class RequestError(ValueError):
    """A request that ClickHouse's interface does not know. `name` and `code` are ClickHouse's own."""

    def __init__(self, message: str, *, code: int = 36, name: str = "BAD_ARGUMENTS") -> None:
        super().__init__(message)
        self.code, self.name = code, name


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine handle is told before its one statement."""

    database: str | None
    settings: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    memory_bytes: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body. `query` is the part of the statement that stands before the body."""

    setup: Setup
    query: str
    query_id: str
    default_format: str
    content_encoding: str
    accept_encoding: str


def read_request(
    method: str,
    query_string: str,
    headers: Mapping[str, str],
    *,
    memory_bytes: int,
    form: Mapping[str, str] | None = None,
) -> Request:
    """Return the request that URL, headers (names in lower case) and form fields make; raises RequestError.

    memory_bytes: the most that a query may use; a request can ask for less.
    """
    fields = dict(parse_qsl(query_string, keep_blank_values=True)) | dict(form or {})
    for name in ("compress", "decompress"):
        if fields.pop(name, "0") not in {"0", "", "false"}:
            raise RequestError(
                f"{name}=1: expected Content-Encoding or Accept-Encoding instead", code=48, name="NOT_IMPLEMENTED"
            )
    compress = fields.get("enable_http_compression", "0") not in {"0", "", "false"}
    setup = Setup(
        database=fields.pop("database", "") or headers.get("x-clickhouse-database") or None,
        settings=(),
        parameters=tuple((k[6:], v) for k, v in fields.items() if k.startswith("param_")),
        memory_bytes=_memory(fields.get("max_memory_usage", ""), memory_bytes),
        read_only=method == "GET" or fields.get("readonly", "0") not in {"0", ""},
    )
    query = fields.pop("query", "")
    query_id = fields.pop("query_id", "")
    if not (query_id and query_id.isascii() and query_id.isprintable()):  # it goes back in a header
        query_id = str(uuid.uuid4())
    default_format = fields.pop("default_format", "") or headers.get("x-clickhouse-format") or "TabSeparated"
    settings = {k: v for k, v in fields.items() if k not in _HTTP_ONLY and not k.startswith("param_")}
    for name in (*settings, *(name for name, _ in setup.parameters)):
        if not _SETTING_NAME.match(name):
            raise RequestError(
                f"URL parameter {name!r}: expected the name of a setting", code=115, name="UNKNOWN_SETTING"
            )
    return Request(
        setup=Setup(setup.database, tuple(settings.items()), setup.parameters, setup.memory_bytes, setup.read_only),
        query=query,
        query_id=query_id,
        default_format=default_format,
        content_encoding=headers.get("content-encoding", ""),
        accept_encoding=headers.get("accept-encoding", "") if compress else "",
    )


def read_credentials(query_string: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return user and password, from X-ClickHouse-User/Key, Authorization: Basic, or the URL (in this order)."""
    if "x-clickhouse-user" in headers:
        return headers["x-clickhouse-user"], headers.get("x-clickhouse-key", "")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    fields = dict(parse_qsl(query_string))
    return fields.get("user", "default"), fields.get("password", "")


def _memory(asked: str, most: int) -> int:
    if not asked or not asked.isdigit() or int(asked) == 0:
        return most
    return min(int(asked), most)
