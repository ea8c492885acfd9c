"""Reads what was recorded, decided and offered during the window, and hands it to `outcome` and `summary`.

The two simulated branches replay the very demand that was recorded, through the live decision function, with the same
capacity, the same autoscaler settings and the start delay that this machine's replicas really had.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pandas as pd

from collector.catalog import Service
from collector.clickhouse import Client
from collector.record.store import read_demand, read_ingest_counts
from collector.slo.store import read_slo_statuses
from forecaster.forecast.demand import clean_series
from forecaster.loop.tick import scaling_of
from forecaster.scaling.backtest.field import Field
from forecaster.scaling.backtest.replay import Replay, replay
from forecaster.scaling.capacity import declared_capacity, reactive_spec
from forecaster.scaling.simulator.simulate import SimulationResult
from forecaster.scaling.types import Capacity
from forecaster.settings import Settings as ForecasterSettings
from forecaster.store import read_decisions, read_forecasts
from tidegauge.demo.outcome import FloorChange, Provisioning, judge_changes, peak, provisioning
from tidegauge.demo.story import Story
from tidegauge.demo.summary import EventCounts, ForecastPeak, Observed, SloOutcome, summarise
from tidegauge.settings import StackSettings

SETTLE_SECONDS = 20.0
MINUTE = timedelta(minutes=1)
SYNC = timedelta(seconds=15)
SIMULATION_SEED = 1998
WARM_UP = timedelta(hours=1)  # of the demo's clock: what was decided before the window began belongs to it


@dataclass(frozen=True, slots=True)
class Judge:
    """What it takes to say what came of the window."""

    client: Client
    service: Service
    story: Story
    settings: StackSettings
    forecaster: ForecasterSettings
    speed: float
    history_rows: int

    def summarise(self, *, settled: bool) -> dict[str, Any]:
        """Return the summary. settled: the load has stopped, so wait until every event is stored."""
        counts = self._settled_counts() if settled else self._counts()
        window = (self.story.window_from, self.story.window_to)
        capacity = declared_capacity(scaling_of(self.service), speed=self.speed)
        offered, recorded = self._offered(), self._recorded()
        transitions = self._transitions()
        changes = self._floor_changes()
        branches = self._simulated(recorded, transitions, capacity)
        return summarise(
            speed=self.speed,
            window=window,
            history=(self.story.source, self.history_rows),
            events=counts,
            forecast=self._forecast_peak(),
            observed=self._observed(recorded),
            scaling=judge_changes(changes, offered, transitions, capacity_rps=capacity.low_rps),
            slos=self._slos(),
            measured=provisioning(offered, transitions, capacity_rps=capacity.low_rps, window=window),
            predictive=_toll(branches.predictive, offered, capacity, window),
            reactive_only=_toll(branches.reactive_only, offered, capacity, window),
        )

    def _counts(self) -> EventCounts:
        far = datetime(2200, 1, 1, tzinfo=UTC)
        found = read_ingest_counts(
            self.client, since=self.story.window_from - timedelta(days=1), until=far, service=self.service.name
        )
        return EventCounts(found.generated, found.acknowledged, found.stored, found.dropped, found.duplicates)

    def _settled_counts(self) -> EventCounts:
        """Return the counts once nothing is under way any more, or as they stand after SETTLE_SECONDS."""
        deadline = time.monotonic() + SETTLE_SECONDS
        counts, quiet_since = self._counts(), time.monotonic()
        while time.monotonic() < deadline:
            time.sleep(0.5)
            now = self._counts()
            if now != counts:
                counts, quiet_since = now, time.monotonic()
            whole = counts.generated == counts.acknowledged + counts.dropped and counts.stored == counts.acknowledged
            if whole and time.monotonic() - quiet_since > 2.0:
                break
        return counts

    def _offered(self) -> pd.DataFrame:
        """Return `ds, rps`: the rate that the load generator was to send, at the middle of every minute."""
        starts = pd.date_range(self.story.window_from, self.story.window_to, freq=MINUTE, inclusive="left")
        curve = self.story.curve
        middles = (starts + MINUTE / 2).as_unit("us").asi8
        rates = np.interp(middles, pd.DatetimeIndex(curve["timestamp"]).as_unit("us").asi8, curve["rps"])
        return pd.DataFrame({"ds": starts, "rps": rates})

    def _recorded(self) -> pd.DataFrame:
        return read_demand(
            self.client, self.service.name, since=self.story.window_from, until=self.story.window_to, step=MINUTE
        )

    def _transitions(self) -> pd.DataFrame:
        url = f"{self.settings.url(self.settings.cluster_port)}/hpas/{self.service.name}/transitions?since=0"
        rows = httpx.get(url, timeout=10).raise_for_status().json()["transitions"]
        frame = pd.DataFrame(rows, columns=["at", "kind", "floor", "desired", "current", "ready"])
        return frame.assign(at=pd.to_datetime(frame["at"].astype(float), unit="s", utc=True).dt.as_unit("us"))

    def _floor_changes(self) -> list[FloorChange]:
        stored = read_decisions(
            self.client,
            self.service.name,
            since=self.story.window_from - WARM_UP,
            until=self.story.window_to,
            limit=10_000,
        )
        applied = [
            row.decision for row in stored if row.applied and row.decision.floor_after != row.decision.floor_before
        ]
        return [
            FloorChange(decision.at, decision.floor_before, decision.floor_after, "; ".join(decision.reasons))
            for decision in sorted(applied, key=lambda decision: decision.at)
            if decision.floor_after != decision.floor_before
        ]

    def _forecast_peak(self) -> ForecastPeak | None:
        """Return the window's peak as the last forecast before the rise saw it."""
        found = read_forecasts(
            self.client, self.service.name, since=self.story.window_from - timedelta(hours=1), until=self.story.rise_at
        )
        if found.empty:
            return None
        last = found[found["origin"] == found["origin"].max()]
        inside = last[(last["ds"] >= self.story.window_from) & (last["ds"] < self.story.window_to)]
        row = inside.loc[inside["q0.5"].idxmax()]
        return ForecastPeak(
            origin=row["origin"].to_pydatetime(),
            model=str(row["model"]),
            peak_at=row["ds"].to_pydatetime(),
            peak_rps={"0.5": float(row["q0.5"]), "0.95": float(row["q0.95"])},
        )

    def _observed(self, recorded: pd.DataFrame) -> Observed:
        load = json.loads((self.settings.data / "load" / "load.json").read_text(encoding="utf-8"))
        at, rps = peak(recorded, width=timedelta(minutes=5))
        response = load["response_ms"]
        search = load["routes"].get("search", {}).get("response_ms", {})
        return Observed(
            peak_at=at,
            peak_rps=rps,
            requests=load["sent"],
            failed=load["failed"],
            unsent=load["unsent"],
            p95_ms=response["p95"],
            p99_ms=response["p99"],
            search_p95_ms=search.get("p95"),
        )

    def _slos(self) -> list[SloOutcome]:
        statuses = read_slo_statuses(self.client, self.service, now=self.story.window_to)
        return [SloOutcome(status.slo.name, status.slo.target, status.sli) for status in statuses]

    def _simulated(self, recorded: pd.DataFrame, transitions: pd.DataFrame, capacity: Capacity) -> Replay:
        scaling = scaling_of(self.service)
        played = recorded.rename(columns={"rps": "y"})
        history = self.story.history.rename(columns={"timestamp": "ds", "value": "y"})
        history = history.assign(y=history["y"] / self.story.step.total_seconds())
        rows = pd.concat([history[["ds", "y"]], played[["ds", "y"]]], ignore_index=True)
        step = max(self.forecaster.step, self.story.step)
        coarse = rows.set_index("ds")["y"].resample(step, origin="epoch").mean().dropna()
        series = clean_series(self.service.name, coarse.rename_axis("ds").reset_index(), step=step)
        window = (self.story.window_from, self.story.window_to)
        ground = Field(
            series=series,
            met=_in_quarter_minutes(recorded, window=window),
            window=window,
            scaling=scaling,
            capacity=capacity,
            spec=reactive_spec(scaling, speed=self.speed),
            start_delay=_start_delay(transitions),
            refresh=self.forecaster.refresh,
            data_delay=self.forecaster.settle * self.speed,
        )
        return replay(ground)


def _in_quarter_minutes(recorded: pd.DataFrame, *, window: tuple[datetime, datetime]) -> pd.DataFrame:
    """Return the recorded minutes cut into what each sync of the autoscaler meets; a minute without a record is a gap.

    Given how many arrivals a minute had, Poisson arrivals lie in it uniformly: so its quarters are a multinomial draw.
    Without it the simulated autoscaler would see a smoother metric than the real one, and ask for fewer replicas.
    """
    parts = int(MINUTE / SYNC)
    minutes = pd.date_range(window[0], window[1], freq=MINUTE, inclusive="left")
    counts = recorded.set_index("ds")["rps"].reindex(minutes).to_numpy() * MINUTE.total_seconds()
    known = np.isfinite(counts)
    drawn = np.full((len(minutes), parts), np.nan)
    rng = np.random.default_rng(SIMULATION_SEED)
    drawn[known] = rng.multinomial(np.round(counts[known]).astype(int), np.full(parts, 1 / parts))
    starts = pd.date_range(window[0], window[1], freq=SYNC, inclusive="left")
    return pd.DataFrame({"ds": starts, "rps": drawn.ravel() / SYNC.total_seconds()})


def _start_delay(transitions: pd.DataFrame) -> timedelta:
    """Return the median time from starting to ready of the replicas in the window; two minutes if none started."""
    waits: list[timedelta] = []
    starting: list[datetime] = []
    for at, kind in zip(transitions["at"].dt.to_pydatetime(), transitions["kind"], strict=True):
        if kind == "starting":
            starting.append(at)
        elif kind == "ready" and starting:
            waits.append(at - starting.pop(0))
    return sorted(waits)[len(waits) // 2] if waits else timedelta(minutes=2)


def _toll(
    result: SimulationResult, offered: pd.DataFrame, capacity: Capacity, window: tuple[datetime, datetime]
) -> Provisioning:
    """Return what a simulated branch cost, judged exactly as the measured one."""
    states = result.timeline.rename(columns={"ds": "at"})[["at", "current", "ready"]]
    return provisioning(offered, states, capacity_rps=capacity.low_rps, window=window)
