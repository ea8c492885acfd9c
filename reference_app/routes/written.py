"""What follows a write: caches forget, the caller learns which log position to read from, and jobs that are inline."""

from __future__ import annotations

from reference_app.lsn import lsn_to_text
from reference_app.parts import Parts
from reference_app.routes.caller import LAST_WRITE
from reference_app.stores.bookings import Booking

COOKIE_SECONDS = 60


async def after_write(parts: Parts, booking: Booking | None = None) -> dict[str, str]:
    """Return the headers of an answer to a write; what shows this booking's flight is forgotten."""
    if booking is not None:
        await parts.flights.forget_searches(booking.origin, booking.destination, booking.day)
    if parts.inline is not None:
        await parts.inline.drain()
    position = lsn_to_text(await parts.databases.written_position())
    cookie = f"{LAST_WRITE}={position}; Max-Age={COOKIE_SECONDS}; Path=/api; HttpOnly; SameSite=lax"
    return {LAST_WRITE: position, "Set-Cookie": cookie}
