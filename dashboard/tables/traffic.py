"""Traffic over a whole range as rows to be read, pure."""

from __future__ import annotations

import pandas as pd


def totals_table(totals: pd.DataFrame, by: str, label: str) -> pd.DataFrame:
    """Return one row per value, the busiest first: requests, errors in percent, durations in ms (none: empty)."""
    frame = pd.DataFrame(
        {
            label: totals[by].replace("", "(none)"),
            "requests": totals["requests"],
            "share": totals["requests"] / totals["requests"].sum() * 100,
            "errors": totals["errors"],
            "error ratio": totals["errors"] / totals["requests"] * 100,
        }
    )
    for name in ("mean", "p50", "p95", "p99"):
        frame[f"{name}, ms"] = totals[f"{name}_seconds"] * 1000
    return frame.sort_values("requests", ascending=False, ignore_index=True)
