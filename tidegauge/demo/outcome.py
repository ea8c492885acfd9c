"""What came of the demo, as numbers. Pure: from what was recorded, decided and offered to `summary.json`.

Provisioning is judged on the offered rate (the curve the load generator played), minute by minute, against the ready
replicas times the low end of a replica's capacity. The noise of the arrivals around that rate is inside the capacity,
which was measured with Poisson arrivals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class FloorChange:
    """One change of the floor as decided."""

    at: datetime
    floor_before: int
    floor_after: int
    reason: str


@dataclass(frozen=True, slots=True)
class JudgedChange:
    """A floor change and what came of it.

    needed_at: when demand passed what floor_before carries (before the change, if it had already); None = never did.
    ready_at: since when floor_after replicas were ready, whoever asked for them; None = never, or the floor went down.
    """

    change: FloorChange
    needed_at: datetime | None
    ready_at: datetime | None

    @property
    def lead(self) -> timedelta | None:
        """Return needed_at - ready_at, or None where the change was never needed or never got ready."""
        if self.needed_at is None or self.ready_at is None:
            return None
        return self.needed_at - self.ready_at


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Seconds with demand above what the ready replicas carry; replica-seconds paid for (starting ones included)."""

    under_provisioned_seconds: float
    replica_seconds: float


def provisioning(
    demand: pd.DataFrame,
    transitions: pd.DataFrame,
    *,
    capacity_rps: float,
    window: tuple[datetime, datetime],
    resolution: timedelta = timedelta(seconds=15),
) -> Provisioning:
    """Return how demand and replicas met in the window.

    demand: `ds`, `rps`, held constant to the next row. transitions: `at`, `ready`, `current`, each in force until the
    next row. capacity_rps: of one replica, requests/s of the same clock.
    """
    instants = pd.date_range(window[0], window[1], freq=resolution, inclusive="left")
    offered = _in_force(demand["ds"], demand["rps"], instants)
    ready = _in_force(transitions["at"], transitions["ready"], instants)
    current = _in_force(transitions["at"], transitions["current"], instants)
    seconds = resolution.total_seconds()
    return Provisioning(
        under_provisioned_seconds=float((offered > ready * capacity_rps + 1e-9).sum() * seconds),
        replica_seconds=float(current.sum() * seconds),
    )


def judge_changes(
    changes: Sequence[FloorChange], demand: pd.DataFrame, transitions: pd.DataFrame, *, capacity_rps: float
) -> tuple[JudgedChange, ...]:
    """Return what came of every floor change, in order. Arguments as for `provisioning`.

    A raise is judged until the floor next goes down: what demand does after that is the later decisions' matter.
    """
    judged = []
    for index, change in enumerate(changes):
        if change.floor_after <= change.floor_before:
            judged.append(JudgedChange(change, None, None))
            continue
        until = next((later.at for later in changes[index + 1 :] if later.floor_after < later.floor_before), None)
        judged.append(
            JudgedChange(
                change,
                needed_at=_needed_at(demand, above=change.floor_before * capacity_rps, at=change.at, until=until),
                ready_at=_ready_at(transitions, change),
            )
        )
    return tuple(judged)


def least_lead(judged: Sequence[JudgedChange]) -> timedelta | None:
    """Return the least lead over the raises that were needed; None when none was."""
    leads = [change.lead for change in judged if change.lead is not None]
    return min(leads, default=None)


def peak(demand: pd.DataFrame, *, width: timedelta) -> tuple[datetime, float]:
    """Return (start, requests/s) of the highest mean over `width`. demand: `ds`, `rps` on a regular grid."""
    mean = demand.set_index("ds")["rps"].resample(width).mean()
    at = int(np.argmax(mean.to_numpy()))
    return pd.Timestamp(mean.index[at]).to_pydatetime(), float(mean.iloc[at])


def _needed_at(demand: pd.DataFrame, *, above: float, at: datetime, until: datetime | None) -> datetime | None:
    """Return the start of the first stretch of demand above a rate that is under way at `at` or begins after it."""
    starts = _stretches(demand["ds"], demand["rps"] > above)
    for start, end in starts:
        if (end is None or end > at) and (until is None or start < until):
            return start
    return None


def _ready_at(transitions: pd.DataFrame, change: FloorChange) -> datetime | None:
    """Return the start of the first stretch with floor_after ready replicas that is under way or begins afterwards."""
    stretches = _stretches(transitions["at"], transitions["ready"] >= change.floor_after)
    return next((start for start, end in stretches if end is None or end > change.at), None)


def _stretches(times: pd.Series, holds: pd.Series) -> list[tuple[datetime, datetime | None]]:
    """Return (start, end) of every stretch in which something holds; end None = to the last row."""
    found: list[tuple[datetime, datetime | None]] = []
    start: datetime | None = None
    for at, held in zip(times.dt.to_pydatetime(), holds, strict=True):
        if held and start is None:
            start = at
        elif not held and start is not None:
            found.append((start, at))
            start = None
    return found if start is None else [*found, (start, None)]


def _in_force(times: pd.Series, values: pd.Series, instants: pd.DatetimeIndex) -> npt.NDArray[np.float64]:
    """Return the value in force at each instant; zero before the first one (no replica, no demand)."""
    order = np.searchsorted(pd.DatetimeIndex(times).as_unit("us").asi8, instants.as_unit("us").asi8, side="right")
    padded = np.concatenate([[0.0], values.to_numpy(dtype=float)])
    return np.asarray(padded[order])
