"""What a load generator may be pointed at, how hard and how long: it is an attack tool in the wrong hands.

Loopback is always allowed; other hosts only by name. Checked before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loadgen.scenario.executors import Rate, Users

if TYPE_CHECKING:
    from loadgen.scenario.file import Scenario

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HOSTS_NAME = "TIDEGAUGE_LOAD_ALLOWED_HOSTS"
RATE_NAME = "TIDEGAUGE_LOAD_MAX_RPS"
USERS_NAME = "TIDEGAUGE_LOAD_MAX_USERS"
DURATION_NAME = "TIDEGAUGE_LOAD_MAX_SECONDS"
MEMORY_NAME = "TIDEGAUGE_LOAD_MAX_MEMORY_BYTES"
MAX_RPS = 2000.0
MAX_USERS = 10_000
MAX_SECONDS = 4 * 3600
MAX_MEMORY_BYTES = 2 * 1024**3


class UnsafeLoadError(ValueError):
    """The run would leave its limits: says which, what is allowed and what came."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may do. max_rps: requests per real second. max_duration: of one run, in real time.

    max_memory_bytes: of all generating processes together; a run that passes it is ended.
    """

    allowed_hosts: frozenset[str] = LOOPBACK
    max_rps: float = MAX_RPS
    max_duration: timedelta = timedelta(seconds=MAX_SECONDS)
    max_users: int = MAX_USERS
    max_memory_bytes: int = MAX_MEMORY_BYTES


def limits_from_environment(environ: Mapping[str, str]) -> Limits:
    """Return the limits: TIDEGAUGE_LOAD_ALLOWED_HOSTS adds hosts (a,b), TIDEGAUGE_LOAD_MAX_RPS sets the rate."""
    hosts = {host.strip().lower() for host in environ.get(HOSTS_NAME, "").split(",") if host.strip()}
    text = environ.get(RATE_NAME) or str(MAX_RPS)
    try:
        max_rps = float(text)
    except ValueError:
        raise UnsafeLoadError(f"{RATE_NAME}: expected requests per second, got {text!r}") from None
    if not max_rps > 0:
        raise UnsafeLoadError(f"{RATE_NAME}: expected more than 0 requests per second, got {text!r}")
    return Limits(
        LOOPBACK | hosts, max_rps, timedelta(seconds=_whole(environ, DURATION_NAME, MAX_SECONDS)),
        _whole(environ, USERS_NAME, MAX_USERS), _whole(environ, MEMORY_NAME, MAX_MEMORY_BYTES),
    )  # fmt: skip


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise UnsafeLoadError(f"{name}: expected a whole number, 1 or more, got {text!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, checked."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        """Return the target's address without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def to_plan(self) -> dict[str, Any]:
        """Return it as a part of a child's plan."""
        return {"host": self.host, "port": self.port, "tls": self.tls}


def check_target(url: str, limits: Limits) -> Target:
    """Return the target. Raises UnsafeLoadError when the host is not allowed or the address is none of http(s)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnsafeLoadError(f"target: expected http(s)://HOST[:PORT], got {url!r}: {error}") from error
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.path not in ("", "/")
        or parts.query
        or parts.username
    ):
        raise UnsafeLoadError(f"target: expected http(s)://HOST[:PORT] and nothing more, got {url!r}")
    if host not in limits.allowed_hosts:
        allowed = ", ".join(sorted(limits.allowed_hosts))
        raise UnsafeLoadError(f"target: expected a host of [{allowed}] (add yours to {HOSTS_NAME}), got {host!r}")
    tls = parts.scheme == "https"
    return Target(host, (443 if tls else 80) if port is None else port, tls)


def check_rate(real_rps: float, limits: Limits) -> None:
    """Raise UnsafeLoadError when the run would send more than the limit in a real second."""
    if real_rps > limits.max_rps:
        raise UnsafeLoadError(
            f"rate: expected at most {limits.max_rps:g} requests per real second ({RATE_NAME}), got {real_rps:g}"
        )


def check_users(users: int, limits: Limits) -> None:
    """Raise UnsafeLoadError when the run would have more users than the limit."""
    if users > limits.max_users:
        raise UnsafeLoadError(f"users: expected at most {limits.max_users} ({USERS_NAME}), got {users}")


def check_scenario(scenario: Scenario, limits: Limits) -> None:
    """Raise UnsafeLoadError when the scenario would leave its limits."""
    check_duration(timedelta(seconds=scenario.duration_seconds), limits)
    executors = [part.executor for part in scenario.parts]
    check_rate(sum(one.highest_rps for one in executors if isinstance(one, Rate)), limits)
    check_users(sum(one.most for one in executors if isinstance(one, Users)), limits)


def check_duration(duration: timedelta, limits: Limits) -> None:
    """Raise UnsafeLoadError when the run would last longer than the limit, or no time at all."""
    if not timedelta(0) < duration <= limits.max_duration:
        raise UnsafeLoadError(f"duration: expected more than 0 and at most {limits.max_duration}, got {duration}")
