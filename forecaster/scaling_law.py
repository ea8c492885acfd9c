"""How many replicas are of use: the scalability law that a load test over replicas has measured, read back. Pure.

The law is X(N) = gamma N / (1 + alpha (N-1) + beta N (N-1)) (Gunther, Guerrilla Capacity Planning, chapter 5), as
`tidegauge capacity --replicas` fits it and posts it with the capacity. The low ends of the intervals are taken: only a
bottleneck that is there for sure may hold a floor back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_GAIN = 0.05  # of what the first replica carries: one that adds less is of no use
_MOST_LOOKED_AT = 10_000


def most_useful_replicas(details: Mapping[str, Any]) -> int | None:
    """Return after how many replicas another one adds less than LEAST_GAIN of the first; None: unknown, or never.

    details: of a stored capacity; `usl_replicas` holds the law, null where too few numbers of replicas were measured.
    """
    law = details.get("usl_replicas")
    if not isinstance(law, Mapping):
        return None
    alpha, beta = _low(law, "alpha"), _low(law, "beta")
    if alpha is None or beta is None or (alpha == 0 and beta == 0):
        return None

    def carried(n: int) -> float:
        return n / (1 + alpha * (n - 1) + beta * n * (n - 1))

    return next((n for n in range(1, _MOST_LOOKED_AT) if carried(n + 1) - carried(n) < LEAST_GAIN), None)


def _low(law: Mapping[str, Any], name: str) -> float | None:
    """Return the low end of a coefficient's interval, the coefficient where it has none; None where it has neither."""
    value = law.get(f"{name}_interval") or [law.get(name)]
    low = value[0] if isinstance(value, (list, tuple)) and value else None
    return max(0.0, float(low)) if isinstance(low, (int, float)) and not isinstance(low, bool) else None
