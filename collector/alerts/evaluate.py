"""One evaluation: read, decide, write. Driven by data time: each ended minute is looked at once, whoever restarts.

What is told goes to the outbox together with the state it leaves, in one transaction, and then to the store: a kill at
any point neither repeats nor forgets, and a collector that is restarted while the store is away goes on from its own
state. While the store is away the collector's own conditions are still judged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from collector.alerts.decide import Decision, StoreView, conditions_of_collector, decide
from collector.alerts.local_state import LocalState
from collector.alerts.settings import AlertPolicy
from collector.alerts.state import Alert, Notice, Silence
from collector.alerts.store import (
    read_alerts,
    read_last_evaluated,
    read_store_view,
    write_alerts,
    write_last_evaluated,
)
from collector.catalog import Catalog
from collector.clickhouse import Client, StoreError

STEPPED_BACK = timedelta(minutes=10)
SETTLE_SECONDS = 3.0  # real time that events of a minute may take to be stored
# Keeps what is to be told of a minute together with the state it leaves.
Tell = Callable[[Sequence[Notice], datetime, LocalState], None]


@dataclass
class Memory:
    """What the evaluation knows between ticks; read from its own state and the store when the process starts.

    complete_at: the minute of the last evaluation that had the store's view, this process's.
    """

    alerts: dict[str, Alert] = field(default_factory=dict)
    last_evaluated: datetime | None = None
    loaded: bool = False
    unsaved: dict[str, Alert] = field(default_factory=dict)
    silences: Sequence[Silence] = ()
    acknowledged: Collection[str] = ()
    complete_at: datetime | None = None


def memory_of(state: LocalState) -> Memory:
    """Return the memory that a state left by an earlier process makes."""
    return Memory(
        alerts=dict(state.alerts),
        last_evaluated=state.last_evaluated,
        unsaved={alert_id: state.alerts[alert_id] for alert_id in state.unsaved if alert_id in state.alerts},
        silences=state.silences,
        acknowledged=state.acknowledged,
    )


def newest_minute(now: datetime, *, settle: timedelta) -> datetime:
    """Return the end of the newest minute whose events are in the record. settle: in the clock's time."""
    return datetime.fromtimestamp((now - settle).timestamp() // 60 * 60, UTC)


def evaluate_once(
    client: Client | None,
    catalog: Catalog,
    memory: Memory,
    *,
    minute: datetime,
    spool_age: timedelta | None,
    tell: Tell,
) -> Decision | None:
    """Evaluate at the end of a minute; None when it was evaluated already. client: None when the store is away.

    Raises StoreError when the result could not be stored: it is kept, and stored by the next evaluation.
    """
    view = _read(client, catalog, memory, minute)
    if _is_done(memory, minute):
        return None
    policy: AlertPolicy = catalog.alerts.policy
    own = conditions_of_collector(
        spool_age=spool_age, last_evaluated=memory.last_evaluated, now=minute, policy=policy
    )  # fmt: skip
    decision = decide(
        memory.alerts, own, view, policy, now=minute, silences=memory.silences, acknowledged=memory.acknowledged
    )
    unsaved = {**memory.unsaved, **{alert.alert_id: alert for alert in decision.changed}}
    silences, acknowledged = memory.silences, memory.acknowledged
    if view is not None:
        silences, acknowledged = view.silences, set(view.acknowledged)
    tell(decision.notices, minute, LocalState(minute, decision.alerts, set(unsaved), silences, acknowledged))
    memory.alerts, memory.last_evaluated, memory.unsaved = decision.alerts, minute, unsaved
    memory.silences, memory.acknowledged = silences, acknowledged
    if view is not None:
        memory.complete_at = minute
    if client is not None and view is not None:
        if memory.unsaved:
            write_alerts(client, list(memory.unsaved.values()), now=minute)
            memory.unsaved.clear()
        write_last_evaluated(client, minute)
    return decision


def _read(client: Client | None, catalog: Catalog, memory: Memory, minute: datetime) -> StoreView | None:
    if client is None:
        return None
    try:
        if not memory.loaded:
            _join(memory, read_alerts(client), read_last_evaluated(client))
            memory.loaded = True
        if _is_done(memory, minute):
            return None
        return read_store_view(client, catalog, now=minute)
    except StoreError:
        return None


def _is_done(memory: Memory, minute: datetime) -> bool:
    """Say whether a minute was evaluated; one long before the last is not: the clock was set back, and goes on."""
    last = memory.last_evaluated
    return last is not None and last - STEPPED_BACK < minute <= last


def _join(memory: Memory, stored: dict[str, Alert], last: datetime | None) -> None:
    """Take in what the store has. Our own state is the newer one, unless it was lost or is another collector's."""
    own = memory.last_evaluated
    if own is None or (last is not None and last > own):
        memory.alerts = {**memory.alerts, **stored, **memory.unsaved}
        memory.last_evaluated = last if own is None or last is None else max(own, last)
        return
    memory.alerts = {**stored, **memory.alerts}
    memory.unsaved = {alert_id: alert for alert_id, alert in memory.unsaved.items() if stored.get(alert_id) != alert}
