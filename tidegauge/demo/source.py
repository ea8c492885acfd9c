"""Where the demo's traffic comes from: a file's, or loadgen's own daily and weekly shape."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from collector.sources.files import parse_csv
from loadgen.shape import daily_weekly_rps

OWN_HISTORY = timedelta(days=42)


def read_rates(trace: Path | None, *, ends_at: datetime, seed: int) -> tuple[pd.DataFrame, str]:
    """Return (`timestamp`, `rps`) of the whole curve and what to call it. Raises the file's own errors.

    ends_at: where loadgen's own shape ends; a file keeps its own time (the story moves it).
    """
    if trace is None:
        end = ends_at.replace(second=0, microsecond=0)
        rates = daily_weekly_rps(end - OWN_HISTORY, end, step=timedelta(minutes=1), peak_rps=1.0, seed=seed)
        return rates, "loadgen's own daily and weekly shape"
    imported = parse_csv(trace)
    seconds = imported.step.total_seconds()
    rates = pd.DataFrame({"timestamp": imported.frame["ds"], "rps": imported.frame["value"] / seconds})
    return rates, str(trace)
