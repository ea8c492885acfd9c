"""Reports by schedule: when a report of tidegauge.yaml is due, it is made and sent; what waits is tried again.

The newest due time that was done is kept on disk, so that one that fell into a restart is made up for, once. Times are
of the clock in use. Only the forecaster that leads makes reports.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from cronsim import CronSim

from collector.alerts.outbox import Outbox
from collector.alerts.receivers import Receiver, resolve_receivers
from collector.alerts.webhooks import post
from collector.catalog import Catalog
from collector.catalog.reports import ReportSettings
from collector.clickhouse import StoreError
from forecaster.calendar.sources import zone_of
from forecaster.loop.world import World
from forecaster.report.deliver import (
    OUTBOX_PATH,
    MailSettings,
    MailSettingsError,
    Send,
    mail_message,
    mail_settings,
    send_mail,
    send_waiting,
    webhook_message,
    write_file,
)
from forecaster.report.formats import Rendered
from forecaster.report.requests import ReportRequest, report_of
from forecaster.store.instants import text_of, utc

LOOK_SECONDS = 15.0  # real
_DONE_NAME = "done.json"
_log = structlog.get_logger("forecaster")
Make = Callable[[ReportSettings, ReportRequest], Rendered]


@dataclass(frozen=True, slots=True)
class Senders:
    """Ways out of the machine, by report's name. mail: None where none is set."""

    webhooks: Mapping[str, Receiver]
    mail: MailSettings | None


def senders_of(reports: Sequence[ReportSettings], environ: Mapping[str, str]) -> Senders:
    """Return what the reports need of the environment. Raises MailSettingsError, ReceiverSettingsError."""
    mail = mail_settings(environ)
    wanting = [one.name for one in reports if one.email]
    if wanting and mail is None:
        raise MailSettingsError(f"reports {', '.join(wanting)}: expected TIDEGAUGE_SMTP_URL in the environment")
    settings = {one.name: one.webhook for one in reports if one.webhook is not None}
    found = resolve_receivers(list(settings.values()), environ)
    return Senders(dict(zip(settings, found, strict=True)), mail)


def newest_due(report: ReportSettings, timezone: str, *, after: datetime, now: datetime) -> datetime | None:
    """Return the newest time of the report's cron in (after, now]; None: nothing is due. Pure."""
    zone = zone_of(report.timezone or timezone)
    newest = None
    for at in CronSim(report.cron, after.astimezone(zone)):
        due = at.astimezone(UTC)
        if due > now:
            return newest
        newest = due
    return newest


class ReportDesk:
    """Makes what is due and sends what waits; one call of `run_once` after another, from any thread."""

    def __init__(self, catalog: Catalog, senders: Senders, make: Make, *, folder: Path) -> None:
        self._catalog, self._senders, self._make = catalog, senders, make
        self._outbox = Outbox(folder / OUTBOX_PATH)
        self._done_path = folder / OUTBOX_PATH.parent / _DONE_NAME
        self._one_at_a_time = threading.Lock()

    def run_once(self, *, now: datetime, real_seconds: float) -> list[str]:
        """Make what is due by `now` (of the clock in use), try what waits; return the names of the reports made.

        A store that does not answer leaves a report due; a report that cannot be made for another reason is logged.
        """
        with self._one_at_a_time:
            done, made = self._read_done(), []
            for report in self._catalog.reports:
                since = done.setdefault(report.name, now)
                service = self._catalog.service(report.service)
                due = newest_due(report, service.timezone, after=since, now=now)
                if due is not None and self._make_and_hand_on(report, due, real_seconds):
                    done[report.name] = due
                    made.append(report.name)
            self._write_done(done)
            self._send(real_seconds)
            return made

    def _make_and_hand_on(self, report: ReportSettings, due: datetime, real_seconds: float) -> bool:
        """Return whether this due time is over; the store's being away leaves it due."""
        try:
            made = self._make(report, ReportRequest(report.kind, report.format, report.horizon, as_of=due))
            if report.file is not None:
                _log.info("report written", report=report.name, path=str(write_file(report.file, made)))
            elif report.webhook is not None:
                self._outbox.put([webhook_message(report, made, due=due)], now=real_seconds)
            elif self._senders.mail is not None:
                sender = self._senders.mail.sender
                self._outbox.put([mail_message(report, made, due=due, sender=sender)], now=real_seconds)
        except StoreError as error:
            _log.warning("a report waits for the store", report=report.name, why=str(error).splitlines()[0])
            return False
        except (ValueError, OSError):
            _log.exception("a report could not be made", report=report.name)
        return True

    def _send(self, real_seconds: float) -> None:
        for report in self._catalog.reports:
            send = self._sender(report, real_seconds)
            if send is None:
                continue
            for outcome, detail in send_waiting(self._outbox, report.name, send, now=real_seconds):
                if outcome == "delivered":
                    _log.info("report sent", report=report.name, answer=detail)
                else:
                    _log.warning("report not sent", report=report.name, outcome=outcome, answer=detail)

    def _sender(self, report: ReportSettings, real_seconds: float) -> Send | None:
        if report.webhook is not None:
            receiver = self._senders.webhooks[report.name]
            return lambda message: post(receiver, message.message_id, message.body, now=real_seconds)
        if report.email and self._senders.mail is not None:
            return functools.partial(send_mail, self._senders.mail, report.email)
        return None

    def _read_done(self) -> dict[str, datetime]:
        try:
            known = json.loads(self._done_path.read_text(encoding="utf-8"))
            return {str(name): datetime.fromisoformat(text) for name, text in known.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError):
            _log.exception("what reports were made cannot be read: from now on", path=str(self._done_path))
            return {}

    def _write_done(self, done: Mapping[str, datetime]) -> None:
        half = self._done_path.with_suffix(".half")
        half.write_text(json.dumps({name: text_of(at) for name, at in done.items()}), encoding="utf-8")
        half.replace(self._done_path)


class ReportTimer:
    """Looks every few real seconds whether a report is due, while `leads` says so. Nothing runs without reports."""

    def __init__(self, desk: ReportDesk | None, *, now: Callable[[], datetime], leads: Callable[[], bool]) -> None:
        self._desk, self._now, self._leads = desk, now, leads
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def start(self) -> None:
        """Look now, and then at its interval."""
        if self._desk is not None:
            trigger = IntervalTrigger(seconds=LOOK_SECONDS, timezone=UTC)
            self._scheduler.add_job(self._look, trigger, id="reports", next_run_time=datetime.now(UTC))
            self._scheduler.start()

    def stop(self) -> None:
        """Look no more, and return when a report under way is done."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _look(self) -> None:
        if self._desk is None or not self._leads():
            return
        try:
            self._desk.run_once(now=utc(self._now()), real_seconds=time.time())
        except Exception:  # noqa: BLE001 (the timer must outlive a bug in one report; it is logged)
            _log.exception("reports failed")


def report_timer(catalog: Catalog, senders: Senders, world: World, *, leads: Callable[[], bool]) -> ReportTimer:
    """Return a started timer over the catalog's reports; one that does nothing when there are none."""

    def make(report: ReportSettings, asked: ReportRequest) -> Rendered:
        service = catalog.service(report.service)
        return report_of(world.client, service, asked, clock=world.clock, settings=world.settings)

    desk = ReportDesk(catalog, senders, make, folder=world.settings.data) if catalog.reports else None
    timer = ReportTimer(desk, now=world.clock.now, leads=leads)
    timer.start()
    return timer
