"""Two runs side by side: what differs, and whether chance alone would make such a difference. Pure.

Shares (of failed requests, of requests slower than both runs' common quantile) are compared by the two-proportion z
test (pooled, two-sided). Requests of one run depend on each other, so a p just below 0.05 is weak evidence: run again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.results import Histogram, upper_edge_us

SIGNIFICANT = 0.01
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Difference:
    """One share in both runs, and how likely chance alone would make it differ so much; None: no data."""

    what: str
    before: float
    after: float
    p_value: float | None

    @property
    def significant(self) -> bool:
        """Return whether chance is no good explanation."""
        return self.p_value is not None and self.p_value < SIGNIFICANT


def two_proportions(hits: tuple[int, int], totals: tuple[int, int]) -> float | None:
    """Return the p-value that both shares are the same; None where one has no data."""
    if not all(totals):
        return None
    pooled = sum(hits) / sum(totals)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / totals[0] + 1 / totals[1]))
    if deviation == 0:
        return 1.0
    return math.erfc(abs(hits[0] / totals[0] - hits[1] / totals[1]) / deviation / math.sqrt(2))


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the differences of two load.json. Raises KeyError when one is no finished scenario's."""
    runs = (before, after)
    sent = (before["sent"], after["sent"])
    failed = (before["failed"], after["failed"])
    found = [_difference("share failed", failed, sent)]
    histograms = [Histogram.from_json(run["response_histogram"]) for run in runs]
    both = Histogram()
    for histogram in histograms:
        both.merge(histogram)
    for quantile in QUANTILES:
        edge = both.quantile_us(quantile)
        if edge is None:
            continue
        slower = [
            sum(n for bucket, n in histogram.counts.items() if upper_edge_us(bucket) > edge) for histogram in histograms
        ]
        totals = (histograms[0].total(), histograms[1].total())
        found.append(_difference(f"share slower than {edge / 1000:.4g} ms", (slower[0], slower[1]), totals))
    return found


def _difference(what: str, hits: tuple[int, int], totals: tuple[int, int]) -> Difference:
    shares = [hit / total if total else 0.0 for hit, total in zip(hits, totals, strict=True)]
    return Difference(what, shares[0], shares[1], two_proportions(hits, totals))


def compare_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the comparison for people."""
    lines = [f"{'':<34}{before['run_id'][-24:]:>26}{after['run_id'][-24:]:>26}"]
    for name in ("p50", "p95", "p99"):
        cells = [run["response_ms"][name] for run in (before, after)]
        lines.append(f"{'response ' + name:<34}" + "".join(f"{_ms(cell):>26}" for cell in cells))
    for one in compare(before, after):
        chance = "no data" if one.p_value is None else f"p={one.p_value:.3g}"
        mark = "  significant" if one.significant else ""
        lines.append(f"{one.what:<34}{one.before:>26.4%}{one.after:>26.4%}  {chance}{mark}")
    return lines


def _ms(value: float | None) -> str:
    return "no data" if value is None else f"{value:.2f} ms"
