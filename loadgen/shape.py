"""Loadgen's own daily-and-weekly shape: the traffic of a booking site when nobody gives a trace.

A pure function of absolute time and seed: a month of history and the live curve that follows it are one curve, whatever
range is asked for. Steep morning ramp (about 30 minutes from a tenth to nine tenths), a plateau, an evening peak, quiet
nights, later and lower weekends, mild noise. Days are days of UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from loadgen.arrivals import Floats, RateCurve

if TYPE_CHECKING:
    import pandas as pd

DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
NOISE_STEP_SECONDS = 300
DAY_NOISE = 0.03  # standard deviation of a whole day's factor
STEP_NOISE = 0.02  # standard deviation of a five-minute factor
# A logistic curve takes 4.39 of its scales from 10 % to 90 %: 30 minutes are 6.8 scales' minutes.
RAMP_SCALE_HOURS = 0.5 / 4.39
SUNDAY_EPOCH_DAY = 3  # 1970-01-01 was a Thursday: day 3 of the epoch is a Sunday


def daily_weekly_rps(
    start: datetime, end: datetime, *, step: timedelta, peak_rps: float, seed: int = 0
) -> pd.DataFrame:
    """Return columns `timestamp` (UTC) and `rps` (requests/s), one row per step in [start, end).

    peak_rps: the highest rate of a weekday without noise; noise goes a few percent beyond. Raises ValueError for naive
    datetimes, an empty range, a step that is not positive, or a peak that is not positive.
    """
    import pandas as pd

    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"expected aware datetimes, got {start!r} and {end!r}")
    if start >= end or step <= timedelta(0) or not peak_rps > 0:
        raise ValueError(f"expected start < end, step > 0, peak_rps > 0; got {start} to {end}, {step}, {peak_rps}")
    at = np.arange(start.timestamp(), end.timestamp(), step.total_seconds())
    timestamps = pd.to_datetime((at * 1e6).round().astype("int64"), unit="us", utc=True)
    return pd.DataFrame({"timestamp": timestamps, "rps": _rps_at(at, peak_rps, seed)})


def live_curve(started_at: datetime, *, peak_rps: float, seed: int = 0) -> RateCurve:
    """Return the shape from the midnight before `started_at` for eight days; then its last week is repeated."""
    midnight = started_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight.timestamp() + 60.0 * np.arange(8 * 1440 + 1, dtype=np.float64)
    return RateCurve(at, _rps_at(at, peak_rps, seed), repeat_seconds=float(WEEK_SECONDS))


def _rps_at(at: Floats, peak_rps: float, seed: int) -> Floats:
    day = np.floor(at / DAY_SECONDS).astype(np.int64)
    hour = (at - day * DAY_SECONDS) / 3600
    weekend = np.isin((day - SUNDAY_EPOCH_DAY) % 7, (0, 6))  # Sunday, Saturday
    level = np.where(weekend, _weekend_level(hour), _weekday_level(hour))
    return np.asarray(peak_rps * level * _noise(at, day, seed), dtype=np.float64)


def _step_up(hour: Floats, middle: float, scale_hours: float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-(hour - middle) / scale_hours)))


def _bump(hour: Floats, middle: float, width_hours: float) -> Floats:
    return np.asarray(np.exp(-0.5 * ((hour - middle) / width_hours) ** 2))


def _weekday_level(hour: Floats) -> Floats:
    """Return 0.12 at night, 0.57 through the day from 08:00, 1.0 at the evening's peak near 19:30."""
    awake = _step_up(hour, 8.0, RAMP_SCALE_HOURS) * (1 - _step_up(hour, 22.75, 0.3))
    return 0.12 + awake * (0.45 + 0.43 * _bump(hour, 19.5, 1.3))


def _weekend_level(hour: Floats) -> Floats:
    """Return a later, gentler day: 0.12 at night, 0.45 from 09:30, about 0.7 in the evening."""
    awake = _step_up(hour, 9.5, 2 * RAMP_SCALE_HOURS) * (1 - _step_up(hour, 23.0, 0.3))
    return 0.12 + awake * (0.33 + 0.25 * _bump(hour, 19.0, 1.8))


def _noise(at: Floats, day: np.ndarray[tuple[int], np.dtype[np.int64]], seed: int) -> Floats:
    """Return factors around 1, drawn per absolute day, so that they do not depend on the range asked for."""
    per_day = DAY_SECONDS // NOISE_STEP_SECONDS
    days = np.arange(day.min(), day.max() + 2)
    drawn = [np.random.default_rng([seed, abs(int(d)), int(d < 0)]).standard_normal(per_day + 1) for d in days]
    grid = (days[0] * DAY_SECONDS) + NOISE_STEP_SECONDS * np.arange(per_day * days.size)
    fine = np.interp(at, grid, np.concatenate([draw[1:] for draw in drawn]))
    coarse = np.array([draw[0] for draw in drawn])[day - days[0]]
    return np.asarray(np.clip((1 + STEP_NOISE * fine) * (1 + DAY_NOISE * coarse), 0.8, 1.2))
