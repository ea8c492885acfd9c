"""What the live loop reads of itself in the record, lane by lane: what share of the time was short, and its lead."""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.scaling.lead import RAISES_COUNTED, measured_lead
from forecaster.scaling.pacing import Pace
from forecaster.scaling.simulator.simulate import DemandSteps

Array = npt.NDArray[Any]
_ROUNDING = 1e-9


class LaneRecord:
    """Fed with the ready replicas before each sync, and with each decision. Times are epoch seconds."""

    def __init__(self, demand: DemandSteps, *, capacity_rps: float, lanes: int) -> None:
        """Begin with nothing seen."""
        self._starts, self._rps = demand.starts.tolist(), demand.rps.tolist()
        self._capacity_rps = capacity_rps * (1 + _ROUNDING)
        self._seen_at: float | None = None
        self._known, self._short = 0.0, np.zeros(lanes)
        self._known_before = [0.0] * lanes  # the newest decision
        self._risks: list[float | None] = [None] * lanes
        self._raised: dict[int, tuple[int, float]] = {}  # by lane: to which floor, when; until so many are ready
        self._raises: list[list[timedelta]] = [[] for _ in range(lanes)]
        self._leads: list[timedelta | None] = [None] * lanes

    def see(self, at: float, ready: Array) -> None:
        """Take note of the replicas that were ready from the sync before until `at`."""
        since, self._seen_at = self._seen_at, at
        if since is None:
            return
        step = bisect_right(self._starts, since) - 1
        rps = self._rps[step] if step >= 0 else float("nan")
        if math.isfinite(rps):
            self._known += at - since
            short = rps > ready * self._capacity_rps
            if short.any():
                self._short += (at - since) * short
        for lane in [lane for lane, (floor, _) in self._raised.items() if ready[lane] >= floor]:
            _, raised_at = self._raised.pop(lane)
            took = timedelta(seconds=at - raised_at)
            self._raises[lane] = [*self._raises[lane][1 - RAISES_COUNTED :], took]
            self._leads[lane] = measured_lead(self._raises[lane])

    def pace(self, lane: int) -> Pace | None:
        """Return what a lane's plan took and what came since; None where it has made no plan."""
        risk = self._risks[lane]
        if risk is None:
            return None
        known = self._known - self._known_before[lane]
        return Pace(risk, float(self._short[lane]) / max(known, _ROUNDING), timedelta(seconds=known))

    def lead(self, lane: int) -> timedelta | None:
        """Return the lead as measured from a lane's own raises; None until enough of them are known."""
        return self._leads[lane]

    def decided(self, lane: int, *, quantile: float | None) -> None:
        """Remember what a decision was planned with, and forget what came before it.

        None without a plan, after which the pace begins anew.
        """
        self._risks[lane] = None if quantile is None else 1 - quantile
        self._known_before[lane], self._short[lane] = self._known, 0.0

    def changed(self, lane: int, at: float, *, floor: int, ready: int) -> None:
        """Wait for a raise that starts replicas; any other change ends the waiting."""
        if floor > ready:
            self._raised[lane] = (floor, at)
        else:
            self._raised.pop(lane, None)
