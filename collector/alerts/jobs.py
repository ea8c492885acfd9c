"""The alerts' loops in the collector: one evaluates each ended minute, one per receiver sends, one says it is alive.

Composition only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import uuid
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from collector.alerts.bodies import all_messages
from collector.alerts.evaluate import SETTLE_SECONDS, Memory, evaluate_once, memory_of, newest_minute
from collector.alerts.local_state import LocalState, from_text, to_text
from collector.alerts.receivers import Heartbeat, Receiver
from collector.alerts.state import Notice
from collector.alerts.webhooks import deliver_once, post
from collector.clickhouse import StoreError
from tidegauge.clock import Clock

if TYPE_CHECKING:
    from collector.api.app import CollectorParts

EVALUATE_EVERY_SECONDS = 5.0  # at most between two looks whether a minute has ended; a fast clock ends many in it
STATE_NAME = "alerts"
SEND_EVERY_SECONDS = 1.0
log = logging.getLogger("tidegauge.collector.alerts")


def alert_jobs(parts: CollectorParts, stopping: asyncio.Event) -> list[Coroutine[None, None, None]]:
    """Return the loops; each ends soon after `stopping` is set."""
    pulse = Pulse()
    jobs = [_watch(parts, pulse, stopping), *(_send(parts, receiver, stopping) for receiver in parts.receivers)]
    if parts.heartbeat is not None:
        jobs.append(_beat(parts, parts.heartbeat, pulse, stopping))
    return jobs


@dataclass
class Pulse:
    """When alerts were last evaluated on the whole view of the store. real: epoch seconds; minute: of the clock."""

    real: float | None = None
    minute: datetime | None = None


async def _watch(parts: CollectorParts, pulse: Pulse, stopping: asyncio.Event) -> None:
    memory = _memory(parts)
    while not stopping.is_set():
        try:
            await asyncio.to_thread(_evaluate, parts, memory)
            if memory.complete_at is not None and memory.complete_at != pulse.minute:
                pulse.minute, pulse.real = memory.complete_at, parts.clock.read_real()
        except (StoreError, sqlite3.Error, OSError) as error:
            log.warning("alerts could not be stored; they are with the next evaluation: %s", error)
        await _pause(stopping, _until_next_minute(parts.clock))


def _until_next_minute(clock: Clock) -> float:
    """Return the real seconds to the next look: when a minute has ended and settled, or sooner."""
    if clock.real_seconds(60) <= EVALUATE_EVERY_SECONDS:
        return EVALUATE_EVERY_SECONDS
    settled = clock.now_seconds() - SETTLE_SECONDS * clock.speed_now()
    wait = clock.real_seconds(60 - settled % 60) + 0.05  # a little later: at the instant itself it would be too soon
    return min(EVALUATE_EVERY_SECONDS, wait)


def _memory(parts: CollectorParts) -> Memory:
    text = parts.outbox.state(STATE_NAME)
    if text is None:
        return Memory()
    try:
        return memory_of(from_text(text))
    except ValueError as error:
        log.warning("the alerts' own state cannot be read, the store's is taken: %s", error)
        return Memory()


def _evaluate(parts: CollectorParts, memory: Memory) -> None:
    clock, oldest_us = parts.clock, parts.spool.state().oldest_received_us
    now, age = clock.now(), None
    if oldest_us is not None:
        age = timedelta(seconds=clock.read_real() - clock.real_at(oldest_us / 1e6))

    def tell(notices: Sequence[Notice], minute: datetime, left: LocalState) -> None:
        for notice in notices:
            log.warning("alert %s (%s): %s", notice.reason, notice.alert.severity, notice.alert.summary)
        repeat = parts.catalog.alerts.policy.repeat
        messages = all_messages(parts.receivers, notices, now=minute, repeat=repeat)
        parts.outbox.put(messages, now=clock.read_real(), state={STATE_NAME: to_text(left)})

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


async def _beat(parts: CollectorParts, heartbeat: Heartbeat, pulse: Pulse, stopping: asyncio.Event) -> None:
    """Tell the dead man's switch at every interval (real time) that alerts are evaluated; say nothing when not."""
    while not stopping.is_set():
        if is_alive(pulse, parts.clock):
            body = {"type": "tidegauge.heartbeat", "evaluated_at": pulse.minute and pulse.minute.isoformat()}
            receiver, now = heartbeat.receiver, parts.clock.read_real()
            answer = await asyncio.to_thread(post, receiver, f"beat_{uuid.uuid4()}", json.dumps(body).encode(), now=now)
            if answer.status is None or not 200 <= answer.status < 300:
                log.warning("the heartbeat was not taken: %s %s", answer.status or "no answer", answer.detail)
            await _pause(stopping, heartbeat.interval.total_seconds())
        else:
            await _pause(stopping, SEND_EVERY_SECONDS)


def is_alive(pulse: Pulse, clock: Clock) -> bool:
    """Say whether alerts were evaluated on the store's view in the last two minutes of the clock (and some looks)."""
    if pulse.real is None:
        return False
    return clock.read_real() - pulse.real <= clock.real_seconds(120) + 3 * EVALUATE_EVERY_SECONDS


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
