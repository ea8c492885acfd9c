"""Which scores rest on truths that have changed since: late data, a back-fill, a mark that masks them. Pure.

A score keeps how many truths it saw and what they add up to; whether the record still says the same costs two looks at
running sums. So no list of changes has to be kept, and a score made anew is found unchanged the next time.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from forecaster.forecast.types import DemandSeries
from forecaster.forecast.windows import windows_of
from forecaster.scores.score import BUCKETS

SMALLEST = 1e-6  # of a score's demand: less is the order in which figures were added


def changed(scored: pd.DataFrame, series: DemandSeries) -> pd.DataFrame:
    """Return the rows of `scored` whose truths in `series` are others than those that were scored.

    scored: columns bucket, origin (epoch s), points, demand, reach_seconds (how far the forecast goes), all on the
    steps of `series`. Truths changed so that neither their number nor their sum did are not found.
    """
    if scored.empty:
        return scored
    step = series.step.total_seconds()
    sums = windows_of(series.frame["y"].to_numpy(dtype=np.float64), int(step))
    edges = {bucket.name: (bucket.after, bucket.until) for bucket in BUCKETS}
    after, until = (
        scored["bucket"].map({name: _seconds(pair[side]) for name, pair in edges.items()}).to_numpy() for side in (0, 1)
    )
    start = (scored["origin"].to_numpy() - series.frame["ds"].iloc[0].timestamp()) / step
    first = np.round(start + after / step).astype(np.int64)
    last = np.round(start + np.minimum(until, scored["reach_seconds"].to_numpy()) / step).astype(np.int64)
    low, high = (np.clip(edge, 0, sums.length) for edge in (first, np.maximum(first, last)))
    points, demand = sums.counts[high] - sums.counts[low], sums.sums[high] - sums.sums[low]
    told = scored["demand"].to_numpy()
    same = (points == scored["points"].to_numpy()) & (np.abs(demand - told) <= SMALLEST * np.maximum(np.abs(told), 1.0))
    found: pd.DataFrame = scored[~same]
    return found


def _seconds(span: timedelta) -> float:
    return span.total_seconds()
