"""Datadog's series API v2: each minute's requests as counts, durations as quantiles, the SLOs' gauges. Pure.

A point has the start of its minute: sent twice it replaces itself, so that a repetition after a kill doubles nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from collector.exporters.measures import Gauge, Series, dotted, duration_quantiles

PATH = "/api/v2/series"
MOST_SERIES = 1000
_COUNT, _GAUGE = 1, 3


def datadog_requests(series: Sequence[Series], gauges: Sequence[Gauge], *, minute: datetime) -> list[bytes]:
    """Return the bodies that tell of one minute (its start), each of at most MOST_SERIES series."""
    told = list(_series(series, gauges, int(minute.timestamp())))
    chunks = (told[start : start + MOST_SERIES] for start in range(0, len(told), MOST_SERIES))
    return [json.dumps({"series": chunk}, sort_keys=True).encode() for chunk in chunks]


def datadog_headers(api_key: str) -> dict[str, str]:
    """Return the headers of a request."""
    return {"Content-Type": "application/json", "DD-API-KEY": api_key}


def _series(series: Sequence[Series], gauges: Sequence[Gauge], at: int) -> Iterator[dict[str, Any]]:
    for each in series:
        yield _point("tidegauge.requests", _COUNT, each.labels, each.requests, at)
        yield _point("tidegauge.request.duration.total", _COUNT, each.labels, each.duration_us / 1e6, at)
    for labels, quantile, seconds in duration_quantiles(series):
        yield _point(f"tidegauge.request.duration.p{round(quantile * 100)}", _GAUGE, labels, seconds, at)
    for gauge in gauges:
        yield _point(dotted(gauge.name), _GAUGE, gauge.labels, gauge.value, at)


def _point(metric: str, kind: int, labels: Mapping[str, str], value: float, at: int) -> dict[str, Any]:
    point: dict[str, Any] = {
        "metric": metric,
        "type": kind,
        "points": [{"timestamp": at, "value": value}],
        "tags": [f"{name}:{text}" for name, text in sorted(labels.items())],
    }
    return {**point, "interval": 60} if kind == _COUNT else point
