"""What if: more traffic, a zone fewer, another SLO; replicas and costs, pure. Rates are all in one unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from dashboard.price import Price
from dashboard.words import NONE, money, rps
from forecaster.outlook.outlook import Outlook

HOURS_OF_A_MONTH = 730.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class WhatIf:
    """traffic: a factor on demand. zones, lost: replicas are spread over zones of which some are gone.

    capacity: a factor on what one replica carries, of another SLO (see `capacity_factor`).
    """

    traffic: float = 1.0
    zones: int = 3
    lost: int = 0
    capacity: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be: no demand, no zone left, no capacity."""
        if not (self.traffic > 0 and self.capacity > 0 and 0 <= self.lost < self.zones):
            raise ValueError(f"expected factors above 0 and a zone that is left, got {self}")


def replicas_for(demand_rps: float, capacity_rps: float, what_if: WhatIf) -> int:
    """Return the least number of replicas of which those that are left carry the demand.

    Replicas are spread evenly, so that of n replicas the lost zones hold lost x ceil(n / zones) at worst.
    """
    needed = math.ceil(demand_rps * what_if.traffic / (capacity_rps * what_if.capacity) - _ROUNDING)
    count = max(1, needed)
    while count - what_if.lost * math.ceil(count / what_if.zones) < needed:
        count += 1
    return count


def carried(replicas: int, capacity_rps: float, what_if: WhatIf) -> float:
    """Return the demand of today's size that so many replicas carry when it is so: what an outlook is held against."""
    left = max(0, replicas - what_if.lost * math.ceil(replicas / what_if.zones))
    return left * capacity_rps * what_if.capacity / what_if.traffic


def capacity_factor(rest_seconds: float, quantile: float, *, before: timedelta, after: timedelta) -> float | None:
    """Return by what the capacity changes when `quantile` of the answers must come within another time; None: never.

    An estimate, of a single queue with random arrivals (M/M/1): the response time's quantile at utilisation r is
    rest x ln(1 / (1 - quantile)) / (1 - r), so that r = 1 - rest x ln(..) / threshold may be used of each threshold.
    rest_seconds: mean response of the service at rest.
    """
    slowest = rest_seconds * math.log(1 / (1 - quantile))
    used = [1 - slowest / span.total_seconds() for span in (before, after)]
    return None if min(used) <= 0 else used[1] / used[0]


def rest_seconds(details: Mapping[str, Any]) -> float | None:
    """Return the mean response at rest that a capacity's measurement saw; None where it saw none."""
    baseline = details.get("baseline")
    mean = baseline.get("mean_seconds") if isinstance(baseline, Mapping) else None
    return float(mean) if isinstance(mean, (int, float)) and mean > 0 else None


def whatif_table(
    peak_rps: float, capacity_rps: float, cases: Mapping[str, WhatIf], *, ceiling: int, price: Price | None
) -> pd.DataFrame:
    """Return one row per case: the peak, the replicas it takes, whether the ceiling allows them, and what they cost."""
    rows = []
    for name, case in cases.items():
        replicas = replicas_for(peak_rps, capacity_rps, case)
        hourly = None if price is None else replicas * price.replica_hour
        rows.append(
            {
                "": name,
                "peak, requests/s": rps(peak_rps * case.traffic),
                "one replica carries": rps(capacity_rps * case.capacity),
                "replicas": replicas,
                f"of {ceiling} allowed": "● enough" if replicas <= ceiling else f"▲ {replicas - ceiling} short",
                "cost per hour": NONE if price is None or hourly is None else money(hourly, price.currency),
                "kept for a month": (
                    NONE if price is None or hourly is None else money(hourly * HOURS_OF_A_MONTH, price.currency)
                ),
            }
        )
    return pd.DataFrame(rows)


def days_table(found: Outlook, capacity_rps: float, what_if: WhatIf, *, ceiling: int, days: int) -> pd.DataFrame:
    """Return the first days ahead: busiest hour at the median and the highest level, replicas, whether we survive."""
    limit = carried(ceiling, capacity_rps, what_if)
    levels = list(found.quantiles)
    middle = min(range(len(levels)), key=lambda index: abs(levels[index] - 0.5))
    rows = []
    for index in range(min(days, len(found.peak))):
        median, high = float(found.peak[index, middle]), float(found.peak[index, -1])
        rows.append(
            {
                "day": day_name(found.first + timedelta(days=index)),
                "busiest hour, median": rps(median * what_if.traffic),
                f"quantile {levels[-1]:g}": rps(high * what_if.traffic),
                "replicas": replicas_for(high, capacity_rps, what_if),
                "survives": survives(median, high, limit, level=levels[-1]),
            }
        )
    return pd.DataFrame(rows)


def survives(median: float, high: float, limit: float, *, level: float) -> str:
    """Return whether a day's busiest hour is carried, in words with a shape."""
    if high <= limit:
        return f"● yes, with probability {level:g} at least"
    return "◆ at risk: the median is carried" if median <= limit else "▲ no: even the median is more than is carried"


def day_name(day: date) -> str:
    """Return a day as people say it, like `Fri 27 Nov`."""
    return f"{day:%a %d %b}"
