"""When a forecast is no longer what it was: the last day against the week before it, and its coverage. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forecaster.scores.score import BUCKETS, Score, Summary, summarise

RECENT = timedelta(days=1)
BEFORE = timedelta(days=7)
LEAST_RECENT = timedelta(hours=6)  # origins that reach over less say nothing yet
WORSE_FACTOR = 1.5  # of the quantile loss of the week before
WATCHED_FROM = 0.9  # the levels that floors rest on
LEAST_SHORTFALL = 0.05
DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class Drift:
    """reasons: what has drifted, in words with figures; none: nothing has. compared: there was enough to say."""

    compared: bool
    reasons: tuple[str, ...] = ()


def drift_of(scores: Sequence[Score], *, now: datetime) -> Drift:
    """Compare the forecasts whose last truth came in the last day with those of the seven days before.

    Drift is a quantile loss that is both 1.5 times that of the week before and worse than the seasonal naive one; or a
    level of 0.9 and more that covers less than it says, by 5 points and by three standard deviations. Errors of one
    hour go together, so an hour counts as one draw.
    """
    recent = came_between(scores, now - RECENT, now)
    before = came_between(scores, now - RECENT - BEFORE, now - RECENT)
    reasons: list[str] = []
    compared = False
    earlier = {summary.bucket: summary for summary in summarise(before)}
    for summary in summarise(recent):
        origins = [score.origin for score in recent if score.bucket == summary.bucket]
        if max(origins) - min(origins) < LEAST_RECENT:
            continue
        compared = True
        hours = len({int(origin.timestamp()) // 3600 for origin in origins})
        reasons += [*_worse(summary, earlier.get(summary.bucket)), *_short(summary, hours)]
    return Drift(compared, tuple(reasons))


def came_between(scores: Sequence[Score], since: datetime, until: datetime) -> list[Score]:
    """Return the scores with any truth whose bucket ended with since < end <= until."""
    reach = {bucket.name: bucket.until for bucket in BUCKETS}
    return [score for score in scores if score.points and since < score.origin + reach[score.bucket] <= until]


def _worse(now: Summary, before: Summary | None) -> list[str]:
    if before is None or not before.quantile_loss or now.quantile_loss is None or now.relative_quantile_loss is None:
        return []
    factor = now.quantile_loss / before.quantile_loss
    if factor <= WORSE_FACTOR or now.relative_quantile_loss <= 1:
        return []
    return [
        f"to {now.bucket}: the quantile loss of the last day is {factor:.1f} times that of the week before"
        f" and {now.relative_quantile_loss:.2f} times the seasonal naive one"
    ]


def _short(now: Summary, draws: int) -> list[str]:
    found = []
    for level, share in now.coverage.items():
        allowed = max(LEAST_SHORTFALL, DEVIATIONS * math.sqrt(level * (1 - level) / draws))
        if level >= WATCHED_FROM and share < level - allowed:
            found.append(f"to {now.bucket}: {share:.0%} of the last day's demand was under the {level:g} quantile")
    return found
