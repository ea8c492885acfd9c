"""Thirty days ahead: the daily peak hour's and the daily mean's accuracy, on each trace that is long enough.

    python -m benchmarks.outlook [--traces DIR] [--cutoffs 14] [--days 30]

Cutoffs are spread evenly over the last third; a trace needs a year before it. Quantile loss is the mean over .1, .5,
.9, .95 and .99 of 2 x pinball / demand; MASE is scaled by the in-sample error of the same day a week before.
Beside ours: the same weekday of last week, the same day a year ago, the best that was measured elsewhere (four weeks'
profile times the square root of last year's movement, with fixed multipliers), and statsforecast's ETS and Theta on the
last 60 weeks where that extra is installed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks.forecast import read_trace
from forecaster.forecast.interface import Past, Refusal
from forecaster.forecast.statsforecast_adapter import Adapted, statsforecast_models
from forecaster.forecast.windows import DAY_SECONDS
from forecaster.outlook.daily import Array, days_of
from forecaster.outlook.outlook import OutlookError, quantiles_of
from forecaster.outlook.paths import LEVEL_DAYS, WEEK, YEAR, paths_of

LEVELS = (0.1, 0.5, 0.9, 0.95, 0.99)
FIXED = np.array([0.9, 1.0, 1.12, 1.18, 1.3])
LEAST_DAYS = YEAR + 2 * LEVEL_DAYS
FOREIGN_DAYS = 60 * WEEK
AROUND = 10  # days on either side of a day a year ago, for the profile with last year's movement

Ahead = Callable[[Array, int], Array]


@dataclass(frozen=True, slots=True)
class DailyScore:
    """One model over all cutoffs. coverage: by level, the share of days at or below it."""

    model: str
    wql: float
    mase: float
    coverage: tuple[float, ...]


def ours(values: Array, days: int) -> Array:
    """Return (days, levels) of the outlook."""
    paths = paths_of(values, days)
    if paths is None:
        raise ValueError("expected a history that an outlook can rest on")
    return quantiles_of(paths, LEVELS)


def copied(season: int) -> Ahead:
    """Return the model `as one season ago`, with the quantiles of its own errors of the last year."""

    def ahead(values: Array, days: int) -> Array:
        index = np.arange(days) % season
        found = []
        for at in range(len(values) - days, max(season, len(values) - YEAR) - 1, -WEEK):
            with np.errstate(divide="ignore", invalid="ignore"):
                error = values[at : at + days] / values[at - season + index]
            if np.isfinite(error).all():
                found.append(error)
        spread = np.quantile(np.stack(found), LEVELS, axis=0).T
        answer: Array = np.sort(_filled(values)[len(values) - season + index][:, None] * spread, axis=1)
        return answer

    return ahead


def profile_with_year(values: Array, days: int) -> Array:
    """Return four weeks' profile times the square root of last year's movement, with fixed multipliers."""
    end, ahead = len(values), np.arange(days)
    profile = np.nanmean(values[end - LEVEL_DAYS :].reshape(-1, WEEK), axis=0)[ahead % WEEK]
    before = np.nanmean(values[end - YEAR - LEVEL_DAYS : end - YEAR])
    beside = values[end - YEAR + ahead[:, None] + np.arange(-AROUND, AROUND + 1)]
    answer: Array = (profile * np.sqrt(np.nanmean(beside, axis=1) / before))[:, None] * FIXED
    return answer


def foreign(build: Callable[[], Adapted]) -> Ahead:
    """Return a model of statsforecast's, on daily values; raises OutlookError where it gives a reason instead."""

    def ahead(values: Array, days: int) -> Array:
        past = Past(values[-FOREIGN_DAYS:], DAY_SECONDS, 0)
        answer = build().predict(past, np.arange(days), np.array(LEVELS))
        if isinstance(answer, Refusal):
            raise OutlookError(answer.reason)
        return answer

    return ahead


MODELS: dict[str, Ahead] = {
    "ours": ours,
    "last week": copied(WEEK),
    "last year": copied(YEAR),
    "profile x year": profile_with_year,
    **{name: foreign(build) for name, build in statsforecast_models().items() if name != "mstl_ets"},
}


def score_days(values: Array, *, days: int, cutoffs: int) -> list[DailyScore]:
    """Score every model from cutoffs in the last third of daily values (NaN: not scored)."""
    at = np.linspace(2 * len(values) // 3, len(values) - days, cutoffs).astype(int)
    truth = np.concatenate([values[cut : cut + days] for cut in at])
    known = np.isfinite(truth)
    scale = np.nanmean(np.abs(values[WEEK : at[0]] - values[: at[0] - WEEK]))
    levels = np.array(LEVELS)
    found = []
    for name, model in MODELS.items():
        answer = np.concatenate([model(values[:cut], days) for cut in at])[known]
        over = truth[known][:, None] - answer
        pinball = np.maximum(levels * over, (levels - 1) * over)
        covered = tuple(float(share) for share in (over <= 0).mean(axis=0))
        wql = float(2 * pinball.sum(axis=0).mean() / np.abs(truth[known]).sum())
        found.append(DailyScore(name, wql, float(np.abs(over[:, 1]).mean() / scale), covered))
    return found


def _filled(values: Array) -> Array:
    whole = values.copy()
    for index in np.flatnonzero(~np.isfinite(values)):
        whole[index] = whole[index - WEEK] if index >= WEEK else np.nanmean(values)
    return whole


def show(title: str, scores: list[DailyScore]) -> None:
    """Print a table of one trace's scores."""
    print(title)
    print(f"  {'model':16}{'WQL':>8}{'MASE':>8}" + "".join(f"{'<=' + str(level):>8}" for level in LEVELS))
    for one in scores:
        covered = "".join(f"{share:8.3f}" for share in one.coverage)
        print(f"  {one.model:16}{one.wql:8.4f}{one.mase:8.3f}{covered}")


def told(score: DailyScore) -> dict[str, object]:
    """Return a score for the JSON file."""
    coverage = dict(zip(LEVELS, score.coverage, strict=True))
    return {"model": score.model, "wql": score.wql, "mase": score.mase, "coverage": coverage}


def main() -> int:
    """Print a table per trace that is long enough; exit 0 also when there is none, after saying so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=Path("../shared/traces"))
    parser.add_argument("--cutoffs", type=int, default=14)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    scored: dict[str, dict[str, list[dict[str, object]]]] = {}
    short = []
    for path in sorted(arguments.traces.glob("*.csv")):
        series = read_trace(path, part="last")
        end = series.frame["ds"].iloc[-1].to_pydatetime() + series.step
        days = days_of(series, ZoneInfo("UTC"), until=end)
        if 2 * len(days.peak) // 3 < LEAST_DAYS:
            short.append(path.stem)
            continue
        scored[path.stem] = {}
        for kind, values in (("peak hour", days.peak), ("mean", days.mean)):
            scores = score_days(values, days=arguments.days, cutoffs=arguments.cutoffs)
            scored[path.stem][kind] = [told(one) for one in scores]
            show(f"{path.stem}, daily {kind}, {arguments.days} days ahead from {arguments.cutoffs} cutoffs", scores)
    too_short = f"under {LEAST_DAYS * 3 // 2} days, so not scored: {', '.join(short) or 'none'}"
    print(f"long enough: {len(scored)} ({', '.join(scored) or 'none'}); {too_short}")
    if arguments.json:
        arguments.json.write_text(json.dumps(scored, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
