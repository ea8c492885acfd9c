"""Who may see the dashboard and who may act through it, pure: settings, a person, a role.

On loopback nobody is asked. On any other address either Streamlit's own OIDC login is used or a proxy in front says
who it is, with a secret that only it knows; without one of them the dashboard does not start. Roles: a viewer sees, an
operator acts too. Streamlit itself is met in `dashboard.session`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from collector.security import SHORTEST_TOKEN, is_loopback

Role = Literal["viewer", "operator"]
Way = Literal["loopback", "oidc", "proxy"]
LOCAL = "local"
DEFAULT_USER_HEADER, DEFAULT_GROUPS_HEADER = "X-Forwarded-Email", "X-Forwarded-Groups"
SECRET_HEADER = "X-Tidegauge-Proxy-Secret"  # noqa: S105 - the header's name
_GROUP = "group:"


class AccessSettingsError(ValueError):
    """Access is not set up as expected: says which setting, what was expected and what came. Never a secret."""


class AccessRefusedError(Exception):
    """This person, or this connection, may not see the dashboard: says why."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who looks. groups: as the identity provider or the proxy names them."""

    name: str
    role: Role
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """way: how people are known. viewers, operators: patterns of names (`*@example.com`), `group:NAME`, or `*`."""

    way: Way
    viewers: tuple[str, ...] = ("*",)
    operators: tuple[str, ...] = ()
    user_header: str = DEFAULT_USER_HEADER
    groups_header: str = DEFAULT_GROUPS_HEADER
    proxy_secrets: tuple[str, ...] = field(default=(), repr=False)


def read_access(environ: Mapping[str, str], *, host: str) -> AccessSettings:
    """Return how people are known at an address. Raises AccessSettingsError: it must not be served like this."""
    way = environ.get("TIDEGAUGE_DASHBOARD_ACCESS") or "loopback"
    if way not in ("loopback", "oidc", "proxy"):
        raise AccessSettingsError(f"TIDEGAUGE_DASHBOARD_ACCESS: expected oidc or proxy, got {way!r}")
    if way == "loopback":
        if not is_loopback(host):
            raise AccessSettingsError(
                f"address {host or '(all)'}: expected TIDEGAUGE_DASHBOARD_ACCESS=oidc or proxy for all that is not"
                " loopback, got none"
            )
        return AccessSettings("loopback", operators=("*",))
    secrets = _proxy_secrets(environ) if way == "proxy" else ()
    operators = _names(environ, "TIDEGAUGE_DASHBOARD_OPERATORS")
    return AccessSettings(
        "proxy" if way == "proxy" else "oidc",
        viewers=_names(environ, "TIDEGAUGE_DASHBOARD_VIEWERS") or ("*",),
        operators=operators,
        user_header=environ.get("TIDEGAUGE_DASHBOARD_USER_HEADER") or DEFAULT_USER_HEADER,
        groups_header=environ.get("TIDEGAUGE_DASHBOARD_GROUPS_HEADER") or DEFAULT_GROUPS_HEADER,
        proxy_secrets=secrets,
    )


def _names(environ: Mapping[str, str], setting: str) -> tuple[str, ...]:
    return tuple(part for part in environ.get(setting, "").replace(",", " ").split() if part)


def _proxy_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    setting = "TIDEGAUGE_DASHBOARD_PROXY_SECRET"
    text, file = environ.get(setting) or "", environ.get(f"{setting}_FILE") or ""
    if bool(text) == bool(file):
        raise AccessSettingsError(f"{setting}: expected it or {setting}_FILE, got {'both' if text else 'neither'}")
    if file:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise AccessSettingsError(f"{setting}_FILE: expected a readable file, got {error}") from error
    secrets = tuple(text.split())
    if not secrets or any(len(secret) < SHORTEST_TOKEN for secret in secrets):
        raise AccessSettingsError(f"{setting}: expected secrets of at least {SHORTEST_TOKEN} characters")
    return secrets


def person_by_proxy(settings: AccessSettings, headers: Mapping[str, str]) -> Person:
    """Return whom the proxy in front names. Raises AccessRefusedError for a connection that did not come through it."""
    known = {name.lower(): value for name, value in headers.items()}
    sent = known.get(SECRET_HEADER.lower(), "").encode()
    # All are compared, each in constant time: how long it takes says nothing about any.
    matches = [hmac.compare_digest(sent, secret.encode()) for secret in settings.proxy_secrets]
    if not any(matches):
        raise AccessRefusedError(f"expected a connection through the proxy, which sends {SECRET_HEADER}")
    name = known.get(settings.user_header.lower(), "").strip()
    if not name:
        raise AccessRefusedError(f"expected the proxy to say who it is in {settings.user_header}, got nothing")
    groups = known.get(settings.groups_header.lower(), "")
    return allowed(settings, name, tuple(part.strip() for part in groups.split(",") if part.strip()))


def person_by_claims(settings: AccessSettings, claims: Mapping[str, object]) -> Person:
    """Return whom an identity provider's claims name. Raises AccessRefusedError.

    An address that the provider says is not verified proves nothing and is not used; `sub` names the person then.
    """
    email = claims.get("email")
    name = email if isinstance(email, str) and claims.get("email_verified", True) is not False else claims.get("sub")
    if not isinstance(name, str) or not name:
        raise AccessRefusedError("expected the identity provider to tell an e-mail address or sub, got neither")
    told = claims.get("groups")
    groups = tuple(str(each) for each in told) if isinstance(told, (list, tuple)) else ()
    return allowed(settings, name, groups)


def allowed(settings: AccessSettings, name: str, groups: tuple[str, ...]) -> Person:
    """Return a person with the highest role that the settings give. Raises AccessRefusedError when they give none."""
    if _is_among(settings.operators, name, groups):
        return Person(name, "operator", groups)
    if _is_among(settings.viewers, name, groups):
        return Person(name, "viewer", groups)
    raise AccessRefusedError(f"{name} is neither among the viewers nor among the operators of this dashboard")


def local_person() -> Person:
    """Return whoever sits at this machine: on loopback nobody is asked."""
    return Person(LOCAL, "operator")


def _is_among(patterns: tuple[str, ...], name: str, groups: tuple[str, ...]) -> bool:
    for pattern in patterns:
        if pattern.startswith(_GROUP):
            if pattern.removeprefix(_GROUP) in groups:
                return True
        elif fnmatchcase(name.lower(), pattern.lower()):
            return True
    return False
