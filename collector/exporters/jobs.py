"""The exporters' loops in the collector: one per pushed exporter, each in a thread of its own. Composition only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from collector.alerts.evaluate import SETTLE_SECONDS, newest_minute
from collector.clickhouse import StoreError
from collector.exporters.push import (
    Post,
    PushFailedError,
    http_post,
    push_once,
    read_watermark_file,
    write_watermark_file,
)
from collector.exporters.settings import Exporter
from tidegauge.clock import Clock

if TYPE_CHECKING:
    from collector.api.app import CollectorParts

WATERMARKS_FOLDER = "exporters"  # below the collector's data folder
PUSH_EVERY_SECONDS = 5.0  # at most between two looks
LONGEST_PAUSE_SECONDS = 300.0
log = logging.getLogger("tidegauge.collector.exporters")


def exporter_jobs(parts: CollectorParts, data: Path, stopping: asyncio.Event) -> list[Coroutine[None, None, None]]:
    """Return the loops; each ends soon after `stopping` is set."""
    return [_push(parts, data, each, stopping) for each in parts.exporters if each.settings.kind != "prometheus"]


def newest_settled(clock: Clock) -> datetime:
    """Return the end of the newest minute whose events had time to be stored."""
    return newest_minute(clock.now(), settle=timedelta(seconds=SETTLE_SECONDS * clock.speed_now()))


async def _push(parts: CollectorParts, data: Path, exporter: Exporter, stopping: asyncio.Event) -> None:
    loop, pause = asyncio.get_running_loop(), PUSH_EVERY_SECONDS
    with ThreadPoolExecutor(1, thread_name_prefix=exporter.name) as thread, httpx.Client(timeout=15) as http:
        post = http_post(http)
        while not stopping.is_set():
            if parts.store.ready:
                try:
                    await loop.run_in_executor(thread, partial(_push_once, parts, data, exporter, post))
                    pause = PUSH_EVERY_SECONDS
                except (StoreError, PushFailedError, OSError) as error:
                    pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
                    log.warning("%s is told later, from where it was: %s", exporter.name, error)
            await _pause(stopping, pause if parts.store.ready else 1.0)


def _push_once(parts: CollectorParts, data: Path, exporter: Exporter, post: Post) -> None:
    path = data / WATERMARKS_FOLDER / f"{exporter.name}.json"
    pushed = push_once(
        parts.store.client(),
        list(parts.catalog.services.values()),
        exporter,
        newest=newest_settled(parts.clock),
        watermark=read_watermark_file(path),
        post=post,
        note=lambda watermark: write_watermark_file(path, watermark),
    )
    if pushed is not None and pushed.passed_over:
        log.error("%s was never told of %d minutes", exporter.name, pushed.passed_over)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
