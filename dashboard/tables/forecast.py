"""Scores and events as rows to be read, pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from dashboard.words import HORIZONS, NONE, clock_time, percent, roughly
from forecaster.calendar.types import Event
from forecaster.scores.score import Summary


def score_table(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Return one row per bucket of horizons: skill and errors against seasonal-naive, and what each level covered."""
    return pd.DataFrame(
        [
            {
                "ahead": HORIZONS.get(summary.bucket, summary.bucket),
                "forecasts": f"{summary.origins:,}",
                "skill": percent(summary.skill, 1),
                "quantile loss": percent(summary.quantile_loss, 1),
                "error, of naive's": percent(summary.relative_error, 0),
                **{f"under {level:g}": percent(share, 1) for level, share in sorted(summary.coverage.items())},
            }
            for summary in summaries
        ]
    )


def event_table(events: Sequence[Event], *, now: datetime, zone: str | None = None) -> pd.DataFrame:
    """Return one row per event, those to come first, then the past ones from the newest on."""
    ahead = sorted((event for event in events if event.ends_at > now), key=lambda event: event.starts_at)
    over = sorted((event for event in events if event.ends_at <= now), key=lambda event: event.starts_at, reverse=True)
    return pd.DataFrame(
        [
            {
                "when": clock_time(event.starts_at, zone),
                "lasts": roughly(event.ends_at - event.starts_at),
                "kind": event.kind,
                "name": event.name or NONE,
                "expected": NONE if event.factor is None else f"× {event.factor:g}",
                "state": "over" if event.ends_at <= now else "now" if event.starts_at <= now else "ahead",
            }
            for event in (*ahead, *over)
        ]
    )
