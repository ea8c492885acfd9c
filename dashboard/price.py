"""What a replica costs: OpenCost's own figure where one is set up, else `cost:` of tidegauge.yaml.

TIDEGAUGE_OPENCOST_URL names an OpenCost; its `/allocation` tells each controller's cost and running minutes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import streamlit as st

from collector.catalog import Service

KEPT_SECONDS = 600.0
TIMEOUT_SECONDS = 3.0
WINDOW = "7d"
DEFAULT_CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Price:
    """Of one replica for one hour. source: who says so."""

    replica_hour: float
    currency: str
    source: str


class PriceUnavailable(Exception):  # noqa: N818 - a state of the world, not a mistake
    """OpenCost does not answer, or does not know the service: says which."""


def price_in(document: Mapping[str, Any], controller: str) -> float:
    """Return the price of a replica-hour from an answer of `/allocation?aggregate=pod`, pure.

    Summed cost over summed running time of all pods of the controller. Raises PriceUnavailable without any.
    """
    cost = minutes = 0.0
    for allocations in document.get("data") or []:
        for each in (allocations or {}).values():
            if (each.get("properties") or {}).get("controller") == controller:
                cost += float(each.get("totalCost") or 0)
                minutes += float(each.get("minutes") or 0)
    if minutes <= 0:
        raise PriceUnavailable(
            f"OpenCost: expected pods of the controller {controller!r} in the last {WINDOW}, got none"
        )
    return cost / (minutes / 60)


def price_of(service: Service) -> tuple[Price | None, str | None]:
    """Return a service's price, and why OpenCost's is not it; None: nobody says what it costs."""
    url, complaint = os.environ.get("TIDEGAUGE_OPENCOST_URL"), None
    currency = service.cost.currency if service.cost is not None else DEFAULT_CURRENCY
    if url and service.scaling is not None:
        try:
            return Price(_ask(url.rstrip("/"), service.scaling.name), currency, "OpenCost"), None
        except PriceUnavailable as error:
            complaint = str(error)
    if service.cost is None:
        return None, complaint
    return Price(service.cost.replica_hour, currency, "tidegauge.yaml"), complaint


@st.cache_data(ttl=KEPT_SECONDS, max_entries=32, show_spinner=False)
def _ask(url: str, controller: str) -> float:
    try:
        answer = httpx.get(
            f"{url}/allocation", params={"window": WINDOW, "aggregate": "pod"}, timeout=TIMEOUT_SECONDS
        )  # fmt: skip
        document = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise PriceUnavailable(f"OpenCost at {url}: {error or type(error).__name__}") from error
    return price_in(document, controller)
