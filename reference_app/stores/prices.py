"""Rules for prices: all that are active are kept in L1 until one changes; a search and a booking use the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from psycopg.errors import ForeignKeyViolation

from reference_app.caching.tags import PRICING_UPDATED, airport_tag, route_tag
from reference_app.caching.tiers import Tiers, Wanted
from reference_app.database import Databases, Session
from reference_app.jobs.terms import EVENTS
from reference_app.pricing import PricingRule, priced_cents
from reference_app.stores import outbox

ALL_PRICES = "prices"  # the tag of every answer that shows a price
_RULES = "pricing-rules"  # the rules' own key and tag
_COLUMNS = """
id, origin, destination, airport, cabin, valid_from, valid_until, (factor * 10000)::int AS factor_e4, add_cents,
priority, active
"""
_ACTIVE = f"SELECT {_COLUMNS} FROM pricing_rules WHERE active ORDER BY priority, id LIMIT 1000"  # noqa: S608 - our words
_PAGE = f"SELECT {_COLUMNS} FROM pricing_rules ORDER BY id DESC LIMIT %(limit)s OFFSET %(offset)s"  # noqa: S608
_ADD = f"""
INSERT INTO pricing_rules (origin, destination, airport, cabin, valid_from, valid_until, factor, add_cents, priority)
VALUES (%(origin)s, %(destination)s, %(airport)s, %(cabin)s, %(valid_from)s, %(valid_until)s, %(factor)s, %(add_cents)s,
        %(priority)s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - our own words
_END = f"UPDATE pricing_rules SET active = false, updated_at = now() WHERE id = %(id)s RETURNING {_COLUMNS}"  # noqa: S608


class UnknownPlace(Exception):  # noqa: N818 - an answer, not a fault
    """No such route or airport."""


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule to add; see PricingRule."""

    origin: str | None
    destination: str | None
    airport: str | None
    cabin: str | None
    valid_from: datetime
    valid_until: datetime | None
    factor: Decimal | None
    add_cents: int | None
    priority: int


@dataclass(frozen=True, slots=True)
class Prices:
    """The rules of a moment, to be applied to many offers."""

    rules: tuple[PricingRule, ...]
    now: datetime

    def cents(self, base_cents: int, *, origin: str, destination: str, cabin: str) -> int:
        """Return the price of one seat in cents, before the live fare."""
        if not self.rules:
            return base_cents
        return priced_cents(base_cents, self.rules, origin=origin, destination=destination, cabin=cabin, now=self.now)

    def hold_until(self, latest: datetime) -> datetime:
        """Return until when the rules stay as they are by themselves, at most `latest`."""
        bounds = [bound for rule in self.rules for bound in (rule.valid_from, rule.valid_until) if bound is not None]
        return min([latest, *(bound for bound in bounds if bound > self.now)])


class PriceStore:
    """Reads and changes the rules. `enabled` False: no rule applies."""

    def __init__(self, databases: Databases, tiers: Tiers, *, enabled: bool = True) -> None:
        self._databases, self._tiers, self._enabled = databases, tiers, enabled

    async def prices(self, now: datetime, session: Session) -> Prices:
        """Return the rules that are active, from L1 if they are there; the session's trail is left as it is."""
        if not self._enabled:
            return Prices((), now)
        # Not the caller's session: what it notes is how the answer itself was found.
        own = Session(session.last_write)
        return Prices(await self._tiers.fetch(Wanted(_RULES, (_RULES,), self._load), own), now)

    async def _load(self, session: Session) -> tuple[PricingRule, ...]:
        return tuple(await self._databases.read(PricingRule, _ACTIVE, {}, session=session))

    async def page(self, *, limit: int, offset: int, session: Session) -> list[PricingRule]:
        """Return rules, newest first, ended ones too."""
        session.trail["cache_level"] = "db"
        return await self._databases.read(PricingRule, _PAGE, {"limit": limit, "offset": offset}, session=session)

    async def add(self, rule: NewRule, session: Session) -> PricingRule:
        """Add a rule; caches hear of it. Raises UnknownPlace."""
        try:
            return (await self._write(_ADD, {name: getattr(rule, name) for name in NewRule.__slots__}, session))[0]
        except ForeignKeyViolation as error:
            raise UnknownPlace("expected a route that is flown, or a known airport") from error

    async def end(self, rule_id: int, session: Session) -> PricingRule | None:
        """End a rule, once and for all; None when there is none."""
        ended = await self._write(_END, {"id": rule_id}, session)
        return ended[0] if ended else None

    async def _write(self, query: Any, parameters: dict[str, Any], session: Session) -> Sequence[PricingRule]:
        session.trail["cache_level"] = "none"
        async with self._databases.write(session) as connection:
            rows = await (await connection.execute(query, parameters)).fetchall()
            rules = [PricingRule(*row) for row in rows]
            for rule in rules:
                message = {"tags": [_RULES, _tag(rule)]}
                await outbox.put(connection, [outbox.Message(EVENTS, PRICING_UPDATED, message, f"prices:{uuid4()}")])
        self._tiers.l1.drop([_RULES])
        return rules


def _tag(rule: PricingRule) -> str:
    if rule.origin is not None and rule.destination is not None:
        return route_tag(rule.origin, rule.destination)
    return ALL_PRICES if rule.airport is None else airport_tag(rule.airport)
