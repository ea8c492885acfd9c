"""What the routes work with: built once by the composition root, found by every request on the application's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from reference_app.caching.fares import Fares, FaresOfTheHour
from reference_app.caching.invalidation import Publisher
from reference_app.caching.l1 import TaggedCache
from reference_app.caching.l2 import Client, SharedCache, connect
from reference_app.caching.tiers import Tiers
from reference_app.database import Databases
from reference_app.jobs.inline import InlineWork
from reference_app.jobs.mail import mailer_at
from reference_app.jobs.work import Work
from reference_app.limits import Admission
from reference_app.migrations import latest_version
from reference_app.payment_provider import PaymentProvider
from reference_app.purchases import Purchases
from reference_app.service_settings import ServiceSettings, service_settings_from_environment
from reference_app.stores.bookings import BookingStore
from reference_app.stores.flights import FlightStore
from reference_app.stores.inventory import InventoryStore
from reference_app.stores.outbox import OutboxStore
from reference_app.stores.payments import PaymentStore
from reference_app.stores.prices import PriceStore
from reference_app.stores.reports import ReportStore
from reference_app.stores.sales import SalesStore
from reference_app.stores.users import UserStore
from reference_app.supplier import FareSupplier

FOLLOW_SECONDS = 3.0  # longer than a follower waits for news in one question


@dataclass(slots=True)
class Readiness:
    """Whether this replica has been asked to stop: then it is not ready, but still answers."""

    draining: bool = False


@dataclass(frozen=True, slots=True)
class Caches:
    """The caches of one process, who tells of changes, and how to connect to hear of them (None: nobody to hear)."""

    tiers: Tiers
    publisher: Publisher
    follow: Callable[[], Client] | None = None

    @property
    def l1(self) -> TaggedCache:
        """The cache in the process."""
        return self.tiers.l1

    async def close(self) -> None:
        """Close the connections."""
        await self.tiers.shared.close()
        await self.publisher.close()


def caches_of(
    redis_url: str | None, *, cluster: bool = False, l1: bool = True, l2: bool = True, invalidation: bool = True
) -> Caches:
    """Return the caches around a Redis (None: L1 alone), each as it is switched."""
    shared = SharedCache.at(redis_url if l2 else None, cluster=cluster)
    tiers = Tiers(TaggedCache(enabled=l1), shared)
    if redis_url is None or not invalidation:
        return Caches(tiers, Publisher(None))
    publisher = Publisher(connect(redis_url, cluster=cluster))
    return Caches(tiers, publisher, lambda: connect(redis_url, cluster=cluster, timeout_seconds=FOLLOW_SECONDS))


@dataclass(frozen=True, slots=True)
class Parts:
    """The app's parts. `now` is the clock in use, `schema_version` the one these stores need."""

    databases: Databases
    caches: Caches
    supplier: FareSupplier
    fares: Fares
    flights: FlightStore
    users: UserStore
    bookings: BookingStore
    payments: PaymentStore
    purchases: Purchases
    prices: PriceStore
    inventory: InventoryStore
    sales: SalesStore
    outbox: OutboxStore
    inline: InlineWork | None
    admission: Admission
    service: ServiceSettings
    reports: ReportStore
    now: Callable[[], datetime]
    schema_version: int
    readiness: Readiness = field(default_factory=Readiness)


def parts_of(
    databases: Databases,
    caches: Caches,
    supplier: FareSupplier,
    *,
    now: Callable[[], datetime],
    live_fares: bool = True,
    service: ServiceSettings | None = None,
    instance: str = "reference-app",
) -> Parts:
    """Return the parts around these connections. live_fares: every search asks the supplier."""
    service = service or service_settings_from_environment({})
    bookings = BookingStore(databases, seat_lock=service.seat_lock)
    payments, outbox = PaymentStore(databases), OutboxStore(databases)
    provider = PaymentProvider(service.provider, seed=service.provider_seed, instance=instance)
    purchases = Purchases(bookings, payments, provider, terms=service.purchases, now=now)
    work = Work(outbox, purchases, mailer_at(service.smtp_url, service.mail_folder))
    return Parts(
        databases=databases,
        caches=caches,
        supplier=supplier,
        fares=supplier if live_fares else FaresOfTheHour(supplier),
        flights=FlightStore(databases, caches.tiers, caches.publisher),
        users=UserStore(databases, caches.l1),
        bookings=bookings,
        payments=payments,
        purchases=purchases,
        prices=PriceStore(databases, caches.tiers, enabled=service.pricing_rules),
        inventory=InventoryStore(databases),
        sales=SalesStore(databases),
        reports=ReportStore(databases),
        outbox=outbox,
        inline=None if service.jobs else InlineWork(outbox, work, caches.publisher.publish),
        admission=Admission(service.overload),
        service=service,
        now=now,
        schema_version=latest_version(),
    )
