"""Pushes the record's metrics, minute by minute from a watermark on disk: at least once, over restarts.

OTLP is told the totals of the newest minute; Datadog and CloudWatch of every minute since their watermark. A minute
counts as told when all its requests were taken; minutes that are too old for a receiver, or refused for good, are
passed over and reported.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from collector.catalog import Service
from collector.clickhouse import Client
from collector.exporters import datadog, otlp
from collector.exporters.measures import Gauge, Series, slo_gauges
from collector.exporters.settings import Exporter
from collector.exporters.store import month_start, read_kept_routes, read_minutes, read_totals
from collector.slo.store import read_slo_statuses

MINUTE = timedelta(minutes=1)
# How old a minute may be when it is told: Datadog takes an hour, CloudWatch two weeks.
OLDEST: Mapping[str, timedelta] = {"datadog": timedelta(minutes=55), "cloudwatch": timedelta(days=13)}
MOST_MINUTES = 120  # of one push; the next goes on
_PASSING = frozenset({401, 403, 408, 429})  # and 5xx: mended by waiting, or by the operator
log = logging.getLogger("tidegauge.collector.exporters")
Post = Callable[[str, bytes, Mapping[str, str]], int]


class PushFailedError(RuntimeError):
    """A receiver did not take a request now; it is tried again."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What one push told of. passed_over: minutes that will never be told."""

    watermark: datetime
    minutes: int
    passed_over: int = 0


def push_once(
    client: Client,
    services: Sequence[Service],
    exporter: Exporter,
    *,
    newest: datetime,
    watermark: datetime | None,
    post: Post,
    note: Callable[[datetime], None],
) -> Pushed | None:
    """Tell an exporter of what it has not been told up to `newest` (the end of a minute); None: nothing is new.

    note: keeps a watermark on disk. Raises StoreError, PushFailedError; what was told before is noted.
    """
    if watermark is not None and newest <= watermark:
        return None
    if exporter.settings.kind == "otlp":
        _send(exporter, [_totals(client, services, exporter, newest)], post)
        note(newest)
        return Pushed(newest, 1)
    begin = watermark if watermark is not None else newest - MINUTE
    oldest = newest - OLDEST[exporter.settings.kind]
    start = max(begin, oldest)
    until = min(newest, start + MOST_MINUTES * MINUTE)
    passed_over = (start - begin) // MINUTE
    by_minute = _minutes(client, services, exporter, start, until)
    gauges = _gauges(client, services, newest) if until == newest else []
    for number in range((until - start) // MINUTE):
        minute = start + number * MINUTE
        of_minute = gauges if minute + MINUTE == newest else []
        passed_over += _send(exporter, _bodies(exporter, by_minute.get(minute, []), of_minute, minute), post)
        note(minute + MINUTE)
    return Pushed(until, (until - start) // MINUTE, passed_over)


def _totals(client: Client, services: Sequence[Service], exporter: Exporter, newest: datetime) -> bytes:
    series = read_all_totals(client, services, until=newest, most_routes=exporter.settings.most_routes)
    return otlp.otlp_request(series, _gauges(client, services, newest), since=month_start(newest), at=newest)


def read_all_totals(client: Client, services: Sequence[Service], *, until: datetime, most_routes: int) -> list[Series]:
    """Return the month's totals of all services."""
    series = []
    for service in services:
        kept = read_kept_routes(client, service.name, until=until, most=most_routes)
        series += read_totals(client, service.name, until=until, kept_routes=kept)
    return series


def _minutes(
    client: Client, services: Sequence[Service], exporter: Exporter, start: datetime, until: datetime
) -> dict[datetime, list[Series]]:
    minutes: dict[datetime, list[Series]] = {}
    for service in services:
        kept = read_kept_routes(client, service.name, until=until, most=exporter.settings.most_routes)
        for minute, series in read_minutes(client, service.name, since=start, until=until, kept_routes=kept).items():
            minutes.setdefault(minute, []).extend(series)
    return minutes


def _gauges(client: Client, services: Sequence[Service], newest: datetime) -> list[Gauge]:
    instant = newest - timedelta(microseconds=1)
    return [
        gauge
        for service in services
        for gauge in slo_gauges(service.name, read_slo_statuses(client, service, now=instant))
    ]


def _bodies(exporter: Exporter, series: Sequence[Series], gauges: Sequence[Gauge], minute: datetime) -> list[bytes]:
    if exporter.settings.kind == "datadog":
        return datadog.datadog_requests(series, gauges, minute=minute)
    from collector.exporters import cloudwatch  # loads the signer: only where there is such an exporter

    return cloudwatch.cloudwatch_requests(series, gauges, minute=minute, namespace=exporter.settings.namespace)


def _send(exporter: Exporter, bodies: Sequence[bytes], post: Post) -> int:
    """Send the requests of one minute; return 1 when one of them was refused for good, else 0."""
    refused = 0
    for body in bodies:
        url, headers = _address(exporter, body)
        status = post(url, body, headers)
        if 200 <= status < 300:
            continue
        if status in _PASSING or status >= 500:
            raise PushFailedError(f"{exporter.name} answered {status}")
        log.error("%s refused metrics for good with %d; they are passed over", exporter.name, status)
        refused = 1
    return refused


def _address(exporter: Exporter, body: bytes) -> tuple[str, Mapping[str, str]]:
    settings, secrets = exporter.settings, exporter.secrets
    if settings.kind == "otlp":
        return settings.url + otlp.PATH, otlp.otlp_headers(secrets.get("headers_env"))
    if settings.kind == "datadog":
        return settings.url + datadog.PATH, datadog.datadog_headers(secrets["api_key_env"])
    from collector.exporters import cloudwatch

    url = settings.url + cloudwatch.PATH
    return url, cloudwatch.signed_headers(url, body, region=settings.region, secrets=secrets)


def http_post(client: httpx.Client) -> Post:
    """Return a function that posts and returns the status. It raises PushFailedError where there is no answer."""

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        try:
            return client.post(url, content=body, headers=dict(headers)).status_code
        except httpx.HTTPError as error:
            raise PushFailedError(f"no answer from {httpx.URL(url).host}: {type(error).__name__}") from error

    return post


def read_watermark_file(path: Path) -> datetime | None:
    """Return the watermark that was noted; None when there is none."""
    try:
        return datetime.fromtimestamp(int(json.loads(path.read_text())["told_until"]), UTC)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s: expected a watermark, got something else (%s): beginning anew", path, error)
        return None


def write_watermark_file(path: Path, watermark: datetime) -> None:
    """Keep a watermark; on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump({"told_until": int(watermark.timestamp())}, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
