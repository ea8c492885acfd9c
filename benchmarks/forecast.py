"""The forecasts' accuracy on real traces: twelve origins in the last third, 24 h ahead, beside what others ship.

    python -m benchmarks.forecast [--traces DIR] [--origins 12] [--seed 1] [--part last|tuning] [--models NAMES]
        [--processes 2] [--json FILE]

Beside ours stand the naive ones, what others ship (`forecaster.forecast.rivals`), and statsforecast's models and
Prophet where the extras of those names are installed.

Relative scores are ratios to the weekly naive forecast (to the daily one where a trace has less than three weeks before
its last third); the summary is the geometric mean over the traces and the worst of them. `--part tuning` scores the
first two thirds only, which is what settings may be chosen on. A missing folder is a skip, with the reason.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.circumstances import circumstances
from collector.sources.files import parse_csv
from forecaster.forecast.baselines import BASELINES
from forecaster.forecast.demand import clean_series
from forecaster.forecast.interface import Model
from forecaster.forecast.members import MODELS
from forecaster.forecast.skill import SkillReport, backtest_forecast
from forecaster.forecast.types import DemandSeries

STEP = timedelta(minutes=5)  # finer traces are averaged to it
EXTRAS = ("statsforecast", "prophet")
SCORES = ("relative_mase", "relative_wql", "relative_mase_near")


def read_trace(path: Path, *, part: str) -> DemandSeries:
    """Return a trace as a series of at least STEP; of its first two thirds when it is for tuning."""
    imported = parse_csv(path)
    rows = imported.frame.rename(columns={"value": "y"})
    if imported.step < STEP:
        rows = rows.set_index("ds")["y"].resample(STEP, origin="epoch").mean().dropna().reset_index()
    series = clean_series(path.stem, rows, step=max(imported.step, STEP))
    if part == "tuning":
        series = DemandSeries(series.name, series.step, series.frame.iloc[: 2 * len(series.frame) // 3])
    return series


def chosen(names: str) -> dict[str, Model]:
    """Return the models asked for by name beside ours and the naive ones; raises ValueError for an unknown one."""
    asked = [name for name in names.split(",") if name]
    if asked == ["all"]:
        asked = [name for name in MODELS if name != "ensemble"]  # ours stands there already
    unknown = sorted(set(asked) - set(MODELS))
    if unknown:
        raise ValueError(f"expected models of {', '.join(MODELS)}, got {', '.join(unknown)}")
    return {name: MODELS[name]() for name in asked if name not in BASELINES}


def scored(path: Path, *, part: str, origins: int, seed: int, names: str) -> tuple[SkillReport | str, float]:
    """Return a trace's report, or why there is none, and the seconds it took."""
    began = time.perf_counter()
    try:
        series = read_trace(path, part=part)
        found: SkillReport | str = backtest_forecast(series, origins=origins, seed=seed, models=chosen(names))
    except ValueError as error:
        found = str(error)
    print(f"{path.stem}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found, time.perf_counter() - began


def summary(reports: list[SkillReport]) -> dict[str, dict[str, Any]]:
    """Return per model the geometric mean and the worst trace of each relative score, and the mean coverage.

    A model that answered nothing on one of the traces has none.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in [skill.model for skill in reports[0].models]:
        skills = [next(skill for skill in report.models if skill.model == name) for report in reports]
        if not all(skill.mase for skill in skills):  # of a trace on which it answered nothing there is no mean
            continue
        by_score = {score: [getattr(skill, score) for skill in skills] for score in SCORES}
        coverage = {q: float(np.mean([skill.coverage[q] for skill in skills])) for q in skills[0].coverage}
        found[name] = {
            "mean": {score: math.exp(float(np.mean(np.log(ratios)))) for score, ratios in by_score.items()},
            "worst": {score: max(ratios) for score, ratios in by_score.items()},
            "coverage": coverage,
        }
    return found


def show(reports: list[SkillReport], means: dict[str, dict[str, Any]]) -> None:
    """Print a table per trace and the summary."""
    levels = list(reports[0].models[0].coverage)
    header = f"{'':24}{'model':16}{'MASE':>8}{'WQL':>8}{'to 1 h':>8}" + "".join(f"{'<=' + q:>8}" for q in levels)
    print("Ratios to the naive forecast (lower is better), and the share of truths at or below each quantile")
    print(header)
    for report in reports:
        for skill in report.models:
            ratios = "".join(f"{getattr(skill, score):8.3f}" for score in SCORES)
            print(
                f"{report.series[:23]:24}{skill.model:16}{ratios}"
                + "".join(f"{skill.coverage[q]:8.3f}" for q in levels)
            )
    for kind in ("mean", "worst"):
        for name, of_model in means.items():
            ratios = "".join(f"{of_model[kind][score]:8.3f}" for score in SCORES)
            covered = "".join(f"{of_model['coverage'][q]:8.3f}" for q in levels) if kind == "mean" else ""
            label = "geometric mean" if kind == "mean" else "worst trace"
            print(f"{label:24}{name:16}{ratios}{covered}")


def parsed() -> argparse.Namespace:
    """Return the arguments; exits with 2 for a model that does not exist."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=Path("../shared/traces"))
    parser.add_argument("--origins", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--models",
        default="all",
        help=f"beside ours and the naive ones, comma-separated: {', '.join(MODELS)}; or `all`",
    )
    parser.add_argument("--processes", type=int, default=2, help="traces scored at once")
    parser.add_argument("--part", choices=("last", "tuning"), default="last")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    try:
        chosen(arguments.models)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def main() -> int:
    """Run the benchmark; exit 0 also when there is nothing to run on, after saying so."""
    arguments = parsed()
    paths = sorted(arguments.traces.glob("*.csv"))
    if not paths:
        print(f"skipped: expected traces (*.csv, `timestamp,value`) in {arguments.traces}, found none")
        return 0
    score = partial(scored, part=arguments.part, origins=arguments.origins, seed=arguments.seed, names=arguments.models)
    reports, seconds = [], {}
    with ProcessPoolExecutor(min(arguments.processes, len(paths)), mp_context=get_context("spawn")) as pool:
        for path, (found, took) in zip(paths, pool.map(score, paths), strict=True):
            if isinstance(found, str):
                print(f"skipped {path.name}: {found}", file=sys.stderr)
                continue
            reports.append(found)
            seconds[path.stem] = round(took, 2)
    if not reports:
        print("skipped: no trace could be scored", file=sys.stderr)
        return 0
    means = summary(reports)
    show(reports, means)
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if missing:
        print(f"not installed, so not beside ours: {', '.join(missing)} (uv sync --all-extras)")
    about = {
        **circumstances(seed=arguments.seed, packages=("numpy", "pandas", "scikit-learn")),
        "origins": arguments.origins,
        "part": arguments.part,
        "seconds": seconds,
    }
    print(json.dumps(about))
    if arguments.json:
        traces = [asdict(report) for report in reports]
        text = json.dumps({"about": about, "summary": means, "traces": traces}, default=str, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
