"""What an event says of its request, in few distinct words: route template, user-agent family, trace id. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

UNMATCHED = "/unmatched"


def route_template(scope: Mapping[str, Any], own_root: str = "") -> str:
    """Return the template of the matched Starlette or FastAPI route: never a raw path; UNMATCHED when none matched."""
    mounted = scope.get("root_path", "")[len(own_root) :]
    names = {str(value): f"{{{name}}}" for name, value in (scope.get("path_params") or {}).items()}
    prefix = "/".join(names.get(segment, segment) for segment in mounted.split("/"))
    route = scope.get("route")
    # FastAPI keeps the prefixes of included routers in a context of its own, beside the route.
    own = scope.get("fastapi")
    context = own.get("effective_route_context") if isinstance(own, dict) else None
    if route is not None and getattr(context, "original_route", None) is route:
        route = context
    path = getattr(route, "path", None)
    if path is None or hasattr(route, "routes"):  # nothing matched, or only a mount did
        return f"{prefix}/*" if prefix else UNMATCHED
    return prefix + str(path)


def trace_id_of(traceparent: bytes) -> str:
    """Return the trace id of a W3C traceparent header, "" when there is no valid one."""
    parts = traceparent.decode("latin-1").strip().split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or set(parts[1]) - set("0123456789abcdef") or set(parts[1]) == {"0"}:
        return ""
    return parts[1]


_COUNTRY_HEADERS = (b"cf-ipcountry", b"cloudfront-viewer-country", b"x-vercel-ip-country", b"x-country-code")


def country_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the viewer's country (ISO 3166, two letters) as the CDN in front says it; "" when none does."""
    for name in _COUNTRY_HEADERS:
        text = headers.get(name, b"").decode("latin-1").upper()
        if len(text) == 2 and text.isascii() and text.isalpha():
            return text
    return ""


_FAMILIES = (
    ("kube-probe", "probe"), ("bot", "bot"), ("spider", "bot"), ("crawl", "bot"), ("locust", "locust"),
    ("curl", "curl"), ("wget", "wget"), ("python", "python"), ("aiohttp", "python"), ("httpx", "python"),
    ("go-http-client", "go"), ("java", "java"), ("okhttp", "okhttp"), ("edg", "edge"), ("firefox", "firefox"),
    ("chrome", "chrome"), ("safari", "safari"),
)  # fmt: skip


@lru_cache(maxsize=1024)
def user_agent_family(user_agent: bytes) -> str:
    """Return one of a few families of a User-Agent header; "" without one."""
    text = user_agent.decode("latin-1").lower()
    if not text:
        return ""
    return next((family for mark, family in _FAMILIES if mark in text), "other")
