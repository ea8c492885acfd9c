"""Regions: which one a request belongs to, and how long the way between places takes, if that is to be simulated.

The region comes from the header `x-region`, else from the host's first label (`eu-west.example.com`), else it is the
server's own. It picks the edge's shelf and origin, and by the session the database replica. The network profile delays
an answer by one round trip between where the request says it comes from and where this server stands.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

REGIONS = ("us-east", "us-west", "eu-west")
FROM_HEADER = b"x-network-from"

# Typical round trips in milliseconds on public networks to cloud regions in Virginia, Oregon and Ireland.
_WORLD: dict[str, dict[str, float]] = {
    "us-east": {"us-east": 2, "us-west": 68, "eu-west": 72},
    "us-west": {"us-east": 68, "us-west": 2, "eu-west": 128},
    "eu-west": {"us-east": 72, "us-west": 128, "eu-west": 2},
    "new-york": {"us-east": 10, "us-west": 72, "eu-west": 75},
    "san-francisco": {"us-east": 66, "us-west": 22, "eu-west": 138},
    "sao-paulo": {"us-east": 118, "us-west": 175, "eu-west": 182},
    "london": {"us-east": 78, "us-west": 136, "eu-west": 14},
    "frankfurt": {"us-east": 92, "us-west": 150, "eu-west": 28},
    "lagos": {"us-east": 165, "us-west": 220, "eu-west": 98},
    "johannesburg": {"us-east": 228, "us-west": 285, "eu-west": 162},
    "dubai": {"us-east": 190, "us-west": 245, "eu-west": 125},
    "mumbai": {"us-east": 192, "us-west": 218, "eu-west": 128},
    "singapore": {"us-east": 218, "us-west": 165, "eu-west": 178},
    "tokyo": {"us-east": 152, "us-west": 98, "eu-west": 208},
    "sydney": {"us-east": 202, "us-west": 142, "eu-west": 262},
}


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """Round trips in milliseconds, by place and region."""

    round_trips: Mapping[str, Mapping[str, float]]

    @property
    def places(self) -> list[str]:
        """The places a request may say it comes from."""
        return list(self.round_trips)

    def seconds(self, place: str, region: str) -> float:
        """Return one round trip in seconds; 0 for a place that the profile does not know."""
        return self.round_trips.get(place, {}).get(region, 0.0) / 1000

    def nearest(self, place: str) -> str:
        """Return the region that a place's DNS would lead to. Raises KeyError for an unknown place."""
        trips = self.round_trips[place]
        return min(trips, key=lambda region: trips[region])


def profile_from(text: str) -> NetworkProfile | None:
    """Return the profile of a setting: `off`, `world`, or the path of a JSON file of the same shape. Raises ValueError.

    The file: {"place": {"us-east": milliseconds, "us-west": .., "eu-west": ..}, ..}.
    """
    if text == "off":
        return None
    if text == "world":
        return NetworkProfile(_WORLD)
    expected = "expected off, world, or a JSON file {place: {region: milliseconds}}"
    try:
        document = json.loads(Path(text).read_text(encoding="utf-8"))
        trips = {place: {region: float(ms) for region, ms in row.items()} for place, row in document.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{expected}, got {text!r}: {error}") from None
    for place, row in trips.items():
        for region, milliseconds in row.items():
            if region not in REGIONS or not math.isfinite(milliseconds) or not 0 <= milliseconds <= 10_000:
                raise ValueError(f"{expected}, got {milliseconds!r} from {place} to {region!r} in {text}")
    return NetworkProfile(trips)


def region_of(headers: Iterable[tuple[bytes, bytes]], own: str) -> str:
    """Return the region a request asks for, or `own`."""
    by_host = ""
    for name, value in headers:
        if name == b"x-region" and (region := value.decode("latin-1")) in REGIONS:
            return region
        if name == b"host" and (label := value.partition(b".")[0].decode("latin-1")) in REGIONS:
            by_host = label
    return by_host or own


def in_region(
    app: ASGIApp,
    *,
    own: str,
    profile: NetworkProfile | None = None,
    by_request: bool = True,
    stands_in: str | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> ASGIApp:
    """Return `app` with `region` on the trail of each request, after the profile's delay.

    by_request False: every request belongs to `own`. stands_in: where this server stands, for the delay; None: wherever
    the request's region is (an edge, which has a server in each).
    """

    async def placed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            region = region_of(scope["headers"], own) if by_request else own
            scope.setdefault("tidegauge", {})["region"] = region
            if profile is not None:
                await sleep(profile.seconds(_place(scope, region), stands_in or region))
        await app(scope, receive, send)

    return placed


def _place(scope: Scope, region: str) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == FROM_HEADER), region)
