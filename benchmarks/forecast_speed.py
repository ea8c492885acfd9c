"""How long forecasting a fleet takes: every service trained from nothing, then refreshed, on so many processes.

    python -m benchmarks.forecast_speed [--services 100] [--refreshed 1000] [--processes 2] [--seed 1] [--json FILE]

Each service is six weeks of five minutes of its own made-up demand (seeded); a refresh is a day ahead at five quantiles
by what was learnt before, as the live loop does it every few minutes. `--refreshed` services are refreshed by what was
learnt of the trained ones, in turn: a refresh costs the same whatever it learnt. Wall seconds are those of the slowest
process; memory is the sum over the processes, with the libraries.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.circumstances import circumstances
from forecaster.forecast.models import LearntHours, forecast_demand, history_to_read, learn
from forecaster.forecast.types import DemandSeries

STEP = timedelta(minutes=5)
START = datetime(2026, 3, 2, tzinfo=UTC)
QUANTILES = (0.1, 0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of the fleet: seconds of each thing it did, and the peak of its memory."""

    train_seconds: float
    refresh_seconds: float
    many_seconds: float
    peak_mb: float


def service(seed: int) -> DemandSeries:
    """Return a made-up service: a day, a week, noise and a little drift."""
    index = np.arange(history_to_read(STEP) // STEP)
    random = np.random.default_rng(seed)
    day = 1 + 0.6 * np.sin((index / 288 + random.random()) * 2 * np.pi)
    week = np.where(index // 288 % 7 >= 5, 0.6, 1.0)
    drift = np.exp(np.cumsum(random.normal(0, 0.003, len(index))))
    starts = pd.to_datetime(START.timestamp() + 300.0 * index, unit="s", utc=True)
    values = 100 * day * week * drift * random.lognormal(0, 0.08, len(index))
    return DemandSeries(f"service-{seed}", STEP, pd.DataFrame({"ds": starts, "y": values}))


def share(seeds: list[int], refreshed: int) -> Share:
    """Train the services of `seeds`, refresh each once, then `refreshed` in turn."""
    fleet = [(service(seed), LearntHours()) for seed in seeds]
    origin = START + history_to_read(STEP)
    began = time.perf_counter()
    for series, learnt in fleet:
        learn(series, origin=origin, learnt=learnt)
    trained = time.perf_counter()
    _refresh(fleet, origin, len(fleet))
    once = time.perf_counter()
    _refresh(fleet, origin, refreshed)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Share(trained - began, once - trained, done - once, peak)


def _refresh(fleet: list[tuple[DemandSeries, LearntHours]], origin: datetime, count: int) -> None:
    for index in range(count):
        series, learnt = fleet[index % len(fleet)]
        forecast_demand(series, origin=origin, horizon=timedelta(hours=24), quantiles=QUANTILES, learnt=learnt)


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--refreshed", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if min(arguments.services, arguments.refreshed, arguments.processes) < 1:
        parser.error("expected at least one service, one refresh and one process")
    processes = min(arguments.processes, arguments.services)
    seeds = [
        list(range(arguments.seed + first, arguments.seed + arguments.services, processes))
        for first in range(processes)
    ]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(share, seeds, [-(-arguments.refreshed // processes)] * processes))
    figures = {
        "services": arguments.services,
        "processes": processes,
        "train_seconds": round(max(one.train_seconds for one in found), 2),
        "refresh_seconds": round(max(one.refresh_seconds for one in found), 3),
        f"refresh_{arguments.refreshed}_seconds": round(max(one.many_seconds for one in found), 2),
        "memory_mb": round(sum(one.peak_mb for one in found)),
        **circumstances(seed=arguments.seed, packages=("numpy", "pandas", "scikit-learn")),
    }
    print(json.dumps(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
