"""`tidegauge forecast outlook` without its screen: years of hours from the record or a file, one outlook."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from collector.catalog import Service
from collector.clickhouse import Client
from forecaster.calendar.sources import zone_of
from forecaster.csv_file import read_csv
from forecaster.forecast.demand import clean_series
from forecaster.history import NOTHING_KNOWN
from forecaster.outlook.outlook import NoOutlook, Outlook, outlook_of
from forecaster.resources import Measure, Measured
from forecaster.settings import Settings
from forecaster.store.instants import floored
from tidegauge.clock import Clock

HISTORY = timedelta(days=3 * 366)  # as long as the record keeps demand
STEP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class OutlookQuestion:
    """capacity: in the unit of the series. timezone: None = the service's own, UTC for a file."""

    horizon: timedelta
    quantiles: tuple[float, ...]
    capacity: float | None
    timezone: str | None
    of: Measure = "requests"


def outlook_from_csv(path: Path, question: OutlookQuestion) -> Outlook | NoOutlook:
    """Look ahead from the end of a file, in its own unit. Raises ValueError naming file, line and what was expected."""
    imported = read_csv(path)
    series = clean_series(path.stem, imported.frame.rename(columns={"value": "y"}), step=imported.step)
    return outlook_of(
        series,
        zone=zone_of(question.timezone or "UTC"),
        origin=series.frame["ds"].iloc[-1].to_pydatetime() + series.step,
        horizon=question.horizon,
        quantiles=question.quantiles,
        capacity=question.capacity,
    )


def outlook_from_record(
    client: Client, service: Service, question: OutlookQuestion, *, clock: Clock, settings: Settings
) -> Outlook | NoOutlook:
    """Look ahead from the newest settled hour, in its unit. Raises OutlookError, CalendarError, StoreError."""
    now, measured = clock.now(), Measured(service.name, clock, question.of)
    known = measured.known(client, finest=STEP)
    if known is None:
        return NoOutlook(service.name, NOTHING_KNOWN if question.of == "requests" else f"no {question.of} is recorded")
    origin = floored(min(now - settings.settle * clock.speed_now(), known.end), known.step)
    rows = measured.history(client, since=origin - HISTORY, until=origin, step=known.step)
    if rows.empty:
        return NoOutlook(service.name, f"every row of the last {HISTORY.days} days is masked or missing")
    return outlook_of(
        clean_series(service.name, rows, step=known.step, until=origin),
        zone=zone_of(question.timezone or service.timezone),
        origin=origin,
        horizon=question.horizon,
        quantiles=question.quantiles,
        capacity=question.capacity,
    )
