"""OpenSLO v1 documents as SLOs of tidegauge.yaml. Pure. What cannot be expressed here is refused, with its place.

Not expressed here: time slices, composite SLOs, rolling months, a calendar that does not begin with its period. A
source that is not ours is a query we cannot read: who imports it says what it measures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from collector.catalog import CatalogError, parse_catalog
from collector.checked_yaml import Block, read_roots
from collector.slo.openslo import API_VERSION, PERIOD_DURATIONS, SCOPE_KEYS, SOURCE_TYPE, duration_text

_PERIODS = {duration: period for period, duration in PERIOD_DURATIONS.items()}
Entry = dict[str, Any]


def imported(text: str, *, name: str, measure: str | None = None) -> tuple[dict[str, list[Entry]], list[str]]:
    """Return the entries of `slos` by service, and what was left out. Raises CatalogError.

    measure: what SLOs of other sources measure: `availability`, or `latency:` and a duration.
    """
    documents = [_checked(root) for root in read_roots(text, name=name)]
    indicators = {
        _metadata_name(root): root.required("spec") for root in documents if root.required("kind").text() == "SLI"
    }
    services: dict[str, list[Entry]] = {}
    notes: list[str] = []
    for root in documents:
        kind = root.required("kind").text()
        if kind == "SLO":
            service, entries = _slo(root, indicators, measure, notes)
            services.setdefault(service, []).extend(entries)
        elif kind not in ("Service", "SLI"):
            notes.append(f"{kind} {_metadata_name(root)}: left out, alerts are said by `alerts` of tidegauge.yaml")
    _check_again(services, name)
    return services, notes


def _checked(root: Block) -> Block:
    root.required("apiVersion").one_of(API_VERSION)
    root.required("kind").one_of(
        "SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"
    )
    return root


def _metadata_name(root: Block) -> str:
    return root.required("metadata").required("name").text()


def _slo(
    root: Block, indicators: Mapping[str, Block], measure: str | None, notes: list[str]
) -> tuple[str, list[Entry]]:
    spec, name = root.required("spec"), _shown_name(root.required("metadata"))
    if spec.required("budgetingMethod").text() != "Occurrences":
        spec.required("budgetingMethod").refuse("Occurrences: time slices are not known here")
    if spec.optional("alertPolicies", Block.sequence):
        notes.append(f"{name}: its alert policies are left out, alerts are said by `alerts` of tidegauge.yaml")
    measured = _measured(_indicator(spec, indicators), measure)
    service = str(measured.pop("service", "")) or spec.required("service").text()
    window = _window(spec.required("timeWindow"))
    targets = [_target(each) for each in spec.required("objectives").sequence()]
    if not targets:
        spec.required("objectives").refuse("at least one objective", "an empty list")
    names = [name] if len(targets) == 1 else [f"{name}-{number}" for number in range(1, len(targets) + 1)]
    return service, [
        {"name": each, "kind": measured["kind"], "target": target, **window, **_without_kind(measured)}
        for each, target in zip(names, targets, strict=True)
    ]


def _without_kind(measured: Entry) -> Entry:
    return {key: value for key, value in measured.items() if key != "kind"}


def _shown_name(metadata: Block) -> str:
    """Return the name; as it is displayed where that is the same but for what OpenSLO does not allow in names."""
    name, shown = metadata.required("name").text(), metadata.optional("displayName", Block.text)
    same = shown is not None and shown.lower().replace("_", "-").replace(" ", "-") == name
    return shown if same and shown is not None else name


def _indicator(spec: Block, indicators: Mapping[str, Block]) -> Block:
    reference = spec.optional("indicatorRef", Block.text)
    if reference is None:
        return spec.required("indicator").required("spec")
    if reference not in indicators:
        spec.required("indicatorRef").refuse("an SLI of the same file", repr(reference))
    return indicators[reference]


def _measured(indicator: Block, measure: str | None) -> Entry:
    """Return what is measured: kind, threshold, scope, and the service where our own source says it."""
    sources = list(_sources(indicator))
    ours = next((each for each in sources if each.optional("type", Block.text) == SOURCE_TYPE), None)
    if ours is None:
        return _as_said(indicator, measure)
    good = sources[0].required("spec")
    good.only("service", "kind", "within", *SCOPE_KEYS)
    measured: Entry = {"kind": good.required("kind").one_of("availability", "latency")}
    for key in ("service", *SCOPE_KEYS):
        if (value := good.optional(key, Block.text)) is not None:
            measured[key] = value
    if (within := good.optional("within", Block.duration)) is not None:
        measured["threshold"] = duration_text(within)
    return measured


def _sources(indicator: Block) -> list[Block]:
    ratio = indicator.optional("ratioMetric", lambda block: block)
    if ratio is None:
        return [indicator.required("thresholdMetric").required("metricSource")]
    parts = [ratio.optional(key, _source) for key in ("good", "bad", "raw", "total")]
    return [part for part in parts if part is not None]


def _source(part: Block) -> Block:
    return part.required("metricSource")


def _as_said(indicator: Block, measure: str | None) -> Entry:
    if measure is None:
        indicator.refuse(
            f"a metricSource of type {SOURCE_TYPE}, or --measure with what it measures (availability or latency:500ms)",
            "a source whose query cannot be read here",
        )
    kind, _, threshold = measure.partition(":")
    if kind == "availability" and not threshold:
        return {"kind": kind}
    if kind == "latency" and threshold:
        return {"kind": kind, "threshold": threshold}
    raise CatalogError(f"--measure: expected availability or latency:DURATION, got {measure!r}")


def _target(objective: Block) -> float:
    if "indicator" in objective.entries() or "indicatorRef" in objective.entries():
        objective.refuse("an objective without an indicator of its own: composite SLOs are not known here", "one")
    percent = objective.optional("targetPercent", lambda block: block.number("0 to 100", lambda value: 0 < value < 100))
    if percent is not None:
        return round(percent / 100, 12)
    return objective.required("target").number("a ratio between 0 and 1", lambda value: 0 < value < 1)


def _window(block: Block) -> Entry:
    windows = block.sequence()
    if len(windows) != 1:
        block.refuse("exactly one window", f"{len(windows)}")
    (window,) = windows
    duration = window.required("duration")
    if window.optional("isRolling", Block.flag):
        return {"window": _rolling(duration)}
    period = _PERIODS.get(duration.text())
    if period is None:
        duration.refuse("1w, 1M or 1Q of a calendar window")
    calendar = window.required("calendar")
    _begins_with(calendar.required("startTime"), period)
    zone = calendar.required("timeZone").text()
    return {"window": period, "timezone": "UTC" if zone == "Etc/UTC" else zone}


def _rolling(duration: Block) -> str:
    text = duration.text()
    if text[-1:] not in tuple("mhdw") or not text[:-1].isdecimal():
        duration.refuse("whole minutes, hours, days or weeks of a rolling window (m, h, d, w)")
    count = int(text[:-1])
    return f"{count * 7}d" if text[-1] == "w" else f"{count}{text[-1]}"


def _begins_with(start: Block, period: str) -> None:
    try:
        instant = datetime.strptime(start.text(), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - local, of the zone beside it
    except ValueError:
        start.refuse("an instant like 2024-01-01 00:00:00")
    begins = {
        "week": instant.weekday() == 0,
        "month": instant.day == 1,
        "quarter": instant.day == 1 and instant.month % 3 == 1,
    }[period]
    if not begins or instant.time() != datetime.min.time():
        start.refuse(f"the begin of a {period} at midnight: windows begin with their period here")


def _check_again(services: Mapping[str, list[Entry]], name: str) -> None:
    """Have the reader of tidegauge.yaml judge what was made: names twice, thresholds, zones."""
    document = {"version": 1, "services": {key: {"source": "events", "slos": slos} for key, slos in services.items()}}
    parse_catalog(json.dumps(document), name=f"{name} (as SLOs)")
