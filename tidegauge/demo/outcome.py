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
    """A floor change and what came: needed_at, when demand first passed what floor_before carries; None = never did.

    ready_at: when floor_after replicas were ready; None = never, or the floor went down.
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
                needed_at=_first(demand["ds"], demand["rps"] > change.floor_before * capacity_rps, change.at, until),
                ready_at=_first_ready(transitions, change),
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


def _first(times: pd.Series, holds: pd.Series, since: datetime, until: datetime | None) -> datetime | None:
    inside = holds & (times + MINUTE > since)
    if until is not None:
        inside &= times < until
    hits = times[inside]
    return None if hits.empty else max(pd.Timestamp(hits.iloc[0]), pd.Timestamp(since)).to_pydatetime()


def _first_ready(transitions: pd.DataFrame, change: FloorChange) -> datetime | None:
    """Return when floor_after replicas were ready: at once, if the reactive loop already had as many."""
    before = transitions[transitions["at"] <= change.at]
    if not before.empty and int(before["ready"].iloc[-1]) >= change.floor_after:
        return change.at
    after = transitions[(transitions["at"] > change.at) & (transitions["ready"] >= change.floor_after)]
    return None if after.empty else pd.Timestamp(after["at"].iloc[0]).to_pydatetime()


def _in_force(times: pd.Series, values: pd.Series, instants: pd.DatetimeIndex) -> npt.NDArray[np.float64]:
    """Return the value in force at each instant; zero before the first one (no replica, no demand)."""
    order = np.searchsorted(pd.DatetimeIndex(times).as_unit("us").asi8, instants.as_unit("us").asi8, side="right")
    padded = np.concatenate([[0.0], values.to_numpy(dtype=float)])
    return np.asarray(padded[order])
