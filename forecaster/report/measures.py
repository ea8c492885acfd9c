"""What demand did, in a few figures: by month, growth, seasons, and gaps. Pure; demand in requests/s.

Growth is the Theil-Sen slope of the logarithm of weekly means, with scipy's interval from the ranks of pairwise slopes
(Sen 1968): one odd week does not turn it. Weeks that follow each other are alike, so the interval is a narrow one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.forecast.types import DemandSeries
from forecaster.outlook.daily import Days

Array = npt.NDArray[np.float64]
GROWTH_WEEKS, LEAST_WEEKS = 12, 4
LEAST_DAYS_OF_WEEK = 5
INTERVAL = 0.9  # of growth and seasons
SEASON_WEEKS = 8
YEAR_DAYS = 364  # whole weeks: weekdays meet weekdays
HOURS_OF_A_KNOWN_DAY = 18


@dataclass(frozen=True, slots=True)
class Growth:
    """Of weekly means, per week, as a ratio (0.01: one percent), and its 90 % interval. weeks: it rests on.

    year: the last four weeks over the same four a year before, minus 1; None where nothing is known of these.
    """

    per_week: float
    low: float
    high: float
    weeks: int
    year: float | None


@dataclass(frozen=True, slots=True)
class Season:
    """Over its mean (a weekday over its week's mean day, an hour over its day's busiest hour): median and 5 to 95 %."""

    middle: float
    low: float
    high: float
    seen: int


@dataclass(frozen=True, slots=True)
class Month:
    """One calendar month of local days. requests: of its known steps; peak: the busiest hour, in requests/s.

    coverage: known steps over those that the month had up to the end of the series.
    """

    first: date
    requests: float
    mean: float
    peak: float
    peak_at: datetime
    coverage: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without demand in the record: unknown, or a quiet time of which no row was written."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Hours:
    """Shares of a local day's busiest hour: (days, 24), NaN where unknown. weekdays: 0 = Monday, by row."""

    shares: Array
    weekdays: npt.NDArray[np.int64]


def growth_of(days: Days) -> Growth | None:
    """Return the growth of the last twelve whole weeks at most; None with fewer than four that are known."""
    from scipy import stats  # slow to load, and a forecaster makes few reports

    weeks = [_week_mean(days.mean, back) for back in range(min(GROWTH_WEEKS, len(days.mean) // 7))][::-1]
    known = [(index, math.log(value)) for index, value in enumerate(weeks) if value is not None and value > 0]
    if len(known) < LEAST_WEEKS:
        return None
    slope, _, low, high = stats.theilslopes([y for _, y in known], [x for x, _ in known], INTERVAL)
    before = [_week_mean(days.mean[: max(0, len(days.mean) - YEAR_DAYS)], back) for back in range(4)]
    recent = [_week_mean(days.mean, back) for back in range(4)]
    then = [value for value in before if value is not None]
    now = [value for value in recent if value is not None]
    year = float(np.mean(now) / np.mean(then)) - 1 if len(then) == 4 and now and np.mean(then) > 0 else None
    return Growth(math.expm1(slope), math.expm1(low), math.expm1(high), len(known), year)


def _week_mean(daily: Array, back: int) -> float | None:
    end = len(daily) - 7 * back
    week = daily[max(0, end - 7) : max(0, end)]
    known = week[np.isfinite(week)]
    return float(known.mean()) if len(known) >= LEAST_DAYS_OF_WEEK else None


def weekday_seasons(days: Days) -> dict[int, Season]:
    """Return by weekday (0 = Monday) its day over the mean day of its week, of the last eight weeks known whole."""
    found: dict[int, list[float]] = {}
    end = len(days.mean)
    for back in range(min(SEASON_WEEKS, end // 7)):
        last = end - 7 * back
        week = days.mean[last - 7 : last]
        if np.isfinite(week).all() and week.mean() > 0:
            for offset, value in enumerate(week / week.mean()):
                found.setdefault(days.day(last - 7 + offset).weekday(), []).append(float(value))
    return {weekday: _season(values) for weekday, values in sorted(found.items())}


def _season(values: list[float]) -> Season:
    low, middle, high = np.quantile(values, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
    return Season(float(middle), float(low), float(high), len(values))


def hours_of(series: DemandSeries, zone: ZoneInfo, *, until: datetime) -> Hours | None:
    """Return each local hour's share of its day's busiest one over the last eight weeks.

    None when the step is longer than an hour, or fewer than two weeks are known well enough.
    """
    if series.step > timedelta(hours=1):
        return None
    frame = series.frame[series.frame["ds"] >= pd.Timestamp(until) - pd.Timedelta(weeks=SEASON_WEEKS)].dropna()
    if frame.empty:
        return None
    hourly = frame.groupby(frame["ds"].dt.floor("h"))["y"].mean()
    local = pd.DatetimeIndex(hourly.index).tz_convert(zone)
    table = pd.DataFrame({"day": local.date, "hour": local.hour, "y": hourly.to_numpy()})
    wide = table.pivot_table(index="day", columns="hour", values="y", aggfunc="mean").reindex(columns=range(24))
    wide = wide[(wide.notna().sum(axis=1) >= HOURS_OF_A_KNOWN_DAY) & (wide.max(axis=1) > 0)]
    if len(wide) < 14:
        return None
    shares: Array = wide.div(wide.max(axis=1), axis=0).to_numpy(dtype=np.float64)
    return Hours(shares, np.array([one.weekday() for one in wide.index], dtype=np.int64))


def hour_shares(hours: Hours, level: float) -> Array:
    """Return (7, 24): by weekday and hour the quantile `level` of its shares; a weekday never seen takes all days'."""
    return np.array([_quantile_of(hours.shares[_rows_of(hours, weekday)], hours.shares, level) for weekday in range(7)])


def _rows_of(hours: Hours, weekday: int) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = hours.weekdays == weekday
    return same


def _quantile_of(rows: Array, fallback: Array, level: float) -> Array:
    chosen = rows if len(rows) else fallback
    found = np.array([_known_quantile(chosen[:, hour], level) for hour in range(24)])
    spare = np.array([_known_quantile(fallback[:, hour], level) for hour in range(24)])
    both: Array = np.where(np.isfinite(found), found, spare)
    return both


def _known_quantile(values: Array, level: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, level)) if len(known) else float("nan")


def hour_seasons(hours: Hours, *, weekend: bool) -> tuple[Season | None, ...]:
    """Return 24 seasons, of working days (Monday to Friday) or of weekends; None for an hour never known."""
    rows = hours.shares[(hours.weekdays >= 5) == weekend]
    found: list[Season | None] = []
    for hour in range(24):
        known = rows[:, hour][np.isfinite(rows[:, hour])] if len(rows) else np.zeros(0)
        found.append(_season(known.tolist()) if len(known) else None)
    return tuple(found)


def months_of(series: DemandSeries, zone: ZoneInfo, *, since: datetime, until: datetime) -> tuple[Month, ...]:
    """Return the local calendar months from `since` on, oldest first; a month without any known step has no row.

    The share that is known of the month that `until` lies in is that of the month so far.
    """
    frame = series.frame[series.frame["ds"] >= since]
    if frame.empty:
        return ()
    local = frame["ds"].dt.tz_convert(zone)
    step = series.step.total_seconds()
    found = []
    for key, rows in frame.groupby([local.dt.year, local.dt.month]):
        year, month = cast("tuple[int, int]", key)
        first, known = date(int(year), int(month), 1), rows.dropna()
        if known.empty:
            continue
        hourly = known.groupby(known["ds"].dt.floor("h"))["y"].mean()
        found.append(
            Month(
                first=first,
                requests=float(known["y"].sum() * step),
                mean=float(known["y"].mean()),
                peak=float(hourly.max()),
                peak_at=hourly.index[int(np.argmax(hourly.to_numpy()))].to_pydatetime(),
                coverage=len(known) * series.step / (min(_month_end(first, zone), until) - _start(first, zone)),
            )
        )
    return tuple(found)


def _start(first: date, zone: ZoneInfo) -> datetime:
    return datetime(first.year, first.month, 1, tzinfo=zone).astimezone(UTC)


def _month_end(first: date, zone: ZoneInfo) -> datetime:
    return _start(date(first.year + first.month // 12, first.month % 12 + 1, 1), zone)


def gaps_of(series: DemandSeries, *, since: datetime, until: datetime) -> tuple[Gap, ...]:
    """Return the stretches in [since, until) without a known step, oldest first; none before the series begins."""
    frame = series.frame[(series.frame["ds"] >= since) & (series.frame["ds"] < until)]
    starts = [moment.to_pydatetime() for moment in frame["ds"]]
    unknown = frame["y"].isna().to_numpy()
    found: list[Gap] = []
    for start, lost in zip(starts, unknown, strict=True):
        if lost and found and found[-1].ends_at == start:
            found[-1] = Gap(found[-1].starts_at, start + series.step)
        elif lost:
            found.append(Gap(start, start + series.step))
    end = starts[-1] + series.step if starts else None
    if end is not None and until - end >= series.step:
        if found and found[-1].ends_at == end:
            found[-1] = Gap(found[-1].starts_at, until)
        else:
            found.append(Gap(end, until))
    return tuple(found)
