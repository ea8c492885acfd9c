"""Counter samples to per-minute rows of `red_1m`: the pure half of the pull from Prometheus.

A counter is taken as a line through its samples and read at the minute's borders, so increases are shared between
minutes by time, totals are kept (each border is rounded once, on the counter's own value, whichever pull asks), and a
reset counts from zero, as in Prometheus. We do this on samples and not with PromQL's `increase()`: that one sees only
the samples inside each minute, loses what falls between two windows, extrapolates it back as a guess in fractions of a
request, and cannot tell a minute without requests from a minute without scrapes.

Gaps stay gaps: a minute in which a known target was not scraped gives no row, and what its counters gained meanwhile is
told (`unplaced`), not invented into a minute. A minute that was scraped and saw nothing gives one row of zero requests.
A series that appears on a target we were already scraping began at zero; of a new target the first scrape is the base.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MINUTE = 60
MOST_UINT32 = 2**32 - 1
Numbers = NDArray[np.float64]
Target = tuple[str, str]
COLUMNS = (
    "minute", "service", "route", "method", "version", "region", "status", "cache_level", "requests",
    "duration_us_sum", "duration_us_max", "response_bytes_sum", "histogram",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """What a row is about, beside its minute and service. An unknown status is 0, an unknown text is empty."""

    route: str
    method: str
    version: str
    region: str
    status: int


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one counter. times: epoch seconds, ascending.

    le: upper edge in seconds of a classic bucket. bucket: our log bucket, of a native histogram.
    """

    target: Target
    key: Key
    times: Numbers
    values: Numbers
    le: float | None = None
    bucket: int | None = None


@dataclass(frozen=True, slots=True)
class Minutes:
    """columns: by minute (epoch seconds), what goes into `red_1m`. gaps: minutes that were not (wholly) scraped."""

    columns: dict[int, dict[str, list[Any]]]
    gaps: tuple[int, ...]
    unplaced_requests: float


@dataclass(slots=True)
class _Row:
    requests: int = 0
    duration_us: float = 0.0
    cumulative: dict[float, int] = field(default_factory=lambda: defaultdict(int))
    native: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def histogram(self) -> dict[int, int]:
        found = Counter(log_buckets(self.cumulative))
        found.update(self.native)
        return dict(sorted(found.items()))


def decide_minutes(
    service: str,
    *,
    requests: Sequence[Series],
    buckets: Sequence[Series] = (),
    sums: Sequence[Series] = (),
    since: int,
    until: int,
    gap_seconds: float,
) -> Minutes:
    """Return the rows of the whole minutes in [since, until), both epoch seconds on a minute's border.

    sums: the histogram's `_sum`, in seconds. gap_seconds: two scrapes further apart than this have a gap between them.
    """
    edges = np.arange(since, until + 1, MINUTE, dtype=np.float64)
    scrapes = _scrape_times([*requests, *buckets, *sums])
    gaps = _gap_minutes(scrapes, edges, gap_seconds)
    rows: dict[int, dict[Key, _Row]] = {int(m): defaultdict(_Row) for m in edges[:-1] if int(m) not in gaps}
    unplaced = 0.0
    for one in requests:
        per_minute, lost = _place(one, scrapes[one.target], edges, gap_seconds, whole=True)
        unplaced += lost
        for minute, count in per_minute:
            if minute in rows:
                rows[minute][one.key].requests += int(count)
            else:
                unplaced += count
    for one in buckets:
        for minute, count in _place(one, scrapes[one.target], edges, gap_seconds, whole=True)[0]:
            if minute in rows and one.le is not None:
                rows[minute][one.key].cumulative[one.le] += int(count)
            elif minute in rows and one.bucket is not None:
                rows[minute][one.key].native[one.bucket] += int(count)
    for one in sums:
        for minute, seconds in _place(one, scrapes[one.target], edges, gap_seconds, whole=False)[0]:
            if minute in rows:
                rows[minute][one.key].duration_us += seconds * 1e6
    columns = {minute: _columns(service, minute, of_minute) for minute, of_minute in rows.items()}
    return Minutes(columns, tuple(sorted(gaps)), unplaced)


def log_buckets(cumulative: Mapping[float, int]) -> dict[int, int]:
    """Spread the counts of classic buckets (`le` in seconds: count at or below) over our log buckets.

    An approximation: inside a classic bucket we take durations as even on the log scale, below the first edge as within
    one octave of it, and above the last finite edge as just above it (a lower bound). Counts at or below each `le` stay
    exact, so an SLO with a threshold on one of them is.
    """
    spread: dict[int, int] = defaultdict(int)
    below, low = 0, None
    for le in sorted(cumulative):
        count, below = max(0, cumulative[le] - below), max(below, cumulative[le])
        if math.isinf(le):
            high = first = (low or 0) + 1
        else:
            high = _bucket(le)
            first = min(high, max(0, high - 7) if low is None else low + 1)
            low = high
        width = high - first + 1
        for step in range(width):
            share = count * (step + 1) // width - count * step // width
            if share:
                spread[first + step] += share
    return dict(spread)


def _bucket(seconds: float) -> int:
    return math.ceil(math.log2(max(1.0, seconds * 1e6)) * 8)


def _scrape_times(series: Iterable[Series]) -> dict[Target, Numbers]:
    times: dict[Target, list[Numbers]] = defaultdict(list)
    for one in series:
        times[one.target].append(one.times)
    return {target: np.unique(np.concatenate(parts)) for target, parts in times.items()}


def _gap_minutes(scrapes: Mapping[Target, Numbers], edges: Numbers, gap_seconds: float) -> set[int]:
    """Return the minutes before the first scrape, after the last, and in any target's (or everyone's) gap."""
    minutes = {int(minute) for minute in edges[:-1]}
    if not scrapes:
        return minutes
    everyone = np.unique(np.concatenate(list(scrapes.values())))
    gaps = {m for m in minutes if m < everyone[0] or m + MINUTE > everyone[-1]}
    for times in (everyone, *scrapes.values()):
        for at in np.flatnonzero(np.diff(times) > gap_seconds):
            begin, end = times[at], times[at + 1]
            gaps |= {m for m in minutes if m < end and m + MINUTE > begin}
    return gaps


def _place(
    series: Series, scrapes: Numbers, edges: Numbers, gap_seconds: float, *, whole: bool
) -> tuple[list[tuple[int, float]], float]:
    """Return what a counter gained in each minute (without the zeros), and what it gained in gaps."""
    before = np.searchsorted(scrapes, series.times) - 1  # the target's scrape before each sample
    previous = np.concatenate(([0.0], series.values[:-1]))
    gained = np.where(series.values >= previous, series.values - previous, series.values)
    base = 0.0
    if before[0] < 0:  # the target's first scrape: nothing to compare it with
        base, gained[0] = float(series.values[0]), 0.0
    begins = scrapes[np.maximum(before, 0)]
    in_gap = series.times - begins > gap_seconds
    lost = float(gained[in_gap & (series.times > edges[0]) & (begins < edges[-1])].sum())
    gained = np.where(in_gap, 0.0, gained)
    line_times = np.column_stack((begins, series.times)).ravel()
    line_values = base + np.column_stack((np.cumsum(gained) - gained, np.cumsum(gained))).ravel()
    at_edges = np.interp(edges, line_times, line_values)
    if whole:
        at_edges = np.floor(at_edges + 1e-6)
    per_minute = np.diff(at_edges)
    return [(int(edges[i]), float(per_minute[i])) for i in np.flatnonzero(per_minute > 0)], lost


def _columns(service: str, minute: int, rows: Mapping[Key, _Row]) -> dict[str, list[Any]]:
    filled = rows or {Key("", "", "", "", 0): _Row()}  # scraped, and nothing came: a zero, not a gap
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for key, row in filled.items():
        histogram = row.histogram()
        values = (
            minute, service, key.route, key.method, key.version, key.region, key.status, "", row.requests,
            round(row.duration_us), _longest_us(histogram), 0, histogram,
        )  # fmt: skip
        for name, value in zip(COLUMNS, values, strict=True):
            columns[name].append(value)
    return columns


def _longest_us(histogram: Mapping[int, int]) -> int:
    """Return the upper edge of the highest bucket in use: what a histogram knows of the maximum."""
    return min(MOST_UINT32, math.floor(2 ** (max(histogram) / 8))) if histogram else 0
