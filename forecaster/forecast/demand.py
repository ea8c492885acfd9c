"""From recorded rows to a clean series: sorted, one row per step, gaps as gaps.

Every model and every decision reads demand through `clean_series`, so that what counts as a gap is decided once.
Reading rows from a store or a file is left to the callers.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.forecast.types import DemandSeries

MOST_RPS = 1e15


class DemandError(ValueError):
    """The rows cannot be read as a demand series: says which series, what was expected and what came."""


def clean_series(
    name: str,
    rows: pd.DataFrame,
    *,
    step: timedelta | None = None,
    until: datetime | None = None,
    zone: ZoneInfo | None = None,
) -> DemandSeries:
    """Return rows (columns `ds`, aware UTC start of step, and `y`) as a regular, ascending series with gaps as NaN.

    The last of several rows for one instant wins. Without `step` it is the most common difference between neighbours.
    With `until`, a step is seen only when it is complete: `ds + step <= until`. Negative values and any
    above MOST_RPS, infinite ones too, are gaps: no service has such a demand, and sums of it would leave a float.
    zone: of the users, by whose wall clock the models see it; `ds` is in UTC all the same.
    Raises DemandError when no row is left, the columns are not as expected, or one row alone leaves the step unknown.
    """
    seconds, values = _columns(name, rows)
    order = np.argsort(seconds, kind="stable")
    seconds, values = seconds[order], values[order]
    last_of_its_instant = np.append(seconds[1:] != seconds[:-1], True) if len(seconds) else np.zeros(0, dtype=bool)
    seconds, values = seconds[last_of_its_instant], values[last_of_its_instant]
    step_seconds = _step_seconds(name, seconds, step)
    if until is not None:
        complete = seconds + step_seconds <= _epoch_seconds(until)
        seconds, values = seconds[complete], values[complete]
    if len(seconds) == 0:
        raise DemandError(f"series {name!r}: expected at least one complete row, got none before {until}")
    index = (seconds - seconds[0]) // step_seconds
    grid = np.full(int(index[-1]) + 1, np.nan)
    grid[index] = np.where((values >= 0) & (values <= MOST_RPS), values, np.nan)
    starts = pd.to_datetime(seconds[0] + step_seconds * np.arange(len(grid)), unit="s", utc=True)
    return DemandSeries(name, timedelta(seconds=step_seconds), pd.DataFrame({"ds": starts, "y": grid}), zone)


def _columns(name: str, rows: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    missing = {"ds", "y"} - set(rows.columns)
    if missing:
        raise DemandError(f"series {name!r}: expected columns ds and y, got {list(rows.columns)}")
    if len(rows) == 0:
        raise DemandError(f"series {name!r}: expected at least one row, got none")
    if not isinstance(rows["ds"].dtype, pd.DatetimeTZDtype):
        raise DemandError(f"series {name!r}: expected ds as aware datetimes, got {rows['ds'].dtype}")
    if rows["ds"].isna().any():
        raise DemandError(f"series {name!r}: expected an instant in every row of ds, got an empty one")
    instants = rows["ds"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[s]")
    return instants.astype(np.int64), rows["y"].to_numpy(dtype=np.float64)


def _step_seconds(name: str, seconds: npt.NDArray[Any], step: timedelta | None) -> int:
    if step is not None:
        whole = int(step.total_seconds())
        if whole < 1:
            raise DemandError(f"series {name!r}: expected a step of whole seconds, at least one, got {step}")
        return whole
    if len(seconds) < 2:
        raise DemandError(f"series {name!r}: expected a step, or two rows to find it from; got one row and no step")
    differences, counts = np.unique(np.diff(seconds), return_counts=True)
    return int(differences[np.argmax(counts)])


def _epoch_seconds(instant: datetime) -> float:
    if instant.tzinfo is None:
        raise DemandError(f"expected an aware datetime, got {instant.isoformat()} without a zone")
    return instant.astimezone(UTC).timestamp()
