"""The alerts' loops in the collector: one evaluates each ended minute, one per receiver sends. Composition only."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from collector.alerts.bodies import all_messages
from collector.alerts.evaluate import SETTLE_SECONDS, Memory, evaluate_once, newest_minute
from collector.alerts.receivers import Receiver
from collector.alerts.state import Notice
from collector.alerts.webhooks import deliver_once
from collector.clickhouse import StoreError

if TYPE_CHECKING:
    from collector.api import CollectorParts

EVALUATE_EVERY_SECONDS = 5.0  # a look whether a minute has ended; the demo's clock ends many in it
SEND_EVERY_SECONDS = 1.0
log = logging.getLogger("tidegauge.collector.alerts")


def alert_jobs(parts: CollectorParts, stopping: asyncio.Event) -> list[Coroutine[None, None, None]]:
    """Return the loops; each ends soon after `stopping` is set."""
    return [_watch(parts, stopping), *(_send(parts, receiver, stopping) for receiver in parts.receivers)]


async def _watch(parts: CollectorParts, stopping: asyncio.Event) -> None:
    memory = Memory()
    while not stopping.is_set():
        try:
            await asyncio.to_thread(_evaluate, parts, memory)
        except (StoreError, sqlite3.Error, OSError) as error:
            log.warning("alerts could not be stored; they are with the next evaluation: %s", error)
        await _pause(stopping, EVALUATE_EVERY_SECONDS)


def _evaluate(parts: CollectorParts, memory: Memory) -> None:
    clock, oldest_us = parts.clock, parts.spool.state().oldest_received_us
    now, age = clock.now(), None
    if oldest_us is not None:
        age = timedelta(seconds=clock.read_real() - clock.real_at(oldest_us / 1e6))

    def tell(notices: Sequence[Notice], minute: datetime) -> None:
        for notice in notices:
            log.warning("alert %s (%s): %s", notice.reason, notice.alert.severity, notice.alert.summary)
        repeat = parts.catalog.alerts.policy.repeat
        messages = all_messages(parts.receivers, notices, now=minute, repeat=repeat)
        if messages:
            parts.outbox.put(messages, now=clock.read_real())

    evaluate_once(
        parts.store.client() if parts.store.ready else None,
        parts.catalog,
        memory,
        minute=newest_minute(now, settle=timedelta(seconds=SETTLE_SECONDS * clock.speed_now())),
        spool_age=age,
        tell=tell,
    )


async def _send(parts: CollectorParts, receiver: Receiver, stopping: asyncio.Event) -> None:
    """Send to one receiver, in a thread of its own: one that hangs holds up no other."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="webhook") as thread:
        while not stopping.is_set():
            try:
                outcomes = await loop.run_in_executor(thread, deliver_once, parts.outbox, receiver)
            except (sqlite3.Error, OSError) as error:
                log.warning("the outbox cannot be read or written: %s", error)
                outcomes = []
            if "disabled" in outcomes:
                log.error("receiver %s answered 410 and is disabled: tidegauge alerts enable", receiver.name)
            await _pause(stopping, SEND_EVERY_SECONDS)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
