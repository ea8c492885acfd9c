"""A series on its users' wall clock, and a forecast back from it: 08:00 is 08:00 on both sides of a change of clocks.

Models know days of 24 hours and weeks of seven such days. People get up by the wall clock, so that is the axis models
are given: where clocks go forward an hour is a gap, where they go back an hour is there twice, and its second passing
counts. Pure; nothing of a series from its origin on is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.forecast.types import DemandSeries, Forecast, NoForecast

LARGEST_CHANGE = timedelta(hours=2)  # of any zone's clocks in our time
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class OnTheWall:
    """series: rows before the origin, `ds` as if the wall clock were UTC. origin: what the wall clock shows there."""

    series: DemandSeries
    origin: datetime


def on_the_wall(series: DemandSeries, origin: datetime) -> OnTheWall:
    """Return a series of a zone on its wall clock as it is known at `origin`. A zone and a row are expected."""
    step, start = _step_and_start(series)
    seen = max(0, int((origin.timestamp() - start) // step))
    values = series.frame["y"].to_numpy(dtype=np.float64)[:seen]
    wall = _wall_seconds(series, start + step * np.arange(len(values) + 1))
    end = int(_wall_seconds(series, np.array([start + step * seen]))[0])
    at = (wall[:-1] - wall[0]) // step
    known = np.isfinite(values) & (at >= 0)
    grid = np.full(int(at.max(initial=-1)) + 1, np.nan)
    grid[at[known]] = values[known]  # of an hour that comes twice the later row
    starts = (wall[0] + step * np.arange(len(grid))).astype("datetime64[s]")
    frame = pd.DataFrame({"ds": pd.DatetimeIndex(starts, tz=UTC), "y": grid})
    return OnTheWall(DemandSeries(series.name, series.step, frame), datetime.fromtimestamp(end, UTC))


def ask_ahead(series: DemandSeries, origin: datetime, horizon: timedelta) -> timedelta:
    """Return how far ahead to ask on the wall clock: one that goes forward is ahead of the time that has passed."""
    return (int(_steps_ahead(series, origin, horizon).max()) + 1) * series.step


def back_from(
    forecast: Forecast | NoForecast, series: DemandSeries, *, origin: datetime, horizon: timedelta
) -> Forecast | NoForecast:
    """Return what was forecast on the wall clock for the steps from `origin` on, in UTC."""
    if isinstance(forecast, NoForecast):
        return replace(forecast, origin=origin)
    step, start = _step_and_start(series)
    seen = int((origin.timestamp() - start) // step)
    rows = forecast.frame.iloc[_steps_ahead(series, origin, horizon)].reset_index(drop=True)
    rows["ds"] = pd.to_datetime(start + step * (seen + np.arange(len(rows))), unit="s", utc=True)
    known = np.flatnonzero(np.isfinite(series.frame["y"].to_numpy(dtype=np.float64)[:seen]))
    oldest = (forecast.history_from.replace(tzinfo=series.zone).timestamp() - start) // step
    return replace(
        forecast,
        origin=datetime.fromtimestamp(start + step * seen, UTC),
        frame=rows,
        history_from=datetime.fromtimestamp(start + step * max(0, oldest), UTC),
        watermark=datetime.fromtimestamp(start + step * (int(known[-1]) + 1), UTC),
    )


def zone_for(name: str) -> ZoneInfo | None:
    """Return a time zone for a series, None for UTC, which is its own wall clock."""
    return None if name in ("UTC", "Etc/UTC") else ZoneInfo(name)


def _steps_ahead(series: DemandSeries, origin: datetime, horizon: timedelta) -> Array:
    """Return for each step from the origin on how many steps ahead of it the wall clock's is.

    An hour that comes a second time lies before an origin inside its first passing: there the clock is taken as if it
    had not been set back yet.
    """
    step, start = _step_and_start(series)
    steps = np.arange(-(-horizon // series.step))
    wall = _wall_seconds(series, start + step * (int((origin.timestamp() - start) // step) + steps))
    ahead = (wall - wall[0]) // step
    found: Array = np.where(ahead < 0, steps, ahead)
    return found


def _step_and_start(series: DemandSeries) -> tuple[int, int]:
    return int(series.step.total_seconds()), int(series.frame["ds"].iloc[0].timestamp())


def _wall_seconds(series: DemandSeries, seconds: Array) -> Array:
    """Return what the wall clock shows at instants (epoch s), as epoch seconds of a clock in UTC."""
    shown = pd.DatetimeIndex(seconds.astype("datetime64[s]"), tz=UTC).tz_convert(series.zone).tz_localize(None)
    found: Array = shown.to_numpy(dtype="datetime64[s]").astype(np.int64)
    return found
