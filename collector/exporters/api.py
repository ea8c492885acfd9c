"""GET /metrics/record, for Prometheus to scrape: only where tidegauge.yaml has an exporter of that kind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response

if TYPE_CHECKING:
    from collector.api.app import CollectorParts


def add_record_metrics(app: FastAPI, parts: CollectorParts) -> None:
    """Add the route where it is configured."""
    exporter = next((each for each in parts.exporters if each.settings.kind == "prometheus"), None)
    if exporter is None:
        return
    from collector.exporters.exposition import record_exposition  # loaded only where it is asked for
    from collector.exporters.jobs import newest_settled
    from collector.exporters.measures import slo_gauges
    from collector.exporters.push import read_all_totals
    from collector.exporters.store import month_start
    from collector.slo.store import read_slo_statuses

    most_routes = exporter.settings.most_routes

    @app.get("/metrics/record")
    def record_metrics() -> Response:
        client, until = parts.store.client(), newest_settled(parts.clock)
        services = list(parts.catalog.services.values())
        series = read_all_totals(client, services, until=until, most_routes=most_routes)
        instant = until - timedelta(microseconds=1)
        gauges = [
            gauge for each in services for gauge in slo_gauges(each.name, read_slo_statuses(client, each, now=instant))
        ]
        text = record_exposition(series, gauges, counted_since=month_start(until))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
