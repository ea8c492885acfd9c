"""History from CSV files: `timestamp,value` (requests in the interval), any regular step, whole or not at all.

`parse_csv` is pure and used wherever a series comes from a file; what the series means is left to its readers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd

from collector.clickhouse import Client
from collector.record.demand import write_imported_demand

RETENTION = timedelta(days=3 * 365)  # older rows would vanish at the insert
FIRST_YEAR, LAST_YEAR = 1970, 9998
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


class ImportRefusedError(ValueError):
    """The file is not as expected: says the line (where there is one), what was expected and what came."""


@dataclass(frozen=True, slots=True)
class ImportedSeries:
    """A regular series. frame: `ds` (aware UTC start of the step, ascending) and `value` (requests in the step).

    gaps: stretches of missing steps; missing_steps: how many steps they hold. duplicates: rows that a later row with
    the same timestamp replaced.
    """

    step: timedelta
    frame: pd.DataFrame
    gaps: int
    duplicates: int
    missing_steps: int

    @property
    def ends_at(self) -> datetime:
        """Return the end of the last step."""
        last: datetime = self.frame["ds"].iloc[-1].to_pydatetime()
        return last + self.step


def parse_csv(source: Path | str) -> ImportedSeries:
    """Parse a file (Path) or its text (str). Instants without zone are UTC. Raises ImportRefusedError."""
    if isinstance(source, Path):
        try:
            text = source.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ImportRefusedError(f"{source}: expected a readable file, got: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ImportRefusedError(f"{source}: expected UTF-8 text, got: {error}") from error
    else:
        text = source.removeprefix("\ufeff")
    lines = text.splitlines()
    header = [cell.strip().strip('"').lower() for cell in lines[0].split(",")] if lines else []
    if header != ["timestamp", "value"]:
        raise ImportRefusedError(f"line 1: expected the header timestamp,value, got {lines[0] if lines else ''!r}")
    seconds_by_line = [_row(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    return _series(seconds_by_line)


def _row(number: int, line: str) -> tuple[int, int, float]:
    """Return line number, epoch seconds and value."""
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    if len(cells) != 2:
        raise ImportRefusedError(f"line {number}: expected timestamp,value (2 cells), got {len(cells)}: {line[:80]!r}")
    try:
        instant = datetime.fromisoformat(cells[0])
    except ValueError:
        expected = "a timestamp like 2026-01-31T23:45:00Z"
        raise ImportRefusedError(f"line {number}: expected {expected}, got {cells[0][:80]!r}") from None
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:  # at the calendar's own ends an offset leads out of it
        raise ImportRefusedError(
            f"line {number}: expected a timestamp of the years {FIRST_YEAR} to {LAST_YEAR}, got {cells[0]!r}"
        )
    if instant.microsecond:
        raise ImportRefusedError(f"line {number}: expected a timestamp of whole seconds, got {cells[0]!r}")
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    value = float(cells[1]) if _NUMBER.fullmatch(cells[1]) else math.nan
    if not math.isfinite(value) or value < 0:
        raise ImportRefusedError(f"line {number}: expected a number of at least 0, got {cells[1][:80]!r}")
    return number, int(aware.timestamp()), value


def _series(rows: Iterable[tuple[int, int, float]]) -> ImportedSeries:
    by_second: dict[int, tuple[int, float]] = {}
    count = 0
    for number, second, value in rows:
        by_second[second] = (number, value)  # the last one wins
        count += 1
    seconds = sorted(by_second)
    if len(seconds) < 2:
        raise ImportRefusedError(f"expected at least two rows with different timestamps, got {len(seconds)}")
    distances = [later - earlier for earlier, later in pairwise(seconds)]
    step = Counter(distances).most_common(1)[0][0]
    for earlier, distance in zip(seconds, distances, strict=False):  # one row more than distances
        if distance % step:
            number = by_second[earlier + distance][0]
            raise ImportRefusedError(
                f"line {number}: expected a regular step (most rows are {timedelta(seconds=step)} apart),"
                f" got {timedelta(seconds=distance)} after the row before it"
            )
    holes = [distance // step - 1 for distance in distances if distance > step]
    instants = pd.Series(pd.to_datetime(pd.Series(seconds, dtype="int64"), unit="s", utc=True)).dt.as_unit("us")
    return ImportedSeries(
        step=timedelta(seconds=step),
        frame=pd.DataFrame({"ds": instants, "value": [by_second[second][1] for second in seconds]}),
        gaps=len(holes),
        duplicates=count - len(seconds),
        missing_steps=sum(holes),
    )


def shifted_to_end_at(series: ImportedSeries, end: datetime) -> ImportedSeries:
    """Return the series moved by whole steps so that its last step ends at `end`, or less than a step before it."""
    steps = (end - series.ends_at) // series.step
    return replace(series, frame=series.frame.assign(ds=series.frame["ds"] + steps * series.step))


def check_span(series: ImportedSeries, *, now: datetime) -> None:
    """Refuse a series the record could not keep: older than three years, or ahead of now. Raises ImportRefusedError."""
    first: datetime = series.frame["ds"].iloc[0].to_pydatetime()
    if first < now - RETENTION:
        raise ImportRefusedError(
            f"expected rows of the last three years (since {now - RETENTION:%Y-%m-%dT%H:%M:%SZ}), for older ones would"
            f" be deleted at once; got {first:%Y-%m-%dT%H:%M:%SZ}. --shift-to-end-at moves the whole series"
        )
    if series.ends_at > now:
        raise ImportRefusedError(
            f"expected rows that end by now ({now:%Y-%m-%dT%H:%M:%SZ}), got one that ends"
            f" {series.ends_at:%Y-%m-%dT%H:%M:%SZ}"
        )


def import_series(
    client: Client,
    service: str,
    series: ImportedSeries,
    *,
    source: str,
    now: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Store a series as demand of a service and return the number of rows; importing it again changes nothing.

    Raises ImportRefusedError before anything is written, StoreError when the store fails (then run it again).
    """
    check_span(series, now=now)
    return write_imported_demand(
        client,
        service,
        series.frame,
        step=series.step,
        source=source,
        content_id=content_id(series),
        imported_at=now,
        on_progress=on_progress,
    )


def content_id(series: ImportedSeries) -> str:
    """Return a hash of instants, values and step."""
    digest = hashlib.sha256(str(series.step.total_seconds()).encode())
    digest.update(series.frame["ds"].astype("int64").to_numpy().tobytes())
    digest.update(series.frame["value"].astype("float64").to_numpy().tobytes())
    return digest.hexdigest()
