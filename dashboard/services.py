"""What the dashboard asks of the other parts over HTTP: the load generator, the forecaster, the collector.

The view starts, stops, confirms and silences what people tell it to; what that means is decided over there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import streamlit as st

from collector.security import SecuritySettingsError, authorization

TIMEOUT_SECONDS = 3.0
REPORT_SECONDS = 60.0
MOST_OF_AN_ANSWER = 300


class PartUnavailable(Exception):  # noqa: N818 - a state of the world, not a mistake
    """A part does not answer."""


class PartRefused(Exception):  # noqa: N818 - as above
    """A part will not do it: says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the other processes: the settings that say where it is."""

    name: str
    url_setting: str
    port_setting: str
    default_port: int

    @property
    def url(self) -> str:
        """Return where it listens."""
        named = os.environ.get(self.url_setting)
        port = os.environ.get(self.port_setting) or self.default_port
        return (named or f"http://127.0.0.1:{port}").rstrip("/")


LOADGEN = Part("load generator", "TIDEGAUGE_LOADGEN_URL", "TIDEGAUGE_LOADGEN_PORT", 9402)
FORECASTER = Part("forecaster", "TIDEGAUGE_FORECASTER_URL", "TIDEGAUGE_FORECASTER_PORT", 9401)
COLLECTOR = Part("collector", "TIDEGAUGE_COLLECTOR_URL", "TIDEGAUGE_COLLECTOR_PORT", 9400)


def ask(part: Part, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a part's answer. Raises PartUnavailable, PartRefused (in its own words)."""
    try:
        answer = _http().request(
            method,
            part.url + path,
            json=None if method in ("GET", "DELETE") else dict(body or {}),
            headers=_headers(part, method),
            timeout=TIMEOUT_SECONDS,
        )
        found: Any = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise PartUnavailable(f"{part.url}: {error or type(error).__name__}") from error
    if answer.is_error:
        told = found.get("error") or found.get("detail") if isinstance(found, dict) else None
        raise PartRefused(str(told or answer.text)[:MOST_OF_AN_ANSWER])
    return found if isinstance(found, dict) else {"answer": found}


@st.cache_resource
def _http() -> httpx.Client:
    """Return what all viewers ask with: made anew for each question, its certificates cost more than most answers."""
    return httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))


def scaling_in_force(service: str) -> dict[str, Any]:
    """Return what the forecaster says of a service: mode in force, who ordered it, paused. Raises as `ask` does."""
    return ask(FORECASTER, "GET", f"/v1/services/{quote(service, safe='')}")


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a part has made."""

    name: str
    content: bytes
    media_type: str


def download(part: Part, path: str) -> Download:
    """Return the file that a part makes at a path; it may take a while. Raises PartUnavailable, PartRefused."""
    try:
        answer = _http().get(part.url + path, headers=_headers(part, "GET"), timeout=REPORT_SECONDS)
    except httpx.HTTPError as error:
        raise PartUnavailable(f"{part.url}: {error or type(error).__name__}") from error
    if answer.is_error:
        raise PartRefused(answer.text[:MOST_OF_AN_ANSWER])
    named = re.search(r'filename="([\w.-]+)"', answer.headers.get("content-disposition", ""))
    kind = answer.headers.get("content-type", "application/octet-stream")
    return Download(named.group(1) if named else "report", answer.content, kind)


def _headers(part: Part, method: str) -> dict[str, str]:
    if part is LOADGEN:  # it listens on loopback and asks for no token
        return {}
    try:
        return (method == "GET" and authorization(os.environ, "read")) or authorization(os.environ, "admin")
    except SecuritySettingsError as error:
        raise PartRefused(str(error)) from error
