"""What people are told of decisions: conditions that a service should be in now, and their way to the collector.

`conditions_of` is pure: a decision's warnings, a recommendation, and error budgets that would be spent at the
forecast's traffic. `Notices` posts each to `POST /v1/alerts` once when it begins or says something else, again before
it expires, and once when it is over. A recommendation's name holds its floor, so that a changed one is told anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx
import numpy as np

from collector.alerts.state import Condition
from collector.clickhouse import StoreError
from collector.slo.objectives import PRESENT, SloStatus
from forecaster.forecast.models import column_of
from forecaster.forecast.types import Forecast
from forecaster.loop.drift_alert import AlertsUnavailableError
from forecaster.scaling.types import Decision, PlanWarning, Situation
from forecaster.store.instants import text_of

Severity = Literal["page", "ticket", "info"]
_EXPIRES = timedelta(hours=2)  # of the clock in use
_AGAIN_AFTER = timedelta(minutes=30)
_SUMMARY_LENGTH = 1000
_INFORMS = frozenset({"change_budget", "forecast_skill"})


@dataclass(frozen=True, slots=True)
class Notice:
    """One condition that a service is in now."""

    name: str
    severity: Severity
    summary: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gist(self) -> tuple[str, str]:
        """Return what it says, but for figures, which differ at every decision."""
        return self.severity, re.sub(r"\d[\d.,:TZ-]*", "#", self.summary)


def conditions_of(
    situation: Situation, decision: Decision, slos: Sequence[SloStatus], *, decision_id: str
) -> list[Notice]:
    """Return the conditions that a service is in, by what a decision saw and said. Pure."""
    found = [_warned(warning) for warning in decision.warnings]
    if decision.mode == "recommend" and decision.floor_after != decision.floor_before:
        found.append(_recommended(decision, decision_id))
    if situation.hpa is not None and situation.hpa.blocked is not None:
        found.append(Notice("scaling-blocked", "ticket", situation.hpa.blocked))
    if isinstance(situation.forecast, Forecast):
        found += [
            _spent_soon(status, at, situation.now)
            for status in slos
            if (at := spent_at(status, situation.forecast, now=situation.now)) is not None
        ]
    return found


def spent_at(status: SloStatus, forecast: Forecast, *, now: datetime) -> datetime | None:
    """Return when an error budget is spent if the median of the forecast comes and errors keep their present share.

    The budget is what the window's own traffic grants; what a rolling window gets back is not counted. None: not within
    the forecast, spent already, nothing burns, or not known.
    """
    left, burn = status.budget_left, status.burn_rates.get(PRESENT)
    if left is None or left <= 0 or not burn or status.counts.valid == 0:
        return None
    budget = 1 - status.slo.target
    bad_requests_left = left * budget * status.counts.valid
    median = column_of(min(forecast.quantiles, key=lambda level: abs(level - 0.5)))
    rows = forecast.frame[forecast.frame["ds"] + forecast.step > now]
    if rows.empty:
        return None
    seconds = np.full(len(rows), forecast.step.total_seconds())
    first: datetime = rows["ds"].iloc[0].to_pydatetime()
    seconds[0] -= max(0.0, (now - first).total_seconds())
    bad = rows[median].to_numpy(dtype=np.float64).clip(min=0.0) * seconds * burn * budget
    reached = np.flatnonzero(np.cumsum(bad) >= bad_requests_left)
    if not len(reached):
        return None
    index = int(reached[0])
    share = 1 - (float(np.cumsum(bad)[index]) - bad_requests_left) / float(bad[index])
    begins = max(now, rows["ds"].iloc[index].to_pydatetime())
    spent: datetime = begins + timedelta(seconds=share * float(seconds[index]))
    return spent


class Notices:
    """Posts the conditions of services, each once per change. One for all services; used by one thread.

    posted: all conditions that stand at the collector at an instant; raises StoreError. Those of ours that another life
    or another forecaster posted are taken over by who begins to tell, and ended when they are over.
    """

    def __init__(
        self,
        collector_url: str,
        http: httpx.Client,
        *,
        headers: Mapping[str, str] | None = None,
        posted: Callable[[datetime], Sequence[Condition]] = lambda _: (),
    ) -> None:
        self._url, self._http, self._headers = f"{collector_url}/v1/alerts", http, dict(headers or {})
        self._read_posted = posted
        self._posted: dict[tuple[str, str], tuple[Notice, datetime]] = {}
        self._told_at: dict[str, datetime] = {}

    def __call__(self, service: str, notices: Sequence[Notice], *, now: datetime) -> None:
        """Tell what has begun, changed or ended. Raises AlertsUnavailableError: the next call tells the rest."""
        self._adopt_posted(service, now)
        present = {notice.name: notice for notice in notices}
        for notice in present.values():
            before = self._posted.get((service, notice.name))
            fresh = before is not None and timedelta(0) <= now - before[1] < _AGAIN_AFTER
            if before is None or not fresh or before[0].gist != notice.gist:
                self._post(service, notice, breached=True)
                self._posted[service, notice.name] = (notice, now)
        for of, name in [key for key in self._posted if key[0] == service and key[1] not in present]:
            self._post(of, self._posted[of, name][0], breached=False)
            del self._posted[of, name]

    def _adopt_posted(self, service: str, now: datetime) -> None:
        """Take over what stands of a service, before the first word about it and after a silence: others told then."""
        before = self._told_at.get(service)
        if before is not None and timedelta(0) <= now - before < _AGAIN_AFTER:
            self._told_at[service] = now
            return
        try:
            posted = self._read_posted(now)
        except StoreError:
            return  # asked again at the next word; the conditions expire by themselves
        self._told_at[service] = now
        for one in posted:
            if one.service == service and one.verdict == "breached" and one.name.startswith(OWN_NAMES):
                notice = Notice(one.name, one.severity, one.summary)
                self._posted.setdefault((service, one.name), (notice, now - _AGAIN_AFTER))

    def _post(self, service: str, notice: Notice, *, breached: bool) -> None:
        body = {
            "service": service,
            "name": notice.name,
            "severity": notice.severity,
            "breached": breached,
            "summary": (notice.summary if breached else f"over: {notice.summary}")[:_SUMMARY_LENGTH],
            "details": dict(notice.details),
            "expires_in_seconds": int(_EXPIRES.total_seconds()),
        }
        try:
            self._http.post(self._url, json=body, headers=self._headers).raise_for_status()
        except httpx.HTTPError as error:
            raise AlertsUnavailableError(f"{self._url}: {error}") from error


OWN_NAMES = ("scaling-", "recommend-floor-", "budget-spent-")  # how the names of our conditions begin


def _warned(warning: PlanWarning) -> Notice:
    details: dict[str, Any] = {"kind": warning.kind}
    if warning.expected_at is not None:
        details["expected_at"] = text_of(warning.expected_at)
    if warning.probability is not None:
        details["probability"] = warning.probability
    severity: Severity = "info" if warning.kind in _INFORMS else "ticket"
    return Notice(f"scaling-{warning.kind.replace('_', '-')}", severity, warning.text, details)


def _recommended(decision: Decision, decision_id: str) -> Notice:
    verb = "raising" if decision.floor_after > decision.floor_before else "lowering"
    why = decision.reasons[0] if decision.reasons else "no reason was given"
    summary = (
        f"recommends {verb} the floor of {decision.service} from {decision.floor_before} to {decision.floor_after}:"
        f" {why}. `tidegauge scale apply {decision.service}` does it"
    )
    details = {"decision_id": decision_id, "floor_before": decision.floor_before, "floor_after": decision.floor_after}
    return Notice(f"recommend-floor-{decision.floor_after}", "ticket", summary, details)


def _spent_soon(status: SloStatus, at: datetime, now: datetime) -> Notice:
    hours = (at - now).total_seconds() / 3600
    summary = (
        f"at the forecast's traffic and the present share of errors the budget of {status.slo.name} is spent in"
        f" {hours:.1f} h, at {at:%Y-%m-%d %H:%M} UTC"
    )
    return Notice(f"budget-spent-{status.slo.name}", "ticket", summary, {"spent_at": text_of(at)})
