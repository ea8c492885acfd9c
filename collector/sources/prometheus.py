"""Pull of request counters and durations from a Prometheus server: its client, and what is asked in which order.

The client is used for its session, retries and range calls. What it leaves open is closed here: ranges are split under
the server's 11,000 points, every call has a timeout, GET only (its POST is not retried), label values are escaped, and
the warnings that it drops from answers are kept. What the samples mean is decided in `counters`; where rows go is the
caller's `write`.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException

from collector.record.exponential import Exponential
from collector.sources.counters import MINUTE, Key, Minutes, Series, Target, decide_minutes
from collector.sources.native import NativeSeries, exponential_of, native_series
from collector.sources.promql import native_queries, samples_query, split_range

_GAP_SCRAPES = 3  # a scrape can slip into the neighbouring window; after three without one it is missing
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*\Z")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

log = logging.getLogger(__name__)
Write = Callable[[dict[str, list[Any]], str], None]
Labels = tuple[tuple[str, str], ...]


class PrometheusError(Exception):
    """The server could not be asked, or refused: says which query and why."""


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Where a service's counters are, and which labels tell what.

    requests_metric: a counter of requests, or a native histogram. duration_metric: the base name of a histogram in
    seconds, or None; where there are no classic `_bucket`s, the native histogram of that name is read.
    match: labels that select the service, exactly. status_label: "200", or classes such as "5xx"; a histogram without
    it gives rows of status 0. None for a label that does not exist.
    """

    service: str
    url: str
    requests_metric: str
    duration_metric: str | None = None
    match: tuple[tuple[str, str], ...] = ()
    route_label: str | None = "route"
    method_label: str | None = "method"
    status_label: str | None = "status"
    version_label: str | None = None
    region_label: str | None = None
    scrape_interval: timedelta = timedelta(seconds=15)
    timeout: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        """Raise ValueError for what could not stand in PromQL."""
        for name in filter(None, (self.requests_metric, self.duration_metric)):
            if not _METRIC.match(name):
                raise ValueError(f"{self.service}: expected the name of a metric, got {name!r}")
        for name, _ in self.match:
            if not _LABEL.match(name):
                raise ValueError(f"{self.service}: expected the name of a label, got {name!r}")

    @property
    def step_seconds(self) -> int:
        """The scrape interval in whole seconds, at least one."""
        return max(1, math.ceil(self.scrape_interval.total_seconds()))


@dataclass(frozen=True, slots=True)
class Samples:
    """What the server told."""

    requests: tuple[Series, ...]
    buckets: tuple[Series, ...]
    sums: tuple[Series, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one pull did. watermark: the next pull's `since`; minutes before it are written or are known gaps."""

    watermark: datetime
    minutes: int
    requests: int
    gap_minutes: int
    unplaced_requests: float
    warnings: tuple[str, ...]


def pull_once(settings: PrometheusSettings, *, since: datetime, until: datetime, write: Write) -> Pulled:
    """Read, decide and write the whole minutes in [since, until) that can be complete by `until`.

    Each minute is one `write(columns of red_1m, deduplication token)`; the token is made of service and minute, so that
    a pull repeated from the same (or an older) watermark stores every minute once. Raises PrometheusError, ValueError.
    """
    first = math.ceil(_epoch(since) / MINUTE) * MINUTE
    last = math.floor((_epoch(until) - 2 * settings.step_seconds) / MINUTE) * MINUTE
    if last <= first:
        return Pulled(datetime.fromtimestamp(first, UTC), 0, 0, 0, 0.0, ())
    samples = read_counters(settings, since=first, until=last)
    minutes = decide_minutes(
        settings.service,
        requests=samples.requests,
        buckets=samples.buckets,
        sums=samples.sums,
        since=first,
        until=last,
        gap_seconds=_GAP_SCRAPES * settings.step_seconds,
    )
    for minute, columns in sorted(minutes.columns.items()):
        write(columns, f"prometheus:{settings.service}:{minute}")
    for warning in samples.warnings:
        log.warning("Prometheus at %s warned: %s", settings.url, warning)
    return _told(minutes, samples, last)


def read_counters(settings: PrometheusSettings, *, since: int, until: int) -> Samples:
    """Read the samples needed for the minutes in [since, until), epoch seconds, with those just outside them.

    Raises PrometheusError.
    """
    step = settings.step_seconds
    begin, end = since - (_GAP_SCRAPES + 1) * step, until + 2 * step
    warnings: dict[str, None] = {}
    with requests.Session() as session:
        session.hooks["response"].append(lambda response, *_, **__: warnings.update(_warnings(response)))
        client = PrometheusConnect(url=settings.url.rstrip("/"), session=session, method="GET")

        def read(metric: str) -> _Read:
            return _read_series(client, settings, metric, begin, end)

        found = read(settings.requests_metric)
        counted = (*found.counters, *(each.count for each in found.natives))
        histogram = settings.duration_metric
        buckets = read(f"{histogram}_bucket").counters if histogram else ()
        sums = read(f"{histogram}_sum").counters if histogram else ()
        if histogram and not buckets:
            natives = found.natives if histogram == settings.requests_metric else read(histogram).natives
            buckets = tuple(bucket for each in natives for bucket in each.buckets)
            sums = sums or tuple(each.seconds for each in natives)
    return Samples(counted, buckets, sums, tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Read:
    counters: tuple[Series, ...]
    natives: tuple[NativeSeries, ...]


@dataclass(slots=True)
class _Points:
    values: list[tuple[float, float]] = field(default_factory=list)
    natives: list[tuple[float, Exponential]] = field(default_factory=list)


def _read_series(client: Any, settings: PrometheusSettings, metric: str, begin: int, end: int) -> _Read:
    query = samples_query(metric, settings.match, settings.step_seconds)
    found = _read_points(client, settings, query, begin, end)
    # Prometheus before 2.43 answers zeros for native histograms here: what is nothing but zeros is asked for again.
    if any(points.values and not any(value for _, value in points.values) for points in found.values()):
        found |= _read_natives(client, settings, metric, begin, end)
    told = {labels: points for labels, points in found.items() if points.natives}
    return _Read(
        tuple(_series(settings, dict(labels), points.values) for labels, points in found.items() if labels not in told),
        tuple(native_series(each.natives, *_identity(settings, dict(labels))) for labels, each in told.items()),
    )


def _read_natives(
    client: Any, settings: PrometheusSettings, metric: str, begin: int, end: int
) -> dict[Labels, _Points]:
    """Return the native histograms among a metric's series: the bare name's, at the instants with a new sample."""
    bare, counted = native_queries(metric, settings.match, settings.step_seconds)
    found = _read_points(client, settings, bare, begin, end)
    if not any(points.natives for points in found.values()):
        return {}
    fresh = _read_points(client, settings, counted, begin, end)
    natives = {}
    for labels, points in found.items():
        instants = {at for at, count in fresh[labels].values if count > 0} if labels in fresh else set()
        new = [(at, histogram) for at, histogram in points.natives if at in instants]
        if new:
            natives[labels] = _Points(natives=new)
    return natives


def _read_points(client: Any, settings: PrometheusSettings, query: str, begin: int, end: int) -> dict[Labels, _Points]:
    seconds = settings.timeout.total_seconds()
    points: dict[Labels, _Points] = {}
    for first, last in split_range(begin, end, settings.step_seconds):
        try:
            found = client.custom_query_range(
                query,
                start_time=datetime.fromtimestamp(first, UTC),
                end_time=datetime.fromtimestamp(last, UTC),
                step=f"{settings.step_seconds}s",
                params={"timeout": f"{math.ceil(seconds)}s"},
                timeout=seconds,
            )
            for item in found:
                labels = tuple(sorted((name, value) for name, value in item["metric"].items() if name != "__name__"))
                of_series = points.setdefault(labels, _Points())
                of_series.values += [
                    (float(at), float(value)) for at, value in item.get("values", ()) if value != "NaN"
                ]
                of_series.natives += [(float(at), exponential_of(told)) for at, told in item.get("histograms", ())]
        except (requests.RequestException, PrometheusApiClientException, KeyError, ValueError) as error:
            raise PrometheusError(f"{settings.url}: {query}: {error}") from error
    return {labels: each for labels, each in points.items() if each.values or each.natives}


def _series(settings: PrometheusSettings, labels: Mapping[str, str], points: list[tuple[float, float]]) -> Series:
    target, key = _identity(settings, labels)
    return Series(
        target=target,
        key=key,
        times=np.array([at for at, _ in points]),
        values=np.array([value for _, value in points]),
        le=float(labels["le"]) if "le" in labels else None,
    )


def _identity(settings: PrometheusSettings, labels: Mapping[str, str]) -> tuple[Target, Key]:
    def text(name: str | None) -> str:
        return labels.get(name, "") if name else ""

    key = Key(
        route=text(settings.route_label),
        method=text(settings.method_label),
        version=text(settings.version_label),
        region=text(settings.region_label),
        status=_status(text(settings.status_label)),
    )
    return (labels.get("job", ""), labels.get("instance", "")), key


def _status(label: str) -> int:
    digits = label.lower().replace("x", "0")
    return int(digits) if len(digits) == 3 and digits.isascii() and digits.isdigit() else 0


def _told(minutes: Minutes, samples: Samples, watermark: int) -> Pulled:
    return Pulled(
        watermark=datetime.fromtimestamp(watermark, UTC),
        minutes=len(minutes.columns),
        requests=sum(sum(columns["requests"]) for columns in minutes.columns.values()),
        gap_minutes=len(minutes.gaps),
        unplaced_requests=minutes.unplaced_requests,
        warnings=samples.warnings,
    )


def _warnings(response: requests.Response) -> dict[str, None]:
    if b'"warnings"' not in response.content and b'"infos"' not in response.content:
        return {}
    try:
        answer = response.json()
    except ValueError:
        return {}
    return dict.fromkeys([*answer.get("warnings", ()), *answer.get("infos", ())])


def _epoch(at: datetime) -> float:
    if at.tzinfo is None:
        raise ValueError(f"expected an aware datetime, got {at!r}")
    return at.timestamp()
