"""What happened, as marks over the figures, pure: deploys, scale events, load tests, alerts, maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from collector.alerts.history import FiredAlert
from collector.record.store import LoadRun, Marker
from dashboard.charts.figure import NO_MARKS
from forecaster.store import StoredDecision

# Told apart by shape: colour alone tells too few.
GLYPHS = {"deploy": "▲", "scaling": "◆", "load test": "●", "alert": "✖", "maintenance": "▬", "other": "▽"}
MOST_MARKS = 60


def marks_of(
    *,
    markers: Sequence[Marker] = (),
    decisions: Sequence[StoredDecision] = (),
    runs: Sequence[LoadRun] = (),
    alerts: Sequence[FiredAlert] = (),
    since: datetime,
    until: datetime,
) -> pd.DataFrame:
    """Return `ds, glyph, kind, text` of what began in [since, until), the newest MOST_MARKS of it, ascending."""
    told: list[tuple[datetime, str, str]] = [(each.starts_at, _kind(each), each.text) for each in markers]
    for stored in decisions:
        before, after = stored.decision.floor_before, stored.decision.floor_after
        if stored.applied and before != after:
            told.append((stored.decision.at, "scaling", f"floor {before} → {after}"))
    told += [(run.started_at, "load test", f"{run.scenario}: {run.status}") for run in runs]
    told += [(alert.fired_at, "alert", f"{alert.name} ({alert.severity})") for alert in alerts]
    kept = sorted(each for each in told if since <= each[0] < until)[-MOST_MARKS:]
    if not kept:
        return NO_MARKS
    frame = pd.DataFrame(kept, columns=["ds", "kind", "text"])
    ds = pd.to_datetime(frame["ds"], utc=True).dt.as_unit("us")
    return frame.assign(ds=ds, glyph=frame["kind"].map(GLYPHS))[["ds", "glyph", "kind", "text"]]


def _kind(marker: Marker) -> str:
    if marker.excludes_slo:
        return "maintenance"
    return "deploy" if marker.kind == "deploy" else "other"


def legend_of(marks: pd.DataFrame) -> str:
    """Return what the glyphs of these marks mean, in one line; nothing where there are none."""
    kinds = [kind for kind in GLYPHS if (marks["kind"] == kind).any()]
    return " · ".join(f"{GLYPHS[kind]} {kind}" for kind in kinds)
