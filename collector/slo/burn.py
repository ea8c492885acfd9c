"""The pairs of windows that burn-rate alerts look at. A leaf: settings, objectives and rules all know it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class BurnPair:
    """Alert when the burn rate exceeds `factor` over both: the long says it matters, the short that it goes on."""

    long: timedelta
    short: timedelta
    factor: float


# Google SRE Workbook, chapter 5. The first two are worth a page, the others a ticket.
BURN_PAIRS = (
    BurnPair(timedelta(hours=1), timedelta(minutes=5), 14.4),
    BurnPair(timedelta(hours=6), timedelta(minutes=30), 6.0),
    BurnPair(timedelta(days=1), timedelta(hours=2), 3.0),
    BurnPair(timedelta(days=3), timedelta(hours=6), 1.0),
)
BURN_WINDOWS = tuple(sorted({window for pair in BURN_PAIRS for window in (pair.long, pair.short)}))
