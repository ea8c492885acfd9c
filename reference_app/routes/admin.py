"""What operators see and set: inventory, rules for prices, sales. Without an admin token there are no such routes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from reference_app.admin_models import (
    DaySalesAnswer,
    InventoryAnswer,
    InventoryChange,
    InventoryPage,
    PriceRuleAnswer,
    PriceRulePage,
    PriceRuleRequest,
    RouteMonthAnswer,
    RouteReport,
    SalesReport,
)
from reference_app.models import AirportCode, Cabin, Day, Identity
from reference_app.paging import Cursor, Limit, PageNumber, from_cursor, to_cursor
from reference_app.problems import Problem, documented
from reference_app.routes.caller import FieldsIn, PartsIn, SessionIn, admin_in
from reference_app.routes.written import after_write
from reference_app.selection import answer
from reference_app.stores.flights import CABINS
from reference_app.stores.inventory import InventoryPageWanted, SeatsSold
from reference_app.stores.prices import NewRule, UnknownPlace

LONGEST_REPORT = timedelta(days=366)
_NAMED = sorted(CABINS)  # as the database sorts them

router = APIRouter(prefix="/api/admin", tags=["admin"], dependencies=[Depends(admin_in)])


@router.get(
    "/inventory",
    summary="Seats by flight and cabin",
    response_model=InventoryPage,
    responses=documented(401, 403, 404, 422, 503, 504),
)
async def inventory(
    parts: PartsIn,
    session: SessionIn,
    fields: FieldsIn,
    flight_id: Annotated[Identity | None, Query()] = None,
    origin: Annotated[AirportCode | None, Query()] = None,
    destination: Annotated[AirportCode | None, Query()] = None,
    day: Annotated[Day | None, Query(alias="date")] = None,
    page: PageNumber = 1,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """All cabins of all flights, or those asked for, by flight and cabin."""
    after_id, after_cabin, offset = 0, "", (page - 1) * limit
    if cursor is not None:
        after_id, index = from_cursor(cursor, numbers=2)
        after_cabin, offset = _NAMED[min(index, len(_NAMED) - 1)], 0
    wanted = InventoryPageWanted(flight_id, origin, destination, day, after_id, after_cabin, limit + 1, offset)
    found = await parts.inventory.page(wanted, session)
    last = found[limit - 1] if len(found) > limit else None
    body = InventoryPage.model_construct(
        inventory=[InventoryAnswer.of(one) for one in found[:limit]],
        page=page,
        limit=limit,
        next_cursor=to_cursor(last.flight_id, _NAMED.index(last.cabin)) if last else None,
    )
    return answer(body, fields, items="inventory")


@router.patch(
    "/inventory/{flight_id}/{class}",
    summary="Change a cabin's seats or base price",
    response_model=InventoryAnswer,
    responses=documented(401, 403, 404, 409, 413, 422, 503, 504),
)
async def change_inventory(
    parts: PartsIn,
    session: SessionIn,
    flight_id: Annotated[Identity, Path()],
    cabin: Annotated[Cabin, Path(alias="class")],
    wish: InventoryChange,
) -> Response:
    """Changes what is named. Seats that are sold or held can't be taken away."""
    try:
        changed = await parts.inventory.change(
            flight_id,
            cabin,
            seats_total=wish.seats_total,
            base_price_cents=wish.base_price_cents,
            session=session,
        )
    except SeatsSold as error:
        raise Problem(409, "seats-sold", str(error)) from error
    if changed is None:
        raise Problem(404, "unknown-flight", f"no flight has the id {flight_id} and a {cabin} cabin")
    await parts.flights.forget_searches(changed.origin, changed.destination, changed.day)
    return answer(InventoryAnswer.of(changed), headers=await after_write(parts))


@router.get(
    "/prices",
    summary="Rules for prices",
    response_model=PriceRulePage,
    responses=documented(401, 403, 404, 422, 503, 504),
)
async def prices(
    parts: PartsIn, session: SessionIn, fields: FieldsIn, page: PageNumber = 1, limit: Limit = 20
) -> Response:
    """All rules, newest first, ended ones too."""
    rules = await parts.prices.page(limit=limit, offset=(page - 1) * limit, session=session)
    body = PriceRulePage.model_construct(rules=[PriceRuleAnswer.of(rule) for rule in rules], page=page, limit=limit)
    return answer(body, fields, items="rules")


@router.post(
    "/prices",
    status_code=201,
    summary="Add a rule for prices",
    response_model=PriceRuleAnswer,
    responses=documented(401, 403, 404, 413, 422, 503, 504),
)
async def add_price(parts: PartsIn, session: SessionIn, wish: PriceRuleRequest) -> Response:
    """From now on, or from `valid_from`, searches and bookings are priced by it."""
    rule = NewRule(
        origin=wish.origin,
        destination=wish.destination,
        airport=wish.airport,
        cabin=wish.cabin,
        valid_from=wish.valid_from or parts.now(),
        valid_until=wish.valid_until,
        factor=wish.factor,
        add_cents=wish.add_cents,
        priority=wish.priority,
    )
    if rule.valid_until is not None and rule.valid_until <= rule.valid_from:
        raise Problem(422, "invalid-request", "valid_until: expected an instant that is still to come")
    try:
        added = await parts.prices.add(rule, session)
    except UnknownPlace as error:
        raise Problem(422, "unknown-place", str(error)) from error
    return answer(PriceRuleAnswer.of(added), status=201, headers=await after_write(parts))


@router.delete(
    "/prices/{rule_id}",
    summary="End a rule for prices",
    response_model=PriceRuleAnswer,
    responses=documented(401, 403, 404, 422, 503, 504),
)
async def end_price(parts: PartsIn, session: SessionIn, rule_id: Annotated[Identity, Path()]) -> Response:
    """The rule applies no more; it stays in the list. Ended again: unchanged."""
    ended = await parts.prices.end(rule_id, session)
    if ended is None:
        raise Problem(404, "unknown-rule", f"no rule for prices has the id {rule_id}")
    return answer(PriceRuleAnswer.of(ended), headers=await after_write(parts))


@router.get(
    "/reports/sales",
    summary="Sales by day and route",
    response_model=SalesReport,
    responses=documented(401, 403, 404, 422, 503, 504),
)
async def sales(
    parts: PartsIn,
    session: SessionIn,
    fields: FieldsIn,
    first: Annotated[Day, Query(alias="from")],
    last: Annotated[Day, Query(alias="to")],
    page: PageNumber = 1,
    limit: Limit = 20,
) -> Response:
    """What was booked and given back, at most a year of it. It is counted by a job, so it may be seconds behind."""
    if not timedelta(0) <= last - first <= LONGEST_REPORT:
        detail = (
            f"from, to: expected at most {LONGEST_REPORT.days} days, the first before the last; got {first}, {last}"
        )
        raise Problem(422, "bad-span", detail)
    found = await parts.sales.report(first, last, limit=limit, offset=(page - 1) * limit, session=session)
    rows = [DaySalesAnswer.model_validate(one) for one in found]
    return answer(SalesReport.model_construct(sales=rows, page=page, limit=limit), fields, items="sales")


@router.get(
    "/reports/routes",
    summary="The routes that brought most in a month",
    response_model=RouteReport,
    responses=documented(401, 403, 404, 422, 503, 504),
)
async def best_routes(
    parts: PartsIn,
    session: SessionIn,
    fields: FieldsIn,
    month: Annotated[Day, Query(description="Any day of the UTC month")],
    limit: Limit = 20,
) -> Response:
    """Bookings made in the month and still confirmed, straight from the bookings."""
    if not 2000 <= month.year <= 2100:
        raise Problem(422, "bad-span", f"month: expected a day from 2000 to 2100, got {month}")
    found = await parts.reports.revenue_by_route(month, limit=limit, session=session)
    body = RouteReport.model_construct(routes=[RouteMonthAnswer.model_validate(one) for one in found])
    return answer(body, fields, items="routes")
