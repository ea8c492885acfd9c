"""What is exported, before any protocol: counts of requests with their durations, and gauges of SLOs. Pure.

Cardinality is bounded: of each service the routes with the most requests of the last day, the others as one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from collector.record.histogram import BUCKETS_PER_DOUBLING, quantile_from_histogram
from collector.slo.objectives import SloStatus

OTHER_ROUTES = "(other)"
# Upper bounds of exported histograms: every doubling from 2^10 us (1 ms) to 2^26 us (67 s), edges of our own buckets.
BOUND_BUCKETS = tuple(doubling * BUCKETS_PER_DOUBLING for doubling in range(10, 27))
BOUNDS_SECONDS = tuple(2.0 ** (bucket / BUCKETS_PER_DOUBLING) / 1e6 for bucket in BOUND_BUCKETS)
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Series:
    """Requests of one service, route and status class (`2xx`): how many, how long together, how long by bucket."""

    service: str
    route: str
    status_class: str
    requests: int
    duration_us: int
    histogram: Mapping[int, int]

    @property
    def labels(self) -> dict[str, str]:
        """Return the series' labels; a route that is not known has none."""
        named = {"service": self.service, "route": self.route, "status_class": self.status_class}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class Gauge:
    """One value as it is at an instant."""

    name: str
    labels: Mapping[str, str]
    value: float
    help: str = field(default="", compare=False)


def folded(series: Iterable[Series], kept_routes: Collection[str]) -> list[Series]:
    """Return the series of one service with all but the kept routes as OTHER_ROUTES, in a fixed order."""
    sums: dict[tuple[str, str, str], Series] = {}
    for each in series:
        route = each.route if each.route in kept_routes else OTHER_ROUTES
        key = (each.service, route, each.status_class)
        before = sums.get(key, Series(*key, 0, 0, {}))
        buckets = dict(before.histogram)
        for bucket, count in each.histogram.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        sums[key] = Series(*key, before.requests + each.requests, before.duration_us + each.duration_us, buckets)
    return [sums[key] for key in sorted(sums)]


def bound_counts(histogram: Mapping[int, int]) -> list[int]:
    """Return how many lie between each bound and the one before it, the last beyond all: not cumulative."""
    counts = [0] * (len(BOUND_BUCKETS) + 1)
    for bucket, count in histogram.items():
        place = next((at for at, bound in enumerate(BOUND_BUCKETS) if bucket <= bound), len(BOUND_BUCKETS))
        counts[place] += count
    return counts


def slo_gauges(service: str, statuses: Sequence[SloStatus]) -> list[Gauge]:
    """Return the gauges of a service's SLOs; what is not known has none: never 0."""
    gauges = []
    for status in statuses:
        labels = {"service": service, "slo": status.slo.name}
        left = status.exhaustion.after
        coverage = status.measured.coverage if status.measured else None
        values: list[tuple[str, float | None, str]] = [
            ("tidegauge_slo_target", status.slo.target, "The share of valid requests that is to be good."),
            ("tidegauge_slo_sli", status.sli, "The share of valid requests of the window that was good."),
            (
                "tidegauge_slo_error_budget_left",
                status.budget_left,
                "The share of the budget left; negative: overspent.",
            ),
            ("tidegauge_slo_coverage", coverage, "The share of the window of which anything is recorded."),
            (
                "tidegauge_slo_exhaustion_seconds",
                left.total_seconds() if left else None,
                "To exhaustion, as it burns now.",
            ),
        ]
        gauges += [Gauge(name, labels, value, text) for name, value, text in values if value is not None]
        gauges += [
            Gauge("tidegauge_slo_burn_rate", {**labels, "window": span(window)}, rate, "Error ratio over error budget.")
            for window, rate in status.burn_rates.items()
            if rate is not None
        ]
    return gauges


def duration_quantiles(series: Iterable[Series]) -> list[tuple[dict[str, str], float, float]]:
    """Return `labels, quantile, seconds` by service and route, of all status classes together."""
    together: dict[tuple[str, str], dict[int, int]] = {}
    for each in series:
        buckets = together.setdefault((each.service, each.route), {})
        for bucket, count in each.histogram.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
    return [
        (Series(service, route, "", 0, 0, {}).labels, quantile, duration.total_seconds())
        for (service, route), buckets in together.items()
        for quantile in QUANTILES
        if (duration := quantile_from_histogram(buckets, quantile)) is not None
    ]


def dotted(name: str) -> str:
    """Return a gauge's name where dots are customary: tidegauge.slo.error_budget_left."""
    return name.replace("tidegauge_slo_", "tidegauge.slo.")


def span(window: timedelta) -> str:
    """Return a window in its largest whole unit: 5m, 6h, 3d."""
    seconds = int(window.total_seconds())
    size, unit = next(
        (size, unit) for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")) if seconds % size == 0
    )
    return f"{seconds // size}{unit}"
