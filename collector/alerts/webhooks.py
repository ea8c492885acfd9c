"""Sends messages over HTTP: signed after Standard Webhooks 1.0, only to addresses that were checked, no redirects.

The name is resolved once, every address is checked, and the connection is made to a checked address: a name that
resolves differently a moment later changes nothing. An attempt ends after TOTAL_SECONDS, however slowly it is answered.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from collector.alerts.outbox import Answer, Outbox, Outcome
from collector.alerts.receivers import Network, Receiver

TOTAL_SECONDS = 15.0
_MOST_ANSWER_BYTES = 4096
# Prefixes that carry an IPv4 address inside (NAT64, 6to4, Teredo): what they reach cannot be judged by their own range.
_TUNNELS = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


class AddressRefusedError(OSError):
    """The receiver's name leads to an address that must not be posted to."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, in the resolver's order. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Say whether an address may be posted to: any public one, and what the receiver's allow_networks name."""
    address: Address = ipaddress.ip_address(text.split("%", 1)[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in allowed):
        return True
    tunnelled = address.version == 6 and any(address in network for network in _TUNNELS)
    return address.is_global and not address.is_multicast and not address.is_reserved and not tunnelled


def checked_address(host: str, port: int, allowed: Sequence[Network], *, look_up: Resolve = resolve) -> str:
    """Return the address to connect to; refuses a name with any forbidden address. Raises AddressRefusedError."""
    addresses = look_up(host, port)
    forbidden = [each for each in addresses if not is_allowed(each, allowed)]
    if forbidden or not addresses:
        raise AddressRefusedError(
            f"{host} leads to {', '.join(forbidden) or 'no address'}: expected public addresses, or ones within the"
            " receiver's allow_networks"
        )
    return addresses[0]


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the webhook-signature header: one `v1,` entry for each key. timestamp: epoch seconds."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def retry_after_seconds(value: str | None, *, now: float) -> float | None:
    """Return the seconds of a Retry-After header (a number or a date), None where it says nothing of use."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    with suppress(ValueError, TypeError):
        instant = parsedate_to_datetime(value)
        aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.fromtimestamp(now, UTC)).total_seconds())
    return None


def post(
    receiver: Receiver,
    message_id: str,
    body: bytes,
    *,
    now: float,
    look_up: Resolve = resolve,
    total_seconds: float = TOTAL_SECONDS,
) -> Answer:
    """Make one attempt. Never raises for what the network or the receiver does. now: real epoch seconds."""
    parts = urlsplit(receiver.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = str(parts.hostname)
    path = parts.path or "/"
    if receiver.settings.kind == "alertmanager":
        path = path.rstrip("/") + "/api/v2/alerts"
    target = path + (f"?{parts.query}" if parts.query else "")
    content = _with_routing_key(receiver, body)
    try:
        address = checked_address(host, port, receiver.settings.allow_networks, look_up=look_up)
        connection = _Pinned(host, port, address, secure=parts.scheme == "https", timeout=total_seconds)
        with _Deadline(connection, total_seconds):
            connection.request("POST", target, content, _headers(receiver, message_id, content, now))
            response = connection.getresponse()
            text = response.read(_MOST_ANSWER_BYTES).decode(errors="replace")
            after = retry_after_seconds(response.getheader("Retry-After"), now=now)
            return Answer(response.status, text[:200], after)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(None, f"{type(error).__name__}: {error}")


def _headers(receiver: Receiver, message_id: str, body: bytes, now: float) -> Mapping[str, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Tidegauge",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
    }
    if receiver.signing_keys:
        headers["webhook-signature"] = signature(receiver.signing_keys, message_id, int(now), body)
    return headers


def _with_routing_key(receiver: Receiver, body: bytes) -> bytes:
    if not receiver.routing_key:
        return body
    return json.dumps({"routing_key": receiver.routing_key, **json.loads(body)}, sort_keys=True).encode()


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, under the receiver's name. Follows no redirect and no proxy."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address, self._secure = address, secure
        self.opened: socket.socket | None = None  # kept, for http.client forgets it when the answer is under way
        if secure:
            self.default_port = 443

    def connect(self) -> None:
        """Connect to the checked address; TLS is verified against the name."""
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self.opened = plain
        if self._secure:
            self.sock = self.opened = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


class _Deadline:
    """Ends a connection's socket after some seconds, for a timeout of single reads can be stretched for ever."""

    def __init__(self, connection: _Pinned, seconds: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._connection.close()

    def _end(self) -> None:
        if self._connection.opened is not None:
            with suppress(OSError):
                self._connection.opened.shutdown(socket.SHUT_RDWR)


def deliver_once(
    outbox: Outbox,
    receiver: Receiver,
    *,
    read_real: Callable[[], float] = time.time,
    send: Callable[..., Answer] = post,
) -> list[Outcome]:
    """Try what is due for one receiver, in order within a service; return the outcomes."""
    outcomes = []
    for waiting in outbox.due(receiver.name, now=read_real()):
        message = waiting.message
        answer = send(receiver, message.message_id, message.body, now=read_real())
        outcomes.append(outbox.record(waiting, answer, now=read_real()))
        if outcomes[-1] == "disabled":
            break
    return outcomes
