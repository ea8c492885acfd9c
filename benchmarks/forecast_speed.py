"""How long forecasting a fleet takes: every service trained from nothing, then refreshed once, on so many processes.

    python -m benchmarks.forecast_speed [--services 100] [--processes 2]

Each service is six weeks of five minutes of its own made-up demand (seeded); a refresh is a day ahead at five quantiles
by what was learnt before. Wall seconds are those of the slowest process; memory is the sum over the processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

import numpy as np
import pandas as pd

from forecaster.forecast.models import LearntHours, forecast_demand, history_to_read, learn
from forecaster.forecast.types import DemandSeries

STEP = timedelta(minutes=5)
START = datetime(2026, 3, 2, tzinfo=UTC)
QUANTILES = (0.1, 0.5, 0.9, 0.95, 0.99)


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


def share(seeds: list[int]) -> tuple[float, float, float]:
    """Return seconds to train, seconds to refresh, and the peak of this process's memory in MB."""
    fleet = [(service(seed), LearntHours()) for seed in seeds]
    origin = START + history_to_read(STEP)
    began = time.perf_counter()
    for series, learnt in fleet:
        learn(series, origin=origin, learnt=learnt)
    trained = time.perf_counter()
    for series, learnt in fleet:
        forecast_demand(series, origin=origin, horizon=timedelta(hours=24), quantiles=QUANTILES, learnt=learnt)
    refreshed = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return trained - began, refreshed - trained, peak


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    shares = [list(range(first, arguments.services, arguments.processes)) for first in range(arguments.processes)]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(share, [seeds for seeds in shares if seeds]))
    print(
        json.dumps(
            {
                "services": arguments.services,
                "processes": arguments.processes,
                "train_seconds": round(max(one[0] for one in found), 2),
                "refresh_seconds": round(max(one[1] for one in found), 3),
                "memory_mb": round(sum(one[2] for one in found)),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            }
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
