"""The caller's own data and bookings."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from reference_app.booking_models import BookingAnswer, BookingPage
from reference_app.models import UserAnswer, UserChange
from reference_app.paging import Cursor, Limit, PageNumber, from_cursor, instant_of, microseconds_of, to_cursor
from reference_app.problems import documented
from reference_app.routes.caller import FieldsIn, PartsIn, SessionIn, UserIn
from reference_app.routes.written import after_write
from reference_app.selection import answer
from reference_app.stores.bookings import PageOfUser

NEWEST = 2**62  # microseconds: after every booking there will be

router = APIRouter(prefix="/api/users", tags=["users"])


@router.get("/me", summary="Who I am", response_model=UserAnswer, responses=documented(401, 422, 503, 504))
async def me(user: UserIn, fields: FieldsIn) -> Response:
    """The user whose token came."""
    return answer(UserAnswer.model_validate(user), fields)


@router.patch("/me", summary="Change my data", response_model=UserAnswer, responses=documented(401, 413, 422, 503, 504))
async def change_me(parts: PartsIn, session: SessionIn, user: UserIn, wish: UserChange) -> Response:
    """Changes what is named, and returns the user as they are then."""
    changed = await parts.users.change(user, name=wish.name, home_region=wish.home_region, session=session)
    return answer(UserAnswer.model_validate(changed), headers=await after_write(parts))


@router.get(
    "/me/bookings",
    summary="My bookings",
    response_model=BookingPage,
    responses=documented(401, 422, 503, 504),
)
async def my_bookings(
    parts: PartsIn,
    session: SessionIn,
    user: UserIn,
    fields: FieldsIn,
    state: Annotated[Literal["active", "all"], Query(description="active: held or confirmed")] = "active",
    page: PageNumber = 1,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """The caller's bookings, newest first."""
    before, before_id = (NEWEST, 0) if cursor is None else from_cursor(cursor, numbers=2)
    offset = (page - 1) * limit if cursor is None else 0
    wanted = PageOfUser(instant_of(before), before_id, limit + 1, offset, state == "active")
    found = await parts.bookings.bookings_of(user.id, wanted, session)
    more = found[limit - 1] if len(found) > limit else None
    body = BookingPage.model_construct(
        bookings=[BookingAnswer.of(one) for one in found[:limit]],
        page=page,
        limit=limit,
        next_cursor=to_cursor(microseconds_of(more.created_at), more.id) if more else None,
    )
    return answer(body, fields, items="bookings")
