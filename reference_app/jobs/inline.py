"""The measure switched off: what a transaction left is done within the request that left it, without a queue.

It has no retries: what fails stays in the outbox and is said in the log. It is there to show what the queue is for.
"""

from __future__ import annotations

import logging
import smtplib

from redis.exceptions import RedisError

from reference_app.jobs.relay import Publish
from reference_app.jobs.terms import EVENTS
from reference_app.jobs.work import Work
from reference_app.payment_provider import ProviderFailed, ProviderSilent
from reference_app.stores.outbox import OutboxStore

log = logging.getLogger(__name__)

MOST_AT_ONCE = 50


class InlineWork:
    """Does what is in the outbox, now."""

    def __init__(self, outbox: OutboxStore, work: Work, publish: Publish) -> None:
        self._outbox, self._work, self._publish = outbox, work, publish

    async def drain(self) -> None:
        """Do at most 50 jobs, one after the other."""
        async with self._outbox.batch(limit=MOST_AT_ONCE) as batch:
            tasks = list(batch.tasks)
            await batch.published(tasks)
        for task in tasks:
            try:
                if task.queue == EVENTS:
                    await self._publish(task.name, task.payload["tags"], committed_at=task.created_at.timestamp())
                else:
                    await self._work.run(task)
            except (ProviderSilent, ProviderFailed, OSError, RedisError, smtplib.SMTPException) as error:
                log.warning("%s failed within its request: %s", task.name, error)
