"""What became of decisions: how long replicas took after a raise, and whether what was decided was enough.

`lead_of` and `outcome_of` are pure; `follow_once` is the tick that reads, asks them, and writes. It goes by what is not
written yet, so it may be called late, again, or after a kill.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pandas as pd

from collector.catalog import Service
from collector.record import store as record
from forecaster import store
from forecaster.loop.world import World
from forecaster.scaling.capacity import replicas_for
from forecaster.store.decisions import StoredDecision, read_unjudged
from forecaster.store.instants import utc
from forecaster.store.outcomes import (
    Lead,
    Outcome,
    Patch,
    read_leads,
    read_patches,
    write_leads,
    write_outcomes,
)

WAITED_FOR_READY = timedelta(hours=1)  # replicas that are not ready by then are not what a lead is made of
WAITED_FOR_RECORD = timedelta(hours=1)
LOOKED_BACK = timedelta(days=2)  # a forecaster that was away for longer leaves what came before unjudged
_SEEN_AT_LEAST_EVERY = timedelta(minutes=3)  # of replica states: a longer silence means that nobody looked


def lead_of(patch: Patch, states: pd.DataFrame, *, next_change: datetime | None, now: datetime) -> Lead | None:
    """Return how long an applied raise took, from the states seen since; None: it is still under way.

    states: `ts`, `ready`, ascending. next_change: when the floor was next changed; what is ready after that says
    nothing about this raise.
    """
    if patch.floor_after is None:
        return Lead(patch.id, patch.at, None)
    end = min(patch.at + WAITED_FOR_READY, next_change or now)
    reached = states[(states["ts"] >= patch.at) & (states["ts"] <= end) & (states["ready"] >= patch.floor_after)]
    if len(reached):
        return Lead(patch.id, patch.at, utc(reached["ts"].iloc[0].to_pydatetime()))
    waiting = next_change is None and now < patch.at + WAITED_FOR_READY
    return None if waiting else Lead(patch.id, patch.at, None)


def outcome_of(
    stored: StoredDecision, demand: pd.DataFrame, states: pd.DataFrame, *, refresh: timedelta, step: timedelta
) -> Outcome:
    """Return what came in the time a decision had to see to: from its lead on, until the next one's raise is ready.

    demand: `ds`, `rps` of steps; states: `ts`, `ready`, ascending. What is missing of either stays unknown.
    """
    decision = stored.decision
    due_at, until = _span(stored, refresh)
    inside = demand[(demand["ds"] + step > due_at) & (demand["ds"] < until)]["rps"].dropna()
    rps = float(inside.max()) if len(inside) else None
    needed = None if rps is None or stored.capacity is None else replicas_for(rps, stored.capacity)
    ready = _fewest_ready(states, due_at, until)
    return Outcome(
        decision_id=stored.id,
        decided_at=decision.at,
        due_at=due_at,
        until=until,
        demand_rps=rps,
        replicas_needed=needed,
        ready=ready,
        enough=None if needed is None or ready is None else ready >= needed,
        floor_enough=None if needed is None else decision.floor_after >= needed,
    )


def follow_once(world: World, service: Service) -> tuple[int, int]:
    """Write the leads and outcomes that have become known; return how many of each. Raises StoreError."""
    now = world.clock.now()
    return _follow_patches(world, service.name, now), _follow_decisions(world, service, now)


def _follow_patches(world: World, service: str, now: datetime) -> int:
    since = now - LOOKED_BACK
    patches = sorted(
        (one for one in read_patches(world.client, service, since=since, until=now) if one.applied),
        key=lambda one: (one.at, one.id),
    )
    known = {lead.patch_id for lead in read_leads(world.client, service, since=since, until=now)}
    raises = [one for one in patches if one.id not in known and _is_measured(one)]
    if not raises:
        return 0
    states = store.read_replica_states(world.client, service, since=raises[0].at, until=now)
    found: list[Lead] = []
    for patch in raises:
        later = next((one.at for one in patches if one.at > patch.at), None)
        lead = lead_of(patch, states, next_change=later, now=now)
        found += [] if lead is None else [lead]
    write_leads(world.client, service, found, now=now)
    return len(found)


def _is_measured(patch: Patch) -> bool:
    """Say whether a patch made replicas start: one that asked for no more than were ready tells of no start."""
    return patch.action == "apply" and patch.ready_before is not None and (patch.floor_after or 0) > patch.ready_before


def _follow_decisions(world: World, service: Service, now: datetime) -> int:
    refresh, settled = world.settings.refresh, world.settings.settle * world.clock.speed_now()
    open_ones = read_unjudged(world.client, service.name, since=now - LOOKED_BACK, until=now)
    due = [one for one in open_ones if _span(one, refresh)[1] + settled <= now]
    known = record.read_demand_extent(world.client, service.name) if due else None
    if known is None:
        return 0
    step = known.step
    since, until = _span(due[0], refresh)[0] - step, max(_span(one, refresh)[1] for one in due) + step
    demand = record.read_demand(world.client, service.name, since=since, until=until, step=step)
    states = store.read_replica_states(world.client, service.name, since=since - _SEEN_AT_LEAST_EVERY, until=until)
    judged = [outcome_of(one, demand, states, refresh=refresh, step=step) for one in due]
    told = [one for one in judged if one.demand_rps is not None or now - one.until >= WAITED_FOR_RECORD]
    write_outcomes(world.client, service.name, told, now=now)
    return len(told)


def _span(stored: StoredDecision, refresh: timedelta) -> tuple[datetime, datetime]:
    due_at = stored.decision.at + (stored.lead or timedelta())
    return due_at, due_at + refresh


def _fewest_ready(states: pd.DataFrame, since: datetime, until: datetime) -> int | None:
    """Return the fewest replicas that were ready in [since, until): what was seen last before it holds at its start."""
    before = states[states["ts"] <= since].tail(1)
    if len(before) and since - utc(before["ts"].iloc[0].to_pydatetime()) > _SEEN_AT_LEAST_EVERY:
        before = before.iloc[:0]
    seen = pd.concat([before, states[(states["ts"] > since) & (states["ts"] < until)]])["ready"]
    fewest = float(seen.min()) if len(seen) else math.nan
    return None if math.isnan(fewest) else int(fewest)
