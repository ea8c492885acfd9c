"""Who is told: the receivers of tidegauge.yaml with the environment's secrets. What they are told: bodies.

Secrets are named in the file by their environment variable only, and shown nowhere.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from string import Template
from typing import Literal, cast
from urllib.parse import urlsplit

from collector.alerts.state import Alert, Severity
from collector.checked_yaml import Block

Kind = Literal["webhook", "slack", "pagerduty", "alertmanager", "template"]
KINDS = ("webhook", "slack", "pagerduty", "alertmanager", "template")
TEMPLATE_NAMES = ("status", "reason", "alert_id", "service", "name", "severity", "summary", "started_at", "details")
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ReceiverSettingsError(ValueError):
    """A receiver's environment variable is absent or not as expected."""


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """One receiver as the file has it; `*_env` are names of environment variables."""

    name: str
    kind: Kind
    url: str | None
    url_env: str | None
    secret_env: str | None
    routing_key_env: str | None
    template: str | None
    severities: tuple[Severity, ...]
    services: tuple[str, ...]
    allow_networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver ready to be told. signing_keys: several while a secret is being changed."""

    settings: ReceiverSettings
    url: str = field(repr=False)
    signing_keys: tuple[bytes, ...] = field(default=(), repr=False)
    routing_key: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The receiver's name in tidegauge.yaml."""
        return self.settings.name

    def wants(self, alert: Alert) -> bool:
        """Say whether this receiver is told of the alert."""
        wanted = any(fnmatchcase(alert.service, pattern) for pattern in self.settings.services)
        return wanted and alert.severity in self.settings.severities


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """Where the dead man's switch is told that alerts are evaluated, and how often (real time)."""

    receiver: ReceiverSettings
    interval: timedelta


def read_heartbeat(block: Block) -> HeartbeatSettings:
    """Check `alerts.heartbeat`. Raises CatalogError."""
    block.only("url", "url_env", "secret_env", "allow_networks", "interval")
    url, url_env = block.optional("url", _url), block.optional("url_env", Block.text)
    if (url is None) == (url_env is None):
        block.refuse("either url or url_env (the name of an environment variable that has it)")
    receiver = ReceiverSettings(
        name="heartbeat",
        kind="webhook",
        url=url,
        url_env=url_env,
        secret_env=block.optional("secret_env", Block.text),
        routing_key_env=None,
        template=None,
        severities=(),
        services=(),
        allow_networks=block.optional("allow_networks", lambda b: tuple(_network(e) for e in b.sequence())) or (),
    )
    return HeartbeatSettings(receiver, block.optional("interval", Block.duration) or timedelta(minutes=1))


def read_receivers(block: Block) -> tuple[ReceiverSettings, ...]:
    """Check the list `alerts.receivers`. Raises CatalogError."""
    receivers = tuple(_receiver(each) for each in block.sequence())
    names = [each.name for each in receivers]
    if len(set(names)) != len(names):
        block.refuse("a name of its own for every receiver", f"the names {', '.join(names)}")
    return receivers


def _receiver(block: Block) -> ReceiverSettings:
    block.only(
        "name", "kind", "url", "url_env", "secret_env", "routing_key_env", "template", "severities", "services",
        "allow_networks",
    )  # fmt: skip
    kind = cast("Kind", block.required("kind").one_of(*KINDS))
    url, url_env = block.optional("url", _url), block.optional("url_env", Block.text)
    if kind == "pagerduty" and url is None and url_env is None:
        url = PAGERDUTY_URL
    if (url is None) == (url_env is None):
        block.refuse("either url or url_env (the name of an environment variable that has it)")
    if (kind == "pagerduty") != (block.optional("routing_key_env", Block.text) is not None):
        block.refuse("routing_key_env for the kind pagerduty, and for no other")
    if (kind == "template") != (block.optional("template", _template) is not None):
        block.refuse("a template for the kind template, and for no other")
    return ReceiverSettings(
        name=block.required("name").text(),
        kind=kind,
        url=url,
        url_env=url_env,
        secret_env=block.optional("secret_env", Block.text),
        routing_key_env=block.optional("routing_key_env", Block.text),
        template=block.optional("template", _template),
        severities=cast(
            "tuple[Severity, ...]",
            block.optional("severities", lambda b: tuple(e.one_of("page", "ticket", "info") for e in b.sequence()))
            or ("page", "ticket", "info"),
        ),
        services=block.optional("services", lambda b: tuple(e.text() for e in b.sequence())) or ("*",),
        allow_networks=block.optional("allow_networks", lambda b: tuple(_network(e) for e in b.sequence())) or (),
    )


def _url(block: Block) -> str:
    text = block.text()
    if not is_url(text):
        block.refuse("http(s)://host[:port]/path without user or password")
    return text


def is_url(text: str) -> bool:
    """Say whether a text is a URL that can be posted to."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None


def _template(block: Block) -> str:
    text = block.text()
    template = Template(text)
    if not template.is_valid() or not set(template.get_identifiers()) <= set(TEMPLATE_NAMES):
        block.refuse(f"a template with the names ${', $'.join(TEMPLATE_NAMES)}")
    try:
        json.loads(template.substitute(dict.fromkeys(TEMPLATE_NAMES, "x")))
    except ValueError:
        block.refuse("a template that becomes JSON, its names within quotes")
    return text


def _network(block: Block) -> Network:
    try:
        return ipaddress.ip_network(block.text())
    except ValueError:
        block.refuse("a network like 10.1.0.0/16")


def resolve_receivers(settings: Sequence[ReceiverSettings], environ: Mapping[str, str]) -> list[Receiver]:
    """Return the receivers with what the environment has for them. Raises ReceiverSettingsError; names no secret."""
    return [
        Receiver(
            each,
            url=_checked_url(each, environ),
            signing_keys=tuple(_signing_key(each, part) for part in _value(each, each.secret_env, environ).split()),
            routing_key=_value(each, each.routing_key_env, environ),
        )
        for each in settings
    ]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The dead man's switch ready to be told."""

    receiver: Receiver
    interval: timedelta


def resolve_heartbeat(settings: HeartbeatSettings | None, environ: Mapping[str, str]) -> Heartbeat | None:
    """Return the heartbeat with what the environment has for it. Raises ReceiverSettingsError; names no secret."""
    if settings is None:
        return None
    return Heartbeat(resolve_receivers([settings.receiver], environ)[0], settings.interval)


def _value(receiver: ReceiverSettings, name: str | None, environ: Mapping[str, str]) -> str:
    if name is None:
        return ""
    if not environ.get(name):
        raise ReceiverSettingsError(
            f"alerts.receivers {receiver.name}: expected {name} in the environment, got nothing"
        )
    return environ[name]


def _checked_url(receiver: ReceiverSettings, environ: Mapping[str, str]) -> str:
    url = receiver.url or _value(receiver, receiver.url_env, environ)
    if not is_url(url):
        raise ReceiverSettingsError(f"alerts.receivers {receiver.name}: {receiver.url_env}: expected an http(s) URL")
    return url


def _signing_key(receiver: ReceiverSettings, text: str) -> bytes:
    expected = f"alerts.receivers {receiver.name}: {receiver.secret_env}: expected whsec_ and base64 of 24 to 64 bytes"
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ReceiverSettingsError(expected) from None
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ReceiverSettingsError(expected)
    return key
