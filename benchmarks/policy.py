"""Scaling policies on real traces: ours beside the reactive autoscaler, what others ship, and the bounds.

    python -m benchmarks.policy [--traces DIR] [--part last|tuning] [--only NAMES] [--seed 1] [--processes 2]
        [--data DIR] [--json FILE] [--no-speed]

Every trace with a step of five minutes or less, capacity set so that its peak needs 20 replicas, start delay 2 min,
lead 15 min, the last third of it (with `--part tuning` the last third of its first two thirds, on which settings may
be chosen). Forecasts are kept in --data and made once; a missing folder of traces is a skip, with the reason.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.circumstances import circumstances
from benchmarks.policy_comparison import LEVELS, SHORT_ENOUGH, against, against_reactive, realised
from benchmarks.policy_speed import decisions_seconds, play_seconds
from collector.sources.files import parse_csv
from forecaster.forecast.types import DemandSeries
from forecaster.judging.check import BacktestRequest
from forecaster.judging.report import Ask, contest_json, field_from_csv, make_forecasts, run_contest
from forecaster.scaling.backtest.contest import OURS, SETTINGS, Contest
from forecaster.scaling.backtest.field import Field, last_third
from forecaster.settings import Settings

LONGEST_STEP = timedelta(minutes=5)
PEAK_REPLICAS = 20
BOUND = "oracle"


def read_field(path: Path, *, part: str) -> Field:
    """Return a trace as a field of the whole trace's capacity; cut to its first two thirds when it is for tuning."""
    ground = field_from_csv(path, peak_replicas=PEAK_REPLICAS, request=BacktestRequest(Settings()))
    if part != "tuning":
        return ground
    frame = ground.series.frame
    seen = DemandSeries(ground.series.name, ground.series.step, frame.iloc[: 2 * len(frame) // 3])
    window = last_third(seen)
    met = ground.met[ground.met["ds"] < window[1]]
    return replace(ground, series=seen, met=met, window=window)


def traces(folder: Path, only: str) -> list[Path]:
    """Return the files whose step is fine enough, of those named where any are."""
    wanted = [name for name in only.split(",") if name]
    paths = [path for path in sorted(folder.glob("*.csv")) if not wanted or any(name in path.stem for name in wanted)]
    return [path for path in paths if parse_csv(path).step <= LONGEST_STEP]


def show_reactive(contests: list[Contest]) -> dict[str, Any]:
    """Print ours beside the autoscaler at 70 %, and return it."""
    print("\nOurs beside the reactive autoscaler at 70 % (ratios under 1 are better)")
    print(f"{'':32}{'hpa short':>11}{'short, same cost':>18}{'surplus, same short':>21}")
    found = {contest.series: against_reactive(contest) for contest in contests}
    for name, one in found.items():
        print(f"{name:32}{one['hpa_share']:11.3%}{_text(one['under_ratio']):>18}{_text(one['over_ratio']):>21}")
    judged = [one for one in found.values() if one["hpa_share"] >= SHORT_ENOUGH]
    summary: dict[str, Any] = {"judged_on": len(judged), "of": len(found)}
    for key in ("under_ratio", "over_ratio"):
        ratios = [one[key] for one in (judged if key == "under_ratio" else found.values()) if one[key] is not None]
        summary[key] = {"geometric_mean": _mean(ratios), "worst": max(ratios, default=None)}
    for label, which in (("geometric mean", "geometric_mean"), ("worst trace", "worst")):
        short, surplus = (_text(summary[key][which]) for key in ("under_ratio", "over_ratio"))
        print(f"{label:32}{'':11}{short:>18}{surplus:>21}")
    print(
        f"(the ratio of short minutes is judged on the {len(judged)} traces on which the autoscaler is short for"
        f" {SHORT_ENOUGH:.1%} of the time or more: where it never is there is nothing to divide by)"
    )
    return {"traces": found, "summary": summary}


def show_others(contests: list[Contest], *, seed: int) -> dict[str, Any]:
    """Print the intervals of the differences to every other policy, and return them."""
    print(f"\nShort share of the time, ours minus theirs, at {LEVELS} matched costs: 95 % intervals by days")
    print(f"{'':18}{'below 0':>9}{'above 0':>9}   differences (percentage points, cheap to dear)")
    found = {}
    for name in SETTINGS:
        if name in (OURS, BOUND):
            continue
        one = against(contests, name, seed=seed)
        found[name] = one
        shown = "  ".join(f"{100 * level['difference']:+.2f}" for level in one["levels"])
        print(f"{name:18}{one['below']:9}{one['above']:9}   {shown}")
    return found


def show_realised(contests: list[Contest]) -> list[dict[str, Any]]:
    """Print the share of the time that was short beside the one asked for, and return it."""
    print("\nShort share of the time, asked and realised (by trace)")
    rows = realised(contests)
    for row in rows:
        shown = "  ".join(f"{share:7.2%}" for share in row["by_trace"].values())
        gaps = f"mean gap {100 * row['mean_gap']:+.2f} pp, largest {100 * row['largest_gap']:+.2f}"
        print(f"{row['asked']:8.1%}   {shown}   {gaps}")
    print(
        "\nDemand above the planned floor: chance stated, and share of the time (where stated as 50 % at most; of all)"
    )
    for row in rows:
        plans = row["plans"].values()
        shown = "  ".join(f"{one['chance']:7.2%} {one['passed']:7.2%} ({one['of_time']:4.0%})" for one in plans)
        print(f"{row['asked']:8.1%}   {shown}")
    return rows


def _mean(ratios: list[float]) -> float | None:
    return math.exp(sum(math.log(max(ratio, 1e-3)) for ratio in ratios) / len(ratios)) if ratios else None


def _text(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def main() -> int:
    """Run the benchmark; exit 0 also when there is nothing to run on, after saying so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=Path("../shared/traces"))
    parser.add_argument("--part", choices=("last", "tuning"), default="last")
    parser.add_argument("--only", default="", help="traces whose name contains one of these, comma-separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "tidegauge-policy-forecasts")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-speed", action="store_true", help="leave out the timings on made-up demand")
    arguments = parser.parse_args()
    paths = traces(arguments.traces, arguments.only)
    if not paths:
        print(f"skipped: expected traces with a step of 5 minutes or less in {arguments.traces}, found none")
        return 0
    contests = []
    for path in paths:
        ground = read_field(path, part=arguments.part)
        ask, tell = Ask(processes=arguments.processes, kept=arguments.data), _teller(path.stem)
        contest = run_contest(ground, ask, make_forecasts(ground, ask, progress=tell), progress=tell)
        contests.append(contest)
        print(
            f"\r{path.stem}: forecasts {contest.fit_seconds:.1f} s (0: stored), play {contest.play_seconds:.1f} s",
            file=sys.stderr,
        )
    reactive = show_reactive(contests)
    others = show_others(contests, seed=arguments.seed)
    rates = show_realised(contests)
    timings: dict[str, Any] = {
        one.series: {"fit_seconds": round(one.fit_seconds, 2), "play_seconds": round(one.play_seconds, 2)}
        for one in contests
    }
    if not arguments.no_speed:
        timings["sixty_days_all_policies_seconds"] = round(play_seconds(processes=arguments.processes), 2)
        timings["decisions_for_1000_services_seconds"] = round(decisions_seconds(1000), 2)
    about = {
        **circumstances(seed=arguments.seed, packages=("numpy", "pandas", "scikit-learn")),
        "part": arguments.part,
        "processes": arguments.processes,
        "timings": timings,
    }
    print(f"\n{json.dumps(about)}")
    if arguments.json:
        report = {
            "about": about,
            "against_hpa_70": reactive,
            "against_others": others,
            "realised": rates,
            "contests": [contest_json(contest) for contest in contests],
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _teller(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202  # a callback of one line
    return lambda share: print(f"\r{name}: {share:4.0%}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
