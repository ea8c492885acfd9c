"""`GET /v1/reports/{service}`: a report over HTTP, for the dashboard's link and for scripts."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, HTTPException, Response

from collector.catalog import Catalog
from forecaster.calendar.types import CalendarError
from forecaster.loop.world import World
from forecaster.outlook.outlook import OutlookError
from forecaster.report.formats import parse_format
from forecaster.report.requests import ReportError, ReportRequest, parse_horizon, report_of
from forecaster.report.sla_inputs import MonthError, parse_month

_AMISS = (ReportError, MonthError, OutlookError, CalendarError)


def add_reports(app: FastAPI, catalog: Catalog, world: Callable[[], World | None]) -> None:
    """Add the route. `kind` capacity (with `horizon`) or sla (with `month`); world: None while the store is away."""

    @app.get("/v1/reports/{service}")
    def report(
        service: str,
        format: str = "html",  # noqa: A002 (the name in the address)
        kind: str = "capacity",
        horizon: str = "90d",
        month: str | None = None,
    ) -> Response:
        known, present = catalog.service(service), world()
        if present is None:
            raise HTTPException(503, "starting: the store was not reached yet")
        try:
            asked = _asked(format, kind, horizon, month)
            made = report_of(present.client, known, asked, clock=present.clock, settings=present.settings)
        except _AMISS as error:
            raise HTTPException(422, str(error)) from None
        shown = "inline" if made.format in ("html", "pdf") else "attachment"
        headers = {
            "Content-Disposition": f'{shown}; filename="{made.name}"',
            "X-Tidegauge-Inputs-Sha256": made.digest,
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
            "Cache-Control": "no-store",
        }
        return Response(made.content, media_type=made.media_type, headers=headers)


def _asked(form: str, kind: str, horizon: str, month: str | None) -> ReportRequest:
    if kind not in ("capacity", "sla"):
        raise ReportError(f"kind: expected capacity or sla, got {kind!r}")
    try:
        known = parse_format(form)
    except ValueError as error:
        raise ReportError(f"format: {error}") from None
    if kind == "sla":
        return ReportRequest("sla", known, month=parse_month(month) if month else None)
    return ReportRequest("capacity", known, parse_horizon(horizon))
