"""What a capacity planner may ask a forecast of: requests, CPU or memory, all read the same way.

The same steps, the same masks, the same gaps: so the models, `predict` and the outlook take any of them. Reading
requests alone, as the live loop does, is `history`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import pandas as pd

from collector.clickhouse import Client
from collector.record.store import (
    CPU_NAMES,
    MEMORY_NAMES,
    read_cpu_steps,
    read_memory_steps,
    read_resource_span,
)
from forecaster.forecast.demand import clean_series
from forecaster.history import DemandKnown, read_history, read_known, read_masks, without
from forecaster.store.instants import floored
from tidegauge.clock import Clock

Measure = Literal["requests", "cpu", "memory"]
UNITS: dict[Measure, str] = {"requests": "requests/s", "cpu": "cores", "memory": "bytes"}
_LONGEST_GAP_SECONDS = 300.0
_LONGEST_REAL_GAP_SECONDS = 60.0  # four rounds of the samplers at their default


class MeasureError(ValueError):
    """A measure that there is none of: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of what to read: a service's measure, by the clock that its samples were told in."""

    service: str
    clock: Clock
    measure: Measure = "requests"

    @property
    def unit(self) -> str:
        """Return the unit of the values."""
        return UNITS[self.measure]

    def known(self, client: Client, *, finest: timedelta) -> DemandKnown | None:
        """Return what the record holds of it; None when that is nothing. Raises StoreError."""
        if self.measure == "requests":
            return read_known(client, self.service, finest=finest)
        span = read_resource_span(client, self.service, CPU_NAMES if self.measure == "cpu" else MEMORY_NAMES)
        return DemandKnown(*span, finest) if span else None

    def history(self, client: Client, *, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
        """Return `ds` (aware UTC) and `y` (in `unit`) in [since, until), without masked spans. Raises StoreError.

        CPU is the mean number of cores that all replicas used in a step, memory the bytes that they held in its mean.
        """
        if self.measure == "requests":
            return read_history(client, self.service, since=since, until=until, step=step)
        if self.measure == "cpu":
            gap = max(_LONGEST_GAP_SECONDS, _LONGEST_REAL_GAP_SECONDS * self.clock.speed)
            rows = read_cpu_steps(
                client, self.service, since=since, until=until, step=step, longest_gap_seconds=gap
            ).rename(columns={"rate": "y"})
            rows["y"] *= [self._speed(start, step) for start in rows["ds"]]
        else:
            rows = read_memory_steps(client, self.service, since=since, until=until, step=step)
            rows = rows.rename(columns={"bytes": "y"})
        return without(rows, read_masks(client, self.service, since=since, until=until), step)

    def _speed(self, start: pd.Timestamp, step: timedelta) -> float:
        """Return how many seconds of the clock in use a real one had in a step: a CPU's seconds are real."""
        begin, seconds = start.timestamp(), step.total_seconds()
        return seconds / (self.clock.real_at(begin + seconds) - self.clock.real_at(begin))


def parse_measure(text: str) -> Measure:
    """Return what `--of` names. Raises MeasureError."""
    for measure in get_args(Measure):
        if text == measure:
            return measure  # type: ignore[no-any-return]  # get_args forgets what it was given
    raise MeasureError(f"expected one of {', '.join(get_args(Measure))}, got {text!r}")


def read_demand_frame(
    client: Client, service: str, *, since: datetime, until: datetime, step: timedelta, clock: Clock
) -> pd.DataFrame:
    """Return a service's demand with what it costs: `ds, requests_per_minute, cpu_cores, memory_bytes`.

    One row for every whole step of [since, until), aware UTC and ascending; NaN where a figure is not known or masked,
    never zero. Each column is a history for `predict`, under the names `ds` and `y`. Raises StoreError.
    """
    start, end = floored(since, step), floored(until, step)
    start += step if start < since else timedelta(0)
    frame = pd.DataFrame({"ds": pd.date_range(start, end, freq=step, inclusive="left", unit="us")})
    for measure, column, factor in (
        ("requests", "requests_per_minute", 60.0), ("cpu", "cpu_cores", 1.0), ("memory", "memory_bytes", 1.0),
    ):  # fmt: skip
        rows = Measured(service, clock, parse_measure(measure)).history(client, since=since, until=until, step=step)
        if rows.empty:
            frame[column] = float("nan")
            continue
        clean = clean_series(service, rows, step=step, until=until).frame
        frame[column] = frame["ds"].map(pd.Series(clean["y"].to_numpy() * factor, index=clean["ds"]))
    return frame
