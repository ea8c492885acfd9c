"""Who may ask the collector for what: bearer tokens by role, TLS, the size of bodies. Settings at the top, ASGI below.

On loopback nothing is asked for until a token is set. Any other address is served only with a token for every role.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from starlette.exceptions import HTTPException

LARGEST_REQUEST_BYTES = 8 * 1024 * 1024  # as it comes; what is packed inside is limited where it is unpacked
SHORTEST_TOKEN = 16
_FREE = frozenset({"/healthz", "/readyz"})
_INGEST = frozenset(
    {
        "/v1/events", "/v1/traces", "/v1/metrics", "/api/v1/write", "/v1/samples/retry",
        "/v1/markers", "/v1/capacities", "/v1/load-runs", "/v1/alerts",
    }
)  # fmt: skip
Role = Literal["ingest", "read", "admin"]
_SETTINGS: dict[Role, str] = {
    "ingest": "TIDEGAUGE_INGEST_TOKEN",
    "read": "TIDEGAUGE_READ_TOKEN",
    "admin": "TIDEGAUGE_ADMIN_TOKEN",
}
ROLES: tuple[Role, ...] = tuple(_SETTINGS)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class SecuritySettingsError(ValueError):
    """A token, a certificate or an address is not as expected. The message never repeats a token."""


@dataclass(frozen=True, slots=True)
class Security:
    """The tokens of each role (none at all: nothing is asked for), and the files of TLS."""

    tokens: Mapping[Role, tuple[str, ...]] = field(default_factory=dict, repr=False)
    certificate: Path | None = None
    key: Path | None = None

    @property
    def asks(self) -> bool:
        """Whether a token is asked for."""
        return any(self.tokens.values())


def read_security(environ: Mapping[str, str], *, host: str, roles: Sequence[Role] = ROLES) -> Security:
    """Return the tokens of each role's setting (or of the file that ..._FILE names), and the files of TLS.

    host: where the server will listen; another than loopback needs a token for every one of `roles`, which are those
    the server knows. Several tokens of a role,
    with commas or on lines between, are all good: the new one and the old one while they are changed.
    Raises SecuritySettingsError.
    """
    tokens = {role: _tokens(environ, _SETTINGS[role]) for role in roles}
    missing = [_SETTINGS[role] for role in roles if not tokens[role]]
    if missing and not is_loopback(host):
        raise SecuritySettingsError(
            f"TIDEGAUGE_BIND_ADDRESS={host}: expected tokens for all that is not loopback: set {', '.join(missing)}"
            " (or each with _FILE)"
        )
    for one, other in combinations(roles, 2):
        if set(tokens[one]) & set(tokens[other]):
            raise SecuritySettingsError(f"{_SETTINGS[one]}: expected other tokens than in {_SETTINGS[other]}")
    certificate = Path(text) if (text := environ.get("TIDEGAUGE_TLS_CERT")) else None
    key = Path(text) if (text := environ.get("TIDEGAUGE_TLS_KEY")) else None
    _check_tls(certificate, key)
    return Security(tokens, certificate, key)


def token_of(environ: Mapping[str, str], role: Role) -> str | None:
    """Return the token a client sends for a role: the first of its setting. Raises SecuritySettingsError."""
    return next(iter(_tokens(environ, _SETTINGS[role])), None)


def authorization(environ: Mapping[str, str], role: Role) -> dict[str, str]:
    """Return the header a client sends for a role; empty when no token is set. Raises SecuritySettingsError."""
    token = token_of(environ, role)
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tokens(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    text, file = environ.get(name) or "", environ.get(f"{name}_FILE") or ""
    if text and file:
        raise SecuritySettingsError(f"{name}: expected it or {name}_FILE, got both")
    if file:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SecuritySettingsError(f"{name}_FILE: expected a readable file, got {error}") from error
    tokens = tuple(part for part in text.replace(",", "\n").split() if part)
    if (text or file) and not tokens:
        raise SecuritySettingsError(f"{name}: expected a token, got none")
    for token in tokens:
        if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
            raise SecuritySettingsError(
                f"{name}: expected tokens of at least {SHORTEST_TOKEN} printable ASCII characters,"
                f" got one of {len(token)}"
            )
    return tokens


def _check_tls(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise SecuritySettingsError("TIDEGAUGE_TLS_CERT and TIDEGAUGE_TLS_KEY: expected both or neither")
    if certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise SecuritySettingsError(
                f"TIDEGAUGE_TLS_CERT and TIDEGAUGE_TLS_KEY: expected a certificate in PEM and its key, got {error}"
            ) from error


def role_for(method: str, path: str) -> Role | None:
    """Return the role a request needs; None: nobody is asked. What is unknown needs the administrator."""
    if path in _FREE:
        return None
    if method in ("GET", "HEAD"):
        return "read"
    return "ingest" if method == "POST" and path in _INGEST else "admin"


class Guarded:
    """ASGI: an application behind its tokens and a limit of the body. The administrator's token is good for all."""

    def __init__(self, app: AsgiApp, security: Security) -> None:
        self._app = app
        self._digests = {role: [token.encode() for token in tokens] for role, tokens in security.tokens.items()}
        self._asks = security.asks

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it before the application sees it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        role = role_for(scope["method"], scope["path"])
        if self._asks and role is not None:
            sent = _bearer(headers.get(b"authorization", b""))
            if sent is None or not self._is_known(sent, ROLES):
                challenge = [(b"www-authenticate", b'Bearer realm="tidegauge"')]
                await _answer(send, 401, f"expected Authorization: Bearer with a token of the role {role}", challenge)
                return
            if not self._is_known(sent, (role, "admin")):
                await _answer(send, 403, f"expected a token of the role {role}, got one of another role")
                return
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > LARGEST_REQUEST_BYTES:
            await _answer(send, 413, _too_large())
            return
        await self._app(scope, _limited(receive), send)

    def _is_known(self, sent: bytes, roles: tuple[Role, ...]) -> bool:
        # Every token is compared in constant time, and all of them: how long it takes says nothing about any.
        matches = [hmac.compare_digest(sent, token) for role in roles for token in self._digests.get(role, [])]
        return any(matches)


def _bearer(header: bytes) -> bytes | None:
    scheme, _, token = header.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" and token.strip() else None


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_REQUEST_BYTES:
            raise HTTPException(413, _too_large())
        return message

    return limited


def _too_large() -> str:
    return f"body: expected at most {LARGEST_REQUEST_BYTES} bytes, got more"


async def _answer(send: Send, status: int, text: str, more: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps({"error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
