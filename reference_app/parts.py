"""What the routes work with: built once by the composition root, found by every request on the application's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from reference_app.caches import SharedCache
from reference_app.database import Databases
from reference_app.migrations import latest_version
from reference_app.stores.bookings import BookingStore
from reference_app.stores.flights import FlightStore
from reference_app.stores.reports import ReportStore
from reference_app.stores.users import UserStore
from reference_app.supplier import FareSupplier


@dataclass(slots=True)
class Readiness:
    """Whether this replica has been asked to stop: then it is not ready, but still answers."""

    draining: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """The app's parts. `now` is the clock in use, `schema_version` the one these stores need."""

    databases: Databases
    shared: SharedCache
    supplier: FareSupplier
    flights: FlightStore
    users: UserStore
    bookings: BookingStore
    reports: ReportStore
    now: Callable[[], datetime]
    schema_version: int
    readiness: Readiness = field(default_factory=Readiness)


def parts_of(
    databases: Databases, shared: SharedCache, supplier: FareSupplier, *, now: Callable[[], datetime]
) -> Parts:
    """Return the parts around these connections."""
    return Parts(
        databases=databases,
        shared=shared,
        supplier=supplier,
        flights=FlightStore(databases, shared),
        users=UserStore(databases),
        bookings=BookingStore(databases),
        reports=ReportStore(databases),
        now=now,
        schema_version=latest_version(),
    )
