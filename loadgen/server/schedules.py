"""Runs at a time of the day, or on each new build: APScheduler, over a file that outlives the process.

A build is new when the record names another running version than the last time; the first one seen is not new. A time
that was missed by less than an hour is made up for, once; a run that finds another under way is left out, with a line
in the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC
from pathlib import Path
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from loadgen.runs.files import write_json
from loadgen.server.desk import BusyError, Desk

log = logging.getLogger(__name__)

LOOK_SECONDS = 30
MISFIRE_SECONDS = 3600
NIGHTLY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

ReadVersion = Callable[[str], str | None]


class ScheduleError(ValueError):
    """The schedule is not as expected: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a scenario is to run: nightly at HH:MM (UTC), or on each new build of a service; one of them."""

    name: str
    scenario: str
    target: str | None = None
    nightly: str | None = None
    on_new_build_of: str | None = None

    def __post_init__(self) -> None:
        """Check it. Raises ScheduleError."""
        if (self.nightly is None) == (self.on_new_build_of is None):
            raise ScheduleError("expected exactly one of nightly, on_new_build_of")
        if self.nightly is not None and NIGHTLY.fullmatch(self.nightly) is None:
            raise ScheduleError(f"nightly: expected HH:MM (UTC), got {self.nightly!r}")
        if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.name) is None:
            raise ScheduleError(f"name: expected 1 to 64 of A-Za-z0-9_.-, got {self.name!r}")


@dataclass(slots=True)
class Schedules:
    """The schedules and their timers. read_version: the version of a service that runs now, None: nobody knows."""

    desk: Desk
    path: Path
    read_version: ReadVersion
    schedules: dict[str, Schedule] = field(default_factory=dict)
    last_versions: dict[str, str] = field(default_factory=dict)
    _timers: AsyncIOScheduler = field(default_factory=lambda: AsyncIOScheduler(timezone=UTC))

    def start(self) -> None:
        """Read the file and begin to watch. Raises ScheduleError when it is none of ours."""
        if self.path.exists():
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
                self.schedules = {one["name"]: Schedule(**one) for one in found["schedules"]}
                self.last_versions = dict(found["last_versions"])
            except (ValueError, KeyError, TypeError) as error:
                raise ScheduleError(f"{self.path}: expected the schedules of load runs: {error}") from error
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._timers.add_job(
            self.look_for_builds, IntervalTrigger(seconds=LOOK_SECONDS), coalesce=True, max_instances=1,
            misfire_grace_time=None,
        )  # fmt: skip
        for schedule in self.schedules.values():
            self._set_timer(schedule)
        self._timers.start()

    def stop(self) -> None:
        """Forget the timers."""
        if self._timers.running:
            self._timers.shutdown(wait=False)

    def put(self, schedule: Schedule) -> None:
        """Add a schedule, or replace the one of its name; on file when this returns. Raises ScheduleError."""
        if schedule.scenario not in self.desk.names():
            known = ", ".join(self.desk.names())
            raise ScheduleError(f"scenario: expected one of {known}; got {schedule.scenario!r}")
        self.schedules[schedule.name] = schedule
        self._write()
        self._set_timer(schedule)

    def remove(self, name: str) -> bool:
        """Remove a schedule; return whether there was one."""
        found = self.schedules.pop(name, None)
        if found is None:
            return False
        if self._timers.get_job(name) is not None:
            self._timers.remove_job(name)
        self._write()
        return True

    def to_json(self) -> list[dict[str, Any]]:
        """Return them with the next time of each that has one (ISO 8601, UTC)."""
        rows = []
        for name, schedule in sorted(self.schedules.items()):
            job = self._timers.get_job(name)
            at = getattr(job, "next_run_time", None)
            rows.append({**asdict(schedule), "next_at": None if at is None else at.astimezone(UTC).isoformat()})
        return rows

    def _set_timer(self, schedule: Schedule) -> None:
        if self._timers.get_job(schedule.name) is not None:
            self._timers.remove_job(schedule.name)
        if schedule.nightly is not None:
            hour, minute = schedule.nightly.split(":")
            self._timers.add_job(
                self.run, CronTrigger(hour=hour, minute=minute, timezone=UTC), args=[schedule.name], id=schedule.name,
                coalesce=True, misfire_grace_time=MISFIRE_SECONDS,
            )  # fmt: skip

    async def run(self, name: str) -> None:
        """Start the schedule's run now."""
        schedule = self.schedules[name]
        try:
            run = self.desk.start(schedule.scenario, target=schedule.target, asked_by=f"schedule {name}")
        except BusyError as error:
            log.warning("schedule %s is left out: %s", name, error)
        except ValueError:
            log.exception("schedule %s can't be run", name)
        else:
            log.info("schedule %s started %s", name, run.run_id)

    async def look_for_builds(self) -> None:
        """Start the runs of services whose version is another than the last time."""
        for schedule in [one for one in self.schedules.values() if one.on_new_build_of is not None]:
            try:
                version = await asyncio.to_thread(self.read_version, schedule.on_new_build_of or "")
            except ValueError as error:
                log.warning("schedule %s: %s", schedule.name, error)
                continue
            before = self.last_versions.get(schedule.name)
            if version is None or version == before:
                continue
            if before is not None and self.desk.current is not None:
                continue  # the next look finds it still new
            self.last_versions[schedule.name] = version
            self._write()
            if before is not None:
                log.info("%s: version %s follows %s", schedule.on_new_build_of, version, before)
                await self.run(schedule.name)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(replace(one)) for one in self.schedules.values()]
        write_json(self.path, {"schedules": rows, "last_versions": self.last_versions})
