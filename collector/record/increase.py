"""How much counters and histograms gained in a span of time, over restarts and gaps. Pure.

A gain lies between two samples. It counts with the share of that time that lies in the span; where a long gap reaches
over the span's border nobody knows the share, and the gain counts nowhere. A value under the one before is a restart
from zero. The first sample of a series is a base: what it had gained before is not of this span.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector.record.exponential import Exponential, added, increase_between, share_of

LONGEST_GAP_SECONDS = 300.0


def counter_increase(
    times: Sequence[float],
    values: Sequence[float],
    *,
    since: float,
    until: float,
    longest_gap: float = LONGEST_GAP_SECONDS,
) -> float | None:
    """Return what a cumulative counter gained in [since, until), epoch seconds; None when no two samples tell.

    times: ascending epoch seconds.
    """
    gains = [
        share * (values[at] if values[at] < values[at - 1] else values[at] - values[at - 1])
        for at in range(1, len(times))
        if (share := _share((times[at - 1], times[at]), since, until, longest_gap)) is not None
    ]
    return sum(gains) if gains else None


def delta_increase(times: Sequence[float], values: Sequence[float], *, since: float, until: float) -> float | None:
    """Return the sum of the deltas told in (since, until]; None when none was."""
    told = [value for at, value in zip(times, values, strict=True) if since < at <= until]
    return sum(told) if told else None


def histogram_increase(
    times: Sequence[float],
    points: Sequence[Exponential],
    *,
    since: float,
    until: float,
    longest_gap: float = LONGEST_GAP_SECONDS,
    delta: bool = False,
) -> Exponential | None:
    """Return what a histogram gained in [since, until); None: not known. delta: each point tells its own piece."""
    if delta:
        told = [point for at, point in zip(times, points, strict=True) if since < at <= until]
        return added(told) if told else None
    gains = [
        share_of(increase_between(points[at - 1], points[at]), share)
        for at in range(1, len(times))
        if (share := _share((times[at - 1], times[at]), since, until, longest_gap)) is not None
    ]
    return added(gains) if gains else None


def _share(interval: tuple[float, float], since: float, until: float, longest_gap: float) -> float | None:
    """Return the share of an interval that lies in the span; None when it does not touch it, or is not known."""
    begin, end = interval
    inside = min(end, until) - max(begin, since)
    if inside <= 0 or end <= begin:
        return None
    share = inside / (end - begin)
    return None if share < 1 and end - begin > longest_gap else share
