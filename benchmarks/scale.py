"""How many of each part a size needs, what breaks first, what it costs, and what an hour without a shard does to it.

Arithmetic on what the other benchmarks measured (`Measured`, each figure with its command), and a simulation of the
one thing that arithmetic does not tell: how far spools fill while a shard is away, and how long they take to empty.
Nothing is started. Prices are the reader's own (options), in any currency.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

SECONDS_PER_DAY = 86_400
BYTES_PER_TB = 1e12
HOURS_PER_MONTH = 730.0
USED_AT_MOST = 0.6  # of what a part carries: the rest is for a part that fails and for catching up


@dataclass(frozen=True, slots=True)
class Measured:
    """What one part carries on two cores. Defaults: what this repository's benchmarks printed on two cores.

    stored: events/s through collector and store together (`make bench-record`), so half of the cores is either's;
    refresh, train: CPU-seconds per service (`python -m benchmarks.forecast_speed`).
    """

    acknowledged_per_second: float = 210_000
    stored_per_second: float = 140_000
    bytes_per_event: float = 7.6
    bytes_per_rollup_row: float = 25.0
    refresh_seconds_per_service: float = 0.010
    train_seconds_per_service: float = 1.5
    spool_bytes_per_event: float = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is. combinations: of route, method, version, region, status and cache level, per service."""

    requests_per_second: float = 1_000_000
    services: int = 10_000
    regions: int = 3
    combinations: int = 100
    raw_days: int = 8
    rollup_days: int = 95
    copies: int = 2  # of each shard
    refresh_every_seconds: float = 300
    train_every_seconds: float = 43_200
    spool_bytes: float = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prices:
    """Per hour of two cores, and per TB and month of disk."""

    two_cores_hour: float = 0.10
    disk_tb_month: float = 80.0


@dataclass(frozen=True, slots=True)
class Needs:
    """How many of each part, the disk of all copies (TB), and the share of its limit that each part is at."""

    collectors: int
    shards: int
    forecasters: int
    raw_tb: float
    rollup_tb: float
    used: dict[str, float]
    bill_per_month: float


def needs(size: Size, measured: Measured, prices: Prices) -> Needs:
    """Return what a size needs. A collector's limit is acknowledging, a shard's storing, a forecaster's CPU."""
    per_region = size.requests_per_second / size.regions
    collectors = size.regions * _parts(per_region, measured.acknowledged_per_second)
    shards = _parts(size.requests_per_second, measured.stored_per_second)
    busy = size.services * (
        measured.refresh_seconds_per_service / size.refresh_every_seconds
        + measured.train_seconds_per_service / size.train_every_seconds
    )  # CPUs
    forecasters = _parts(busy, 2.0)
    raw = size.requests_per_second * SECONDS_PER_DAY * size.raw_days * measured.bytes_per_event * size.copies
    minutes = size.rollup_days * SECONDS_PER_DAY / 60
    rollup = size.services * size.combinations * minutes * measured.bytes_per_rollup_row * size.copies
    machines = collectors + shards * size.copies + forecasters + 1  # one who stands by
    disk = (raw + rollup) / BYTES_PER_TB
    return Needs(
        collectors=collectors,
        shards=shards,
        forecasters=forecasters,
        raw_tb=raw / BYTES_PER_TB,
        rollup_tb=rollup / BYTES_PER_TB,
        used={
            "collector: events acknowledged": size.requests_per_second / collectors / measured.acknowledged_per_second,
            "shard: events stored": size.requests_per_second / shards / measured.stored_per_second,
            "forecaster: CPU": busy / (2.0 * forecasters),
        },
        bill_per_month=machines * prices.two_cores_hour * HOURS_PER_MONTH + disk * prices.disk_tb_month,
    )


def _parts(amount: float, of_one: float) -> int:
    return max(1, math.ceil(amount / (of_one * USED_AT_MOST) - 1e-9))


@dataclass(frozen=True, slots=True)
class Outage:
    """A shard away. refused_share: of all events, answered 429 (clients keep them and come back)."""

    fullest_spool_share: float
    refused_share: float
    empty_after_seconds: float | None


def without_a_shard(
    size: Size, measured: Measured, found: Needs, *, away_seconds: int, step_seconds: int = 1
) -> Outage:
    """Play an outage of one shard, step by step: its share of the events waits in the collectors' spools.

    A collector's spool takes until its quota is full, then it refuses; when the shard is back it takes what is new and,
    with what is left of its speed, what waits. empty_after_seconds: after its return; None: not within a day.
    """
    arriving = size.requests_per_second / found.shards  # what is meant for that shard
    quota = found.collectors * size.spool_bytes / measured.spool_bytes_per_event  # in events
    waiting = refused = fullest = 0.0
    for second in range(0, away_seconds + SECONDS_PER_DAY, step_seconds):
        taken = min(arriving * step_seconds, quota - waiting)
        refused += arriving * step_seconds - taken
        waiting += taken
        if second >= away_seconds:
            waiting = max(0.0, waiting - measured.stored_per_second * step_seconds)
            if waiting == 0.0:
                return _outage(
                    fullest / quota, refused, size, away_seconds, float(second - away_seconds + step_seconds)
                )
        fullest = max(fullest, waiting)
    return _outage(fullest / quota, refused, size, away_seconds, None)


def _outage(fullest: float, refused: float, size: Size, away_seconds: int, empty: float | None) -> Outage:
    return Outage(fullest, refused / (size.requests_per_second * away_seconds), empty)


def main() -> None:
    """Print the needs of the asked size; with --json as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind, default in (
        *((name, type(value), value) for name, value in asdict(Size()).items()),
        *((name, float, value) for name, value in asdict(Measured()).items()),
        *((name, float, value) for name, value in asdict(Prices()).items()),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    parser.add_argument("--away", type=int, default=3600, help="seconds that one shard is away")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    size, measured, prices = (
        kind(**{name: getattr(chosen, name) for name in asdict(kind())}) for kind in (Size, Measured, Prices)
    )
    found = needs(size, measured, prices)
    outage = without_a_shard(size, measured, found, away_seconds=chosen.away)
    answer: dict[str, Any] = {"size": asdict(size), "measured": asdict(measured), "prices": asdict(prices),
                              "needs": asdict(found), "without_a_shard": asdict(outage)}  # fmt: skip
    if chosen.json:
        print(json.dumps(answer))
        return
    print(f"{size.requests_per_second:,.0f} requests/s, {size.services:,} services, {size.regions} regions")
    print(
        f"  collectors {found.collectors}, shards {found.shards} x {size.copies}, forecasters {found.forecasters} + 1"
    )
    print(f"  disk: events {found.raw_tb:.1f} TB, rollups {found.rollup_tb:.1f} TB")
    print(f"  bill: {found.bill_per_month:,.0f} a month")
    for name, share in sorted(found.used.items(), key=lambda each: -each[1]):
        print(f"  {name:34} at {share:.0%} of what was measured")
    empty = "not within a day" if outage.empty_after_seconds is None else f"{outage.empty_after_seconds:,.0f} s after"
    print(f"  one shard away for {chosen.away} s: spools {outage.fullest_spool_share:.0%} full, empty {empty},")
    print(f"    {outage.refused_share:.1%} of all events refused for a while (429: clients keep them and come back)")


if __name__ == "__main__":
    main()
