"""What admins send and get: inventory, rules for prices, sales."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from reference_app.models import AirportCode, Cabin, Day, Identity
from reference_app.pricing import PricingRule
from reference_app.stores.inventory import CabinInventory


def _instant(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("expected an instant with its offset, such as 2030-01-31T12:00:00Z")
    if not 2000 <= value.year <= 2100:
        raise ValueError("expected an instant from 2000 to 2100")
    return value


Instant = Annotated[datetime, AfterValidator(_instant), Field(examples=["2030-01-31T12:00:00Z"])]


class InventoryAnswer(BaseModel):
    """Seats of one cabin of one flight on one day."""

    model_config = ConfigDict(populate_by_name=True)

    flight_id: Identity
    cabin: Annotated[Cabin, Field(alias="class")]
    origin: AirportCode
    destination: AirportCode
    date: Day
    status: Annotated[str, Field(examples=["scheduled"])]
    seats_total: Annotated[int, Field(examples=[160])]
    seats_left: Annotated[int, Field(examples=[42])]
    base_price_cents: Annotated[int, Field(examples=[18900])]

    @classmethod
    def of(cls, cabin: CabinInventory) -> InventoryAnswer:
        """Return the inventory as an admin sees it."""
        named = ("flight_id", "cabin", "origin", "destination", "status", "seats_total", "seats_left")
        values = {name: getattr(cabin, name) for name in named}
        return cls.model_construct(**values, date=cabin.day, base_price_cents=cabin.base_price_cents)


class InventoryPage(BaseModel):
    """Inventory, by flight and cabin. `next_cursor` goes on after the last; null at the end."""

    inventory: list[InventoryAnswer]
    page: Annotated[int, Field(examples=[1])]
    limit: Annotated[int, Field(examples=[20])]
    next_cursor: str | None


class InventoryChange(BaseModel):
    """What to change of a cabin. Seats that are sold can't be taken away."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"seats_total": 180}]})

    seats_total: Annotated[int, Field(ge=0, le=1000, examples=[180])] | None = None
    base_price_cents: Annotated[int, Field(ge=1, le=100_000_000, examples=[18900])] | None = None


class PriceRuleRequest(BaseModel):
    """A rule for prices: of a route, of an airport (either end), or of everything; a factor or an amount."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"origin": "ATL", "destination": "LHR", "factor": "1.15"}, {"add_cents": -500}]
        },
    )

    origin: AirportCode | None = None
    destination: AirportCode | None = None
    airport: AirportCode | None = None
    cabin: Annotated[Cabin | None, Field(alias="class")] = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    factor: Annotated[Decimal, Field(gt=0, le=20, decimal_places=4, examples=["1.15"])] | None = None
    add_cents: Annotated[int, Field(ge=-10_000_000, le=10_000_000, examples=[-500])] | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0

    @model_validator(mode="after")
    def _one_meaning(self) -> PriceRuleRequest:
        if (self.origin is None) != (self.destination is None) or (self.origin and self.airport):
            raise ValueError("expected origin and destination, or airport, or none of them")
        if (self.factor is None) == (self.add_cents is None):
            raise ValueError("expected factor or add_cents, not both")
        if self.valid_from and self.valid_until and self.valid_until <= self.valid_from:
            raise ValueError("expected valid_until after valid_from")
        return self


class PriceRuleAnswer(BaseModel):
    """A rule for prices, as it is applied. The highest priority is applied last."""

    model_config = ConfigDict(populate_by_name=True)

    id: Identity
    origin: AirportCode | None
    destination: AirportCode | None
    airport: AirportCode | None
    cabin: Annotated[Cabin | None, Field(alias="class")]
    valid_from: datetime
    valid_until: datetime | None
    factor: Annotated[str | None, Field(examples=["1.15"])]
    add_cents: int | None
    priority: int
    active: bool

    @classmethod
    def of(cls, rule: PricingRule) -> PriceRuleAnswer:
        """Return the rule as an admin sees it."""
        factor = None if rule.factor_e4 is None else str(Decimal(rule.factor_e4) / 10_000)
        named = ("id", "origin", "destination", "airport", "cabin", "add_cents", "priority", "active")
        return cls.model_construct(
            **{name: getattr(rule, name) for name in named},
            valid_from=rule.valid_from.astimezone(UTC),
            valid_until=rule.valid_until.astimezone(UTC) if rule.valid_until else None,
            factor=factor,
        )


class PriceRulePage(BaseModel):
    """Rules for prices, newest first."""

    rules: list[PriceRuleAnswer]
    page: Annotated[int, Field(examples=[1])]
    limit: Annotated[int, Field(examples=[20])]


class DaySalesAnswer(BaseModel):
    """What was booked on a UTC day on one route, and what of it was given back."""

    model_config = ConfigDict(from_attributes=True)

    day: date
    origin: AirportCode
    destination: AirportCode
    bookings: Annotated[int, Field(examples=[12])]
    passengers: Annotated[int, Field(examples=[19])]
    revenue_cents: Annotated[int, Field(examples=[358000])]
    returned_bookings: Annotated[int, Field(examples=[1])]
    returned_cents: Annotated[int, Field(examples=[18900])]


class SalesReport(BaseModel):
    """Sales by day and route, newest day first; read from the replica for analytics."""

    sales: list[DaySalesAnswer]
    page: Annotated[int, Field(examples=[1])]
    limit: Annotated[int, Field(examples=[20])]


class RouteMonthAnswer(BaseModel):
    """What a route brought in a UTC month: bookings made in it and still confirmed."""

    model_config = ConfigDict(from_attributes=True)

    origin: AirportCode
    destination: AirportCode
    month: date
    bookings: Annotated[int, Field(examples=[120])]
    passengers: Annotated[int, Field(examples=[190])]
    revenue_cents: Annotated[int, Field(examples=[3580000])]


class RouteReport(BaseModel):
    """The routes that brought most in a month; read from the replica for analytics."""

    routes: list[RouteMonthAnswer]
