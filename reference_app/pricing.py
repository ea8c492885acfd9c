"""What the pricing rules make of a base price: the same for a search and for the booking that follows it. Pure.

The supplier's live fare is applied to what comes out of here. Which rules there are is the pricing store's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PricingRule:
    """A factor (parts of 10,000) or an amount, for a route, an airport or, with neither, all; while it is valid."""

    id: int
    origin: str | None
    destination: str | None
    airport: str | None
    cabin: str | None
    valid_from: datetime
    valid_until: datetime | None
    factor_e4: int | None
    add_cents: int | None
    priority: int
    active: bool

    def applies(self, *, origin: str, destination: str, cabin: str, now: datetime) -> bool:
        """Tell whether the rule holds for this cabin of this route when it is sold at `now`."""
        if not self.active or now < self.valid_from or (self.valid_until is not None and now >= self.valid_until):
            return False
        if self.cabin not in (None, cabin):
            return False
        if self.origin is not None:
            return (self.origin, self.destination) == (origin, destination)
        return self.airport is None or self.airport in (origin, destination)


def priced_cents(
    base_cents: int, rules: Sequence[PricingRule], *, origin: str, destination: str, cabin: str, now: datetime
) -> int:
    """Return the price in cents after every rule that applies, least priority first, then oldest; at least one cent."""
    price = base_cents
    for rule in sorted(rules, key=lambda rule: (rule.priority, rule.id)):
        if rule.applies(origin=origin, destination=destination, cabin=cabin, now=now):
            price = price + rule.add_cents if rule.add_cents is not None else price * (rule.factor_e4 or 0) // 10_000
            price = max(1, price)
    return price
