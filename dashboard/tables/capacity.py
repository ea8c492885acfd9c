"""Measured capacities as rows and points to be read, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from collector.record.cpu import CpuUse
from collector.record.store import Capacity as Measured
from dashboard.words import NONE, clock_time, rps


def measured_table(found: Sequence[Measured], zone: str | None = None) -> pd.DataFrame:
    """Return one row per measurement, newest first."""
    return pd.DataFrame(
        [
            {
                "measured": clock_time(one.measured_at, zone),
                "build": one.version or NONE,
                "by": one.source,
                "carries, requests/s": interval_text(one.low_rps, one.high_rps),
                "CPU per request": cpu_text(cpu_of(one.details)),
                "saturated": str(one.details.get("saturated") or NONE),
            }
            for one in found
        ]
    )


def interval_text(low: float, high: float) -> str:
    """Return an interval of rates; one whose ends are the same has no upper end that anybody saw."""
    return f"{rps(low)} or more" if high <= low else f"{rps(low)} to {rps(high)}"


def cpu_of(details: Mapping[str, Any]) -> float | None:
    """Return the CPU seconds per request that a load test saw; None where it saw none."""
    value = details.get("cpu_seconds_per_request")
    return float(value) if isinstance(value, (int, float)) else None


def cpu_text(seconds: float | None) -> str:
    """Return CPU per request in ms."""
    return NONE if seconds is None else f"{seconds * 1000:.2f} ms"


def cpu_sentence(test: float | None, live: CpuUse) -> str:
    """Return what comparing the test's CPU per request with production's says."""
    cost = live.cpu_seconds_per_request
    if test is None or cost is None:
        return "Not compared: " + ("no load test told its CPU." if test is None else "nobody told production's CPU.")
    off = cost / test - 1
    said = f"A request costs {abs(off):.0%} {'more' if off > 0 else 'less'} CPU in production than in the test"
    if abs(off) <= 0.2:
        return f"{said}: the same mix."
    return f"{said}: the mixes differ, and so do the capacities."


def law_of_replicas(details: Mapping[str, Any]) -> tuple[Mapping[str, Any], pd.DataFrame] | None:
    """Return the scalability law over replicas and its points `n, rps`; None where none was fitted."""
    usl = details.get("usl_replicas")
    if not isinstance(usl, Mapping):
        return None
    points = [
        (float(each["replicas"]), float(each["capacity_rps"]["low"]))
        for each in details.get("fleet") or []
        if each.get("capacity_rps")
    ]
    return usl, pd.DataFrame(points, columns=["n", "rps"])


def law_of_users(details: Mapping[str, Any]) -> tuple[Mapping[str, Any], pd.DataFrame] | None:
    """Return the scalability law over users without a pause and its points `n, rps`; None where none was fitted."""
    usl = details.get("usl")
    if not isinstance(usl, Mapping):
        return None
    points = [(float(each["users"]), float(each["rps"])) for each in details.get("levels") or []]
    return usl, pd.DataFrame(points, columns=["n", "rps"])


def law_text(usl: Mapping[str, Any]) -> str:
    """Return a law's coefficients with their intervals."""

    def told(name: str) -> str:
        low, high = usl.get(f"{name}_interval") or (usl[name], usl[name])
        return f"{usl[name]:.3g} [{low:.3g}, {high:.3g}]"

    return f"One alone {told('gamma')}/s, contention {told('alpha')}, coherency {told('beta')}; in brackets 95 %."
