"""The samplers' loop in the collector: ask every source, keep what they say, and say of each whether it answered.

What was read becomes samples of the service, by way of their spool. A source that does not answer gives no samples but
one: `sampler_up` is 0. So the record knows the difference between nothing and not known.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from collector.samplers.process import Replica, find_replicas, sample_process, sample_worker
from collector.samplers.reading import Reading, SourceUnreachableError
from collector.samplers.settings import SamplerSettings
from collector.sources.samples import Beginnings, SampleBatch
from collector.sources.spool import SpoolFullError

if TYPE_CHECKING:
    from collector.api.app import CollectorParts

MOST_AT_ONCE = 8
log = logging.getLogger("tidegauge.collector.samplers")


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to ask. sampler: postgres, redis, process, worker or cluster; name: what may be shown of it."""

    sampler: str
    name: str
    ask: Callable[[], list[Reading]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source said; None: it did not answer."""

    source: Source
    readings: list[Reading] | None


def sources_of(settings: SamplerSettings) -> list[Source]:
    """Return what the settings name; a cluster's replicas are found anew with every round."""
    sources = [Source("process", url, partial(sample_process, Replica(url, url))) for url in settings.processes]
    sources += [Source("worker", url, partial(sample_worker, url)) for url in settings.workers]
    if settings.postgres:  # a client is loaded where there is something to ask
        from collector.samplers import postgres

        sources += [
            Source("postgres", postgres.server_of(url), partial(postgres.sample_postgres, url))
            for url in settings.postgres
        ]
    if settings.redis:
        from collector.samplers import redis

        sources += [Source("redis", redis.server_of(url), partial(redis.sample_redis, url)) for url in settings.redis]
    return sources


class Sampling:
    """Asks all sources, at most MOST_AT_ONCE at a time, and remembers who answered."""

    def __init__(self, settings: SamplerSettings) -> None:
        self._settings, self._fixed = settings, sources_of(settings)
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="sampler")
        self._up: dict[tuple[str, str], bool] = {}

    def ask_once(self) -> list[Answer]:
        """Return every source's answer."""
        answers: list[Answer] = []
        sources = [*self._fixed, *self._replicas(answers)]
        answers += self._threads.map(self._ask, sources)
        self._tell_changes(answers)
        return answers

    def close(self) -> None:
        """Wait for no answer any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _replicas(self, answers: list[Answer]) -> Iterator[Source]:
        url = self._settings.cluster
        if url is None:
            return
        found: list[Replica] = []

        def ask() -> list[Reading]:
            found.extend(find_replicas(url))
            return [Reading("cluster_replicas_answering", len(found))]

        answers.append(self._ask(Source("cluster", url, ask)))
        for replica in found:
            yield Source("process", replica.instance, partial(sample_process, replica))

    def _ask(self, source: Source) -> Answer:
        try:
            return Answer(source, source.ask())
        except SourceUnreachableError as error:
            if self._up.get((source.sampler, source.name), True):  # once, not every few seconds
                log.warning("%s", error)
            return Answer(source, None)

    def _tell_changes(self, answers: list[Answer]) -> None:
        self._up = {(each.source.sampler, each.source.name): each.readings is not None for each in answers}


def batch_of(
    parts: CollectorParts, service: str, answers: list[Answer], beginnings: Beginnings, *, real_now: float
) -> SampleBatch:
    """Return the answers as samples at the present instant of the clock in use."""
    now = parts.clock.at_real(real_now)
    batch = SampleBatch("sampler", now_seconds=now, admits=parts.guard.admits_series)
    for answer in answers:
        source = {"sampler": answer.source.sampler, "source": answer.source.name}
        up = float(answer.readings is not None)
        batch.add("sampler_up", service, "gauge", source, ts_ms=round(now * 1e3), value=up)
        for reading in answer.readings or ():
            add = partial(batch.add, reading.name, service, reading.kind, {**source, **reading.labels})
            identity = add(ts_ms=round(now * 1e3), value=reading.value)
            if identity is None or reading.started_at is None:
                continue
            began_ms = round(parts.clock.at_real(reading.started_at) * 1e3)
            if began_ms < now * 1e3 and beginnings.is_new(identity, began_ms):
                add(ts_ms=began_ms, value=0.0)
    return batch


async def sample(parts: CollectorParts, settings: SamplerSettings, stopping: asyncio.Event) -> None:
    """Sample until `stopping` is set."""
    sampling, beginnings = Sampling(settings), Beginnings()

    def once() -> None:
        answers = sampling.ask_once()
        batch = batch_of(parts, settings.service, answers, beginnings, real_now=parts.clock.read_real())
        parts.metrics.sampled({(each.source.sampler, each.source.name): each.readings is not None for each in answers})
        parts.metrics.left_out(batch.left_out)
        batch_id = str(uuid.uuid4())
        parts.sample_spool.accept(
            batch_id, batch.document(batch_id), received_us=round(parts.clock.now_seconds() * 1e6)
        )
        parts.metrics.samples_acknowledged(len(batch))

    try:
        while not stopping.is_set():
            try:
                await asyncio.to_thread(once)
            except (SpoolFullError, OSError) as error:
                log.warning("a round of samples could not be kept: %s", error)
            try:
                await asyncio.wait_for(stopping.wait(), settings.every_seconds)
            except TimeoutError:
                continue
    finally:
        sampling.close()
