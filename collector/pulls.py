"""Pulls of the services whose source is Prometheus: from the record's watermark to now, again and again."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial

from collector.catalog import Catalog, PrometheusSource
from collector.clickhouse import Client
from collector.record.demand import read_watermark
from collector.sources.cardinality import CardinalityGuard
from collector.sources.prometheus import PrometheusError, PrometheusSettings, pull_once

FIRST_PULL = timedelta(hours=6)  # how far the first pull of a service looks back
LONGEST_PULL = timedelta(hours=24)  # one pull reads no more than this
log = logging.getLogger("tidegauge.collector")


def pull_services_once(
    client: Client, catalog: Catalog, guard: CardinalityGuard, *, now: datetime, watermarks: dict[str, datetime]
) -> int:
    """Pull every service with source `prometheus` up to `now` and return the minutes written.

    watermarks: by service, what earlier pulls of this process reached; updated here. Raises StoreError. A server that
    does not answer is logged, and asked again next time from the same watermark.
    """
    minutes = 0
    for service in catalog.services.values():
        if service.prometheus is None:
            continue
        since = watermarks.get(service.name) or read_watermark(client, service.name) or now - FIRST_PULL
        try:
            pulled = pull_once(
                settings_of(service.name, service.prometheus),
                since=since,
                until=min(now, since + LONGEST_PULL),
                write=partial(_write, client, guard, service.name),
            )
        except PrometheusError as error:
            log.warning("the pull of %s failed and is tried again: %s", service.name, error)
            continue
        watermarks[service.name] = pulled.watermark
        minutes += pulled.minutes
    return minutes


def may_be_pulled_from(now: datetime) -> datetime:
    """Return the oldest minute that a service's first pull may be writing, if it began within the last hour."""
    return now - FIRST_PULL - timedelta(hours=1)


def settings_of(service: str, source: PrometheusSource) -> PrometheusSettings:
    """Return the pull's settings of a service of the catalog."""
    return PrometheusSettings(
        service=service,
        url=source.url,
        requests_metric=source.requests_metric,
        duration_metric=source.duration_metric,
        match=source.match,
        scrape_interval=source.scrape_interval,
    )


def _write(client: Client, guard: CardinalityGuard, service: str, columns: dict[str, list[object]], token: str) -> None:
    # Rows that become alike by folding are added up by the table.
    client.insert_columns("red_1m", guard.fold(service, columns) or columns, token=token)
