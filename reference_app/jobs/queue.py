"""The job queue on Redis or Valkey, by BullMQ: priorities, retries with back-off, and jobs that outlive their workers.

The only module that imports bullmq. Redis carries the jobs but is not the record of them: that is the outbox, which
enqueues again what Redis has lost. What a job does is not known here.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import redis.asyncio as redis
from bullmq import Job, Queue, Worker
from bullmq.custom_errors import DelayedError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from reference_app.jobs.terms import QUEUES, JobTerms, Task

log = logging.getLogger(__name__)

PREFIX = "{reference-app}:jobs"  # the braces keep all keys in one slot of a cluster
TIMEOUT_SECONDS = 2.0
NOT_NOW_SECONDS = 1.0
BLOCK_SECONDS = 10.0  # the longest that bullmq waits for a job in one command
COUNTED = ("waiting", "prioritized", "active", "delayed", "completed", "failed")

Run = Callable[[Task], Awaitable[None]]
GiveUp = Callable[[Task, str], Awaitable[None]]


class QueueDown(Exception):  # noqa: N818 - a state, not a fault
    """Redis can't be reached, or failed the command."""


class JobQueues:
    """The queues of one Redis, for those who enqueue and those who look."""

    def __init__(self, url: str, terms: JobTerms) -> None:
        self._url, self.terms = url, terms
        self._queues = {name: Queue(name, {"connection": _client(url), "prefix": PREFIX}) for name in QUEUES}

    async def add(self, tasks: Sequence[Task]) -> None:
        """Enqueue tasks; those that are there already stay as they are. Raises QueueDown, some perhaps enqueued."""
        by_queue: dict[str, list[Task]] = {}
        for task in tasks:
            by_queue.setdefault(task.queue, []).append(task)
        try:
            for name, group in by_queue.items():
                await self._queues[name].addBulk([self._job(task) for task in group])  # type: ignore[index]  # checked
        except (RedisError, OSError) as error:
            raise QueueDown(f"{type(error).__name__}: {error}") from error

    async def state(self, task: Task) -> str:
        """Return bullmq's word for where the job is; `unknown` when Redis has no such job. Raises QueueDown."""
        try:
            return str(await self._queues[task.queue].getJobState(task.job_id))  # type: ignore[index]  # checked
        except (RedisError, OSError) as error:
            raise QueueDown(f"{type(error).__name__}: {error}") from error

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs are in which state, by queue. Raises QueueDown."""
        try:
            return {name: await queue.getJobCounts(*COUNTED) for name, queue in self._queues.items()}
        except (RedisError, OSError) as error:
            raise QueueDown(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        for queue in self._queues.values():
            await queue.close()

    def _job(self, task: Task) -> dict[str, object]:
        data = {
            "id": task.id,
            "payload": dict(task.payload),
            "priority": task.priority,
            "dedupe_key": task.dedupe_key,
            "round": task.round,
            "created_at": task.created_at.isoformat(),
        }
        options = {
            "jobId": task.job_id,
            "priority": task.priority,
            "attempts": self.terms.attempts,
            "backoff": {"type": "exponential", "delay": round(self.terms.backoff_seconds * 1000)},
            "removeOnComplete": self.terms.keep_done,
            "removeOnFail": self.terms.keep_failed,
        }
        return {"name": task.name, "data": data, "opts": options}


class Workers:
    """Runs the jobs of all queues in this process; counts what became of them."""

    def __init__(
        self, url: str, terms: JobTerms, *, run: Run, give_up: GiveUp, not_now: tuple[type[Exception], ...] = ()
    ) -> None:
        """not_now: what is not the job's failure: it waits a second and has lost no attempt."""
        self._url, self._terms, self._run, self._give_up, self._not_now = url, terms, run, give_up, not_now
        self._workers: list[Worker] = []
        self.done_total: Counter[str] = Counter(dict.fromkeys(QUEUES, 0))
        self.retried_total: Counter[str] = Counter(dict.fromkeys(QUEUES, 0))
        self.failed_total: Counter[str] = Counter(dict.fromkeys(QUEUES, 0))
        self.stalled_total: Counter[str] = Counter(dict.fromkeys(QUEUES, 0))

    def start(self) -> None:
        """Begin to take jobs; needs a running loop. A Redis that is away is waited for."""
        self._workers = [self._worker(name) for name in QUEUES]

    async def close(self) -> None:
        """Take no more jobs and finish those that run."""
        for worker in self._workers:
            await worker.close()

    def _worker(self, name: str) -> Worker:
        lock_milliseconds = round(self._terms.lock_seconds * 1000)
        worker = Worker(
            name,
            lambda job, token: self._attempt(name, job, token),
            {
                "connection": _client(self._url, timeout_seconds=BLOCK_SECONDS + TIMEOUT_SECONDS),
                "prefix": PREFIX,
                "concurrency": self._terms.concurrency[name],
                "lockDuration": lock_milliseconds,
                "stalledInterval": lock_milliseconds // 2,
                "maxStalledCount": 1_000_000,  # its workers' deaths are not the job's fault
                "runRetryDelay": 500,
            },
        )
        worker.on("stalled", lambda _job_id: self.stalled_total.update([name]))
        worker.on("error", lambda error, *_: log.warning("queue %s: %s: %s", name, type(error).__name__, error))
        return worker

    async def _attempt(self, name: str, job: Job, token: str) -> None:
        task = task_of(name, job)
        try:
            await self._run(task)
        except self._not_now as error:
            log.warning("job %s %s waits: %s", task.name, task.id, error)
            await job.moveToDelayed(round((time.time() + NOT_NOW_SECONDS) * 1000), token)
            raise DelayedError from error
        except Exception as error:
            last = job.attemptsMade + 1 >= self._terms.attempts
            log.warning("job %s %s failed%s: %s", task.name, task.id, ", given up" if last else "", error)
            log.debug("%s", traceback.format_exc())
            (self.failed_total if last else self.retried_total).update([name])
            if last:
                await self._give_up(task, f"{type(error).__name__}: {error}")
            raise
        self.done_total.update([name])


def task_of(queue: str, job: Job) -> Task:
    """Return the task that a job carries."""
    data = job.data
    created_at = datetime.fromisoformat(data["created_at"])
    return Task(
        data["id"], queue, job.name, data["payload"], data["priority"], data["dedupe_key"], data["round"], created_at
    )


def _client(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
