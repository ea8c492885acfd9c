"""What receivers are told: notices of one service become messages of each receiver's own form. Pure.

Forms: Alertmanager's webhook (version 4) and its API v2, Slack's incoming webhook, PagerDuty's Events v2, a template.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from string import Template
from typing import Any

from collector.alerts.receivers import Receiver
from collector.alerts.state import Notice

_ZERO_TIME = "0001-01-01T00:00:00Z"  # what Alertmanager says for an end that is not known
_PAGERDUTY_SEVERITIES = {"page": "critical", "ticket": "warning", "info": "info"}
_LONGEST_SUMMARY, _LONGEST_DEDUP_KEY = 1024, 255


@dataclass(frozen=True, slots=True)
class Message:
    """One body for one receiver. message_id: the same at every attempt; order_key: sent in order within one."""

    message_id: str
    receiver: str
    order_key: str
    body: bytes


def messages_for(receiver: Receiver, notices: Sequence[Notice], *, now: datetime, repeat: timedelta) -> list[Message]:
    """Return the messages that tell a receiver of the notices, grouped by service."""
    wanted = sorted((each for each in notices if receiver.wants(each.alert)), key=lambda each: each.alert.service)
    messages = []
    for service, group in groupby(wanted, key=lambda each: each.alert.service):
        if receiver.settings.kind in ("pagerduty", "template"):
            messages += [_message(receiver, service, [each], now, repeat) for each in group]
        else:
            messages.append(_message(receiver, service, list(group), now, repeat))
    return messages


def _message(
    receiver: Receiver, service: str, group: list[Notice], now: datetime, repeat: timedelta
) -> Message:  # fmt: skip
    told = sorted(f"{each.alert.episode}/{each.reason}/{each.alert.notifications}" for each in group)
    identity = hashlib.sha256("\n".join([receiver.name, *told]).encode()).hexdigest()[:32]
    return Message(f"msg_{identity}", receiver.name, service, _body(receiver, service, group, now, repeat))


def _body(receiver: Receiver, service: str, group: list[Notice], now: datetime, repeat: timedelta) -> bytes:
    kind = receiver.settings.kind
    if kind == "template":
        return _templated(receiver.settings.template or "", group[0])
    document: Any
    if kind == "alertmanager":
        document = [_api_alert(each, now, repeat) for each in group]
    elif kind == "slack":
        document = {"text": "\n".join(_slack_line(each) for each in group)}
    elif kind == "pagerduty":
        document = _pagerduty_event(group[0])
    else:
        document = _webhook(receiver.name, service, group)
    return json.dumps(document, sort_keys=True).encode()


def _labels(notice: Notice) -> dict[str, str]:
    alert = notice.alert
    return {
        "alertname": alert.name, "service": alert.service, "severity": alert.severity, "kind": alert.kind,
    }  # fmt: skip


def _annotations(notice: Notice) -> dict[str, str]:
    return {"summary": notice.alert.summary, "details": json.dumps(dict(notice.alert.details), sort_keys=True)}


def _status(notice: Notice) -> str:
    return "resolved" if notice.reason == "resolved" else "firing"


def _webhook(receiver: str, service: str, group: list[Notice]) -> dict[str, Any]:
    alerts = [
        {
            "status": _status(each),
            "labels": _labels(each),
            "annotations": _annotations(each),
            "startsAt": _instant(each.alert.started_at),
            "endsAt": _instant(each.alert.ended_at) if each.alert.ended_at else _ZERO_TIME,
            "generatorURL": "",
            "fingerprint": hashlib.sha256(each.alert.alert_id.encode()).hexdigest()[:16],
        }
        for each in group
    ]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{service="{service}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if any(_status(each) == "firing" for each in group) else "resolved",
        "receiver": receiver,
        "groupLabels": {"service": service},
        "commonLabels": _shared([_labels(each) for each in group]),
        "commonAnnotations": _shared([_annotations(each) for each in group]),
        "externalURL": "",
        "alerts": alerts,
    }


def _shared(mappings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = mappings
    return {key: value for key, value in first.items() if all(each.get(key) == value for each in others)}


def _api_alert(notice: Notice, now: datetime, repeat: timedelta) -> dict[str, Any]:
    # Alertmanager forgets an alert that nobody repeats: it must outlast our own repeat interval.
    ends = notice.alert.ended_at if notice.reason == "resolved" else now + 2 * repeat
    return {
        "labels": _labels(notice),
        "annotations": _annotations(notice),
        "startsAt": _instant(notice.alert.started_at),
        "endsAt": _instant(ends or now),
    }


def _slack_line(notice: Notice) -> str:
    text = notice.alert.summary.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"*{notice.reason}* ({notice.alert.severity}) {text}"


def _pagerduty_event(notice: Notice) -> dict[str, Any]:
    # The routing key is a secret: it is put in when the message is sent, and never lies in the outbox.
    alert = notice.alert
    digest = hashlib.sha256(alert.episode.encode()).hexdigest()
    return {
        "event_action": "resolve" if notice.reason == "resolved" else "trigger",
        "dedup_key": alert.episode if len(alert.episode) <= _LONGEST_DEDUP_KEY else digest,
        "client": "Tidegauge",
        "payload": {
            "summary": alert.summary[:_LONGEST_SUMMARY],
            "source": alert.service,
            "severity": _PAGERDUTY_SEVERITIES[alert.severity],
            "timestamp": _instant(alert.started_at),
            "component": alert.name,
            "class": alert.kind,
            "custom_details": dict(alert.details),
        },
    }


def _templated(template: str, notice: Notice) -> bytes:
    alert = notice.alert
    values = {
        "status": _status(notice),
        "reason": notice.reason,
        "alert_id": alert.alert_id,
        "service": alert.service,
        "name": alert.name,
        "severity": alert.severity,
        "summary": alert.summary,
        "started_at": _instant(alert.started_at),
        "details": json.dumps(dict(alert.details), sort_keys=True),
    }
    escaped = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    return Template(template).substitute(escaped).encode()


def _instant(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def all_messages(
    receivers: Iterable[Receiver], notices: Sequence[Notice], *, now: datetime, repeat: timedelta
) -> list[Message]:
    """Return the messages for every receiver."""
    return [each for receiver in receivers for each in messages_for(receiver, notices, now=now, repeat=repeat)]
