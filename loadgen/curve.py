"""Reads a curve file: `timestamp,rps`, requests per second of the clock in use, linear between rows.

Where the numbers come from (a trace rescaled and moved in time, a plan) is others' business.
"""

from __future__ import annotations

import csv
import math
from datetime import datetime
from pathlib import Path

import numpy as np

from loadgen.arrivals import RateCurve
from loadgen.shape import DAY_SECONDS

HEADER = ["timestamp", "rps"]


class CurveError(ValueError):
    """The curve file is not as expected: says file, line, what was expected and what came."""


def read_curve(path: Path) -> RateCurve:
    """Return the file's curve; after its last row the last day (or the whole file, if shorter) is repeated.

    Timestamps are ISO 8601 with an offset or Z, strictly increasing. Raises CurveError with the line's number.
    """
    at: list[float] = []
    rps: list[float] = []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if header != HEADER:
            raise CurveError(f"{path}:1: expected the header {','.join(HEADER)!r}, got {','.join(header)!r}")
        for row in rows:
            instant, rate = _parse_row(row, f"{path}:{rows.line_num}")
            if at and instant <= at[-1]:
                raise CurveError(
                    f"{path}:{rows.line_num}: expected a later timestamp than the row before, got {row[0]!r}"
                )
            at.append(instant)
            rps.append(rate)
    if len(at) < 2:
        raise CurveError(f"{path}: expected at least two rows of timestamp,rps, got {len(at)}")
    return RateCurve(np.array(at), np.array(rps), repeat_seconds=min(float(DAY_SECONDS), at[-1] - at[0]))


def _parse_row(row: list[str], where: str) -> tuple[float, float]:
    if len(row) != len(HEADER):
        raise CurveError(f"{where}: expected 2 fields (timestamp,rps), got {len(row)}")
    try:
        instant = datetime.fromisoformat(row[0])
        rate = float(row[1])
    except ValueError as error:
        raise CurveError(f"{where}: expected an ISO timestamp and a number, got {row[0]!r},{row[1]!r}") from error
    if instant.tzinfo is None:
        raise CurveError(f"{where}: expected a timestamp with an offset or Z, got {row[0]!r}")
    if not math.isfinite(rate) or rate < 0:
        raise CurveError(f"{where}: expected a rate of 0 or more requests/s, got {row[1]!r}")
    return instant.timestamp(), rate
