"""What each job does. A job may run more than once and has its effect once.

Effects in the database happen in the transaction that notes the job as done. Effects outside (mail, money) come before
it and are safe to repeat. How jobs come here, and when they are tried again, is the queue's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from reference_app.database.pools import Connection
from reference_app.jobs.mail import Mailer, written
from reference_app.jobs.terms import Task
from reference_app.purchases import Purchases
from reference_app.stores.outbox import OutboxStore
from reference_app.stores.payments import GIVEN_BACK
from reference_app.stores.sales import count_return, count_sale

_MAIL_FACTS = """
SELECT e.email, u.name, b.id, b.passengers, b.cabin, b.price_cents, i.origin, i.destination,
       i.departs_at::text AS departs
FROM bookings b JOIN flight_instances i ON i.id = b.instance_id
JOIN users u ON u.id = b.user_id JOIN user_keys e ON e.user_id = u.id
WHERE b.id = %(id)s AND b.created_at = (SELECT created_at FROM booking_keys WHERE id = %(id)s)
"""
SUBJECTS = {
    "booking-confirmed": "Your booking is confirmed",
    "booking-cancelled": "Your booking is cancelled",
    "hold-expired": "Your seats are no longer held",
}


class UnknownWork(Exception):  # noqa: N818 - names what came
    """A job with a name that this version does not know."""


@dataclass(frozen=True, slots=True)
class _Facts:
    email: str
    name: str
    id: int
    passengers: int
    cabin: str
    price_cents: int
    origin: str
    destination: str
    departs: str


class Work:
    """Does jobs: mails, payments, sales."""

    def __init__(self, outbox: OutboxStore, purchases: Purchases, mailer: Mailer) -> None:
        self._outbox, self._purchases, self._mailer = outbox, purchases, mailer

    async def run(self, task: Task) -> None:
        """Do the job, once; a job that was done before is only closed. Raises whatever makes it fail."""
        if not await self._outbox.was_done(task):
            await self._outside(task)
        async with self._outbox.effect(task) as connection:
            if connection is not None:
                await self._inside(task, connection)

    async def _outside(self, task: Task) -> None:
        payload = task.payload
        if task.name in SUBJECTS:
            await self._send(task)
        elif task.name == "settle":
            await self._purchases.settle(payload["payment_id"])
        elif task.name == "give-back":
            await self._purchases.give_back(payload["payment_id"])
        elif task.name not in ("count-sale", "count-return"):
            raise UnknownWork(f"expected a known job, got {task.name!a} in {task.queue}")

    async def _inside(self, task: Task, connection: Connection) -> None:
        if task.name == "count-sale":
            await count_sale(connection, task.payload["booking_id"])
        elif task.name == "count-return":
            await count_return(connection, task.payload["booking_id"])
        elif task.name == "give-back":
            await connection.execute(GIVEN_BACK, {"id": task.payload["payment_id"]})

    async def _send(self, task: Task) -> None:
        facts = await self._outbox.look_up(_Facts, _MAIL_FACTS, {"id": task.payload["booking_id"]})
        if facts is None:
            return  # the booking's user is gone: nobody to write to
        subject = SUBJECTS[task.name]
        text = (
            f"Hello {facts.name},\n\n{subject}: booking {facts.id}, "
            f"{facts.origin} to {facts.destination} at {facts.departs} (UTC), {facts.passengers} in {facts.cabin}, "
            f"{facts.price_cents / 100:.2f} USD.\n"
        )
        await self._mailer.send(written(task.dedupe_key, to=facts.email, subject=subject, text=text))
