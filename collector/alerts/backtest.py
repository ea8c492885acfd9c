"""Replays the alert policy over stored minutes: what would have fired, how soon, how rightly. Pure.

It runs the live functions (rules, state, decide) at the end of every minute, on counts the live query would have given.
An incident is a stretch of minutes in which more was bad than the budget allows (those less than JOIN apart are one)
that spent at least a given share of the window's budget. After the Google SRE Workbook, chapter 5: precision is the
share of alerts that meet an incident, recall the share of incidents that an alert meets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from collector.alerts.decide import ServiceView, StoreView, decide
from collector.alerts.settings import AlertPolicy
from collector.alerts.state import Alert, Severity
from collector.catalog import Service, Slo
from collector.slo.objectives import Counts

JOIN = timedelta(minutes=30)
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Minutes:
    """Counts of one SLO by minute: starts (epoch seconds, ascending), valid and good of each; others had none.

    recorded: starts of the minutes in which anything of the service was recorded; None: those of `starts`.
    """

    starts: Sequence[int]
    valid: Sequence[int]
    good: Sequence[int]
    recorded: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """A stretch that spent `budget_share` of the budget of the SLO's window (1: all of it)."""

    starts_at: datetime
    ends_at: datetime
    bad: int
    budget_share: float


@dataclass(frozen=True, slots=True)
class Fired:
    """One alert of the replay. ended_at: None when it fired to the end."""

    severity: Severity
    fired_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """How alerts of one severity met the incidents. None: nothing to take a share or a mean of."""

    severity: Severity
    alerts: int
    precision: float | None
    recall: float | None
    detection: timedelta | None
    reset: timedelta | None


@dataclass(frozen=True, slots=True)
class Backtest:
    """The replay of one SLO."""

    slo: Slo
    incidents: list[Incident]
    fired: list[Fired]
    judgements: list[Judgement]


class _Sums:
    """Counts over any span, from sums that were made once."""

    def __init__(self, minutes: Minutes) -> None:
        self._starts = minutes.starts
        self._recorded = minutes.starts if minutes.recorded is None else minutes.recorded
        self._valid = [0, *accumulate(minutes.valid)]
        self._good = [0, *accumulate(minutes.good)]

    def between(self, since: int, until: int) -> Counts:
        """Return the counts of the minutes that start in [since, until)."""
        first, last = bisect_left(self._starts, since), bisect_left(self._starts, until)
        return Counts(self._valid[last] - self._valid[first], self._good[last] - self._good[first])

    def newest(self, until: int) -> datetime | None:
        """Return the end of the service's newest recorded minute before `until`."""
        position = bisect_left(self._recorded, until)
        return datetime.fromtimestamp(self._recorded[position - 1] + _MINUTE, UTC) if position else None


def backtest(
    service: Service,
    slo: Slo,
    minutes: Minutes,
    policy: AlertPolicy,
    *,
    since: datetime,
    until: datetime,
    significant: float = 0.02,
) -> Backtest:
    """Replay [since, until], both whole minutes; `minutes` begin the policy's longest window earlier.

    significant: the share of the budget that makes a stretch an incident.
    """
    fired = replay(service, slo, minutes, policy, since=since, until=until)
    found = incidents(slo, minutes, since=since, until=until, significant=significant)
    severities = dict.fromkeys(severity for severity, _ in policy.pairs)
    return Backtest(slo, found, fired, [_judged(severity, fired, found) for severity in severities])


def replay(
    service: Service, slo: Slo, minutes: Minutes, policy: AlertPolicy, *, since: datetime, until: datetime
) -> list[Fired]:
    """Return the burn alerts that would have fired, in order."""
    alone, sums = replace(service, slos=(slo,)), _Sums(minutes)
    known: dict[str, Alert] = {}
    fired: dict[str, Fired] = {}
    for end in range(int(since.timestamp()), int(until.timestamp()) + 1, _MINUTE):
        now = datetime.fromtimestamp(end, UTC)
        counts = {window: sums.between(end - int(window.total_seconds()), end) for window in policy.windows}
        view = StoreView([ServiceView(alone, sums.newest(end), [counts])], (), (), ())
        decision = decide(known, (), view, policy, now=now)
        known = decision.alerts
        for alert in decision.changed:
            if alert.kind == "burn" and alert.fired_at is not None:
                fired[alert.episode] = Fired(alert.severity, alert.fired_at, alert.ended_at)
    return sorted(fired.values(), key=lambda each: each.fired_at)


def incidents(
    slo: Slo, minutes: Minutes, *, since: datetime, until: datetime, significant: float
) -> list[Incident]:  # fmt: skip
    """Return the incidents that began in [since, until)."""
    first, last = (bisect_left(minutes.starts, int(at.timestamp())) for at in (since, until))
    span_minutes = (until - since) / timedelta(minutes=1)
    valid = sum(minutes.valid[first:last])
    budget = (1 - slo.target) * valid / span_minutes * (slo.window / timedelta(minutes=1)) if valid else 0.0
    stretches: list[list[int]] = []  # start, end, bad
    for position in range(first, last):
        start, bad = minutes.starts[position], minutes.valid[position] - minutes.good[position]
        if bad <= (1 - slo.target) * minutes.valid[position]:
            continue
        if stretches and start - stretches[-1][1] < JOIN.total_seconds():
            stretches[-1][1:] = [start + _MINUTE, stretches[-1][2] + bad]
        else:
            stretches.append([start, start + _MINUTE, bad])
    return [
        Incident(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC), bad, bad / budget)
        for start, end, bad in stretches
        if bad >= significant * budget
    ]


def _judged(severity: Severity, fired: Sequence[Fired], found: Sequence[Incident]) -> Judgement:
    own = [each for each in fired if each.severity == severity]
    right = [each for each in own if any(_meet(each, incident) for incident in found)]
    first = [next((each for each in own if _meet(each, incident)), None) for incident in found]
    met = [(each, incident) for each, incident in zip(first, found, strict=True) if each is not None]
    return Judgement(
        severity,
        len(own),
        precision=len(right) / len(own) if own else None,
        recall=len(met) / len(found) if found else None,
        detection=_mean([max(timedelta(), each.fired_at - incident.starts_at) for each, incident in met]),
        reset=_mean([each.ended_at - incident.ends_at for each, incident in met if each.ended_at is not None]),
    )


def _meet(alert: Fired, incident: Incident) -> bool:
    return alert.fired_at <= incident.ends_at and (alert.ended_at is None or alert.ended_at >= incident.starts_at)


def _mean(spans: Sequence[timedelta]) -> timedelta | None:
    return sum(spans, timedelta()) / len(spans) if spans else None


def backtest_document(result: Backtest) -> Mapping[str, object]:
    """Return the JSON of one SLO's backtest; ratios 0..1, spans in seconds, null where there is nothing to say."""
    return {
        "slo": result.slo.name,
        "incidents": [
            {
                "starts_at": each.starts_at.isoformat(),
                "ends_at": each.ends_at.isoformat(),
                "bad": each.bad,
                "budget_share": each.budget_share,
            }
            for each in result.incidents
        ],
        "alerts": [
            {
                "severity": each.severity,
                "fired_at": each.fired_at.isoformat(),
                "ended_at": each.ended_at.isoformat() if each.ended_at else None,
            }
            for each in result.fired
        ],
        "judgements": [
            {
                "severity": each.severity,
                "alerts": each.alerts,
                "precision": each.precision,
                "recall": each.recall,
                "mean_detection_seconds": each.detection.total_seconds() if each.detection is not None else None,
                "mean_reset_seconds": each.reset.total_seconds() if each.reset is not None else None,
            }
            for each in result.judgements
        ],
    }


def backtest_lines(result: Backtest) -> list[str]:
    """Return the backtest as lines for a terminal."""
    lines = [f"{result.slo.name}: {len(result.incidents)} incidents"]
    lines += [
        f"  incident {each.starts_at.isoformat()} to {each.ends_at.isoformat()}: {each.bad} bad requests,"
        f" {each.budget_share:.1%} of the budget"
        for each in result.incidents
    ]
    lines += [
        f"  {each.severity} fired {each.fired_at.isoformat()},"
        f" {'resolved ' + each.ended_at.isoformat() if each.ended_at else 'fires still'}"
        for each in result.fired
    ]
    lines += [
        f"  {each.severity}: {each.alerts} alerts, precision {_share(each.precision)}, recall {_share(each.recall)},"
        f" detected after {each.detection if each.detection is not None else '-'},"
        f" reset after {each.reset if each.reset is not None else '-'}"
        for each in result.judgements
    ]
    return lines


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0%}"
