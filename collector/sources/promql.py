"""All the PromQL there is, and the cutting of ranges to what a server answers at once. Pure."""

from __future__ import annotations

from collections.abc import Iterator

MOST_POINTS = 10_000  # the server refuses more than 11,000 per series


def samples_query(metric: str, match: tuple[tuple[str, str], ...], step_seconds: int) -> str:
    """Return the PromQL for a counter's samples: one per step, and none where nothing was scraped.

    `last_over_time` over one step instead of the bare name, because that would repeat an old sample for five minutes.
    """
    selector = ", ".join(f"{name}={_quote(value)}" for name, value in match)
    return f"last_over_time({metric}{{{selector}}}[{step_seconds}s])"


def native_queries(metric: str, match: tuple[tuple[str, str], ...], step_seconds: int) -> tuple[str, str]:
    """Return the PromQL for native histograms, which repeats old ones, and for how many new ones each step has."""
    selector = ", ".join(f"{name}={_quote(value)}" for name, value in match)
    return f"{metric}{{{selector}}}", f"count_over_time({metric}{{{selector}}}[{step_seconds}s])"


def split_range(begin: int, end: int, step_seconds: int, most_points: int = MOST_POINTS) -> Iterator[tuple[int, int]]:
    """Yield (first, last) evaluation instants, both included, that together cover [begin, end] once."""
    while begin <= end:
        last = min(end, begin + (most_points - 1) * step_seconds)
        yield begin, last
        begin += most_points * step_seconds


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
