"""SLOs as OpenSLO v1 documents. Pure; the way back is collector.slo.openslo_import.

What is measured stands in a metricSource of type `Tidegauge`, which OpenSLO leaves to each system. OpenSLO v1 has one
look-back window per alert condition, so burn-rate pairs cannot be said in it; nor can the guard for low traffic, the
classic rule and maintenance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from collector.catalog import CatalogError, Service, Slo

API_VERSION = "openslo/v1"
SOURCE_TYPE = "Tidegauge"
SCOPE_KEYS = ("route", "region", "version")
PERIOD_DURATIONS = {"week": "1w", "month": "1M", "quarter": "1Q"}
# A Monday that begins a week, a month and a quarter.
CALENDAR_START = "2024-01-01 00:00:00"
_NAME = re.compile(r"[a-z0-9][a-z0-9.|/\\-]*")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def exported(service: Service, slos: Sequence[Slo]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the documents, and what they cannot say. Raises CatalogError for a name that OpenSLO does not allow."""
    documents = [
        {
            "apiVersion": API_VERSION,
            "kind": "Service",
            "metadata": {"name": _name(service.name)},
            "spec": {"description": service.description[:1050]} if service.description else {},
        },
        *(_slo(service, slo) for slo in slos),
    ]
    notes = ["OpenSLO v1 cannot say burn-rate alerts over two windows: they are not exported"]
    if service.classic_rule is not None:
        notes.append("OpenSLO v1 cannot say the classic rule: it is not exported")
    return documents, notes


def _slo(service: Service, slo: Slo) -> dict[str, Any]:
    scope = {key: value for key in SCOPE_KEYS if (value := getattr(slo, key)) is not None}
    total: dict[str, Any] = {"service": service.name, "kind": slo.kind, **scope}
    good = total if slo.threshold is None else {**total, "within": duration_text(slo.threshold)}
    name = _name(slo.name)
    return {
        "apiVersion": API_VERSION,
        "kind": "SLO",
        "metadata": {"name": name, "displayName": slo.name},
        "spec": {
            "service": _name(service.name),
            "indicator": {
                "metadata": {"name": f"{name}-indicator"},
                "spec": {
                    "ratioMetric": {
                        "counter": True,
                        "good": {"metricSource": {"type": SOURCE_TYPE, "spec": good}},
                        "total": {"metricSource": {"type": SOURCE_TYPE, "spec": dict(total)}},
                    }
                },
            },
            "timeWindow": [_window(slo)],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": slo.name, "target": slo.target}],
        },
    }


def _name(text: str) -> str:
    name = text.lower().replace("_", "-").replace(" ", "-")
    if not _NAME.fullmatch(name) or len(name) > 245:
        raise CatalogError(f"{text!r}: expected a name of small letters, digits and dashes, as OpenSLO demands")
    return name


def _window(slo: Slo) -> dict[str, Any]:
    if slo.calendar is None:
        seconds = int(slo.window.total_seconds())
        size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
        return {"duration": f"{seconds // size}{unit}", "isRolling": True}
    zone = "Etc/UTC" if slo.calendar.timezone == "UTC" else slo.calendar.timezone  # its zones have a region
    return {
        "duration": PERIOD_DURATIONS[slo.calendar.period],
        "isRolling": False,
        "calendar": {"startTime": CALENDAR_START, "timeZone": zone},
    }


def duration_text(span: timedelta) -> str:
    """Return a span as tidegauge.yaml writes it: 500ms, 2s, 30d."""
    milliseconds = span / timedelta(milliseconds=1)
    if milliseconds % 1000:
        return f"{milliseconds:.10g}ms"
    seconds = int(milliseconds // 1000)
    size, unit = next((size, unit) for size, unit in (*_UNITS, (1, "s")) if seconds % size == 0)
    return f"{seconds // size}{unit}"
