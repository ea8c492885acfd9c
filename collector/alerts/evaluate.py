"""One evaluation: read, decide, write. Driven by data time: each ended minute is looked at once, whoever restarts.

What is told goes to the outbox before the state is stored: a kill in between repeats a notice under its old identity,
which the outbox knows. While the store is away the collector's own conditions are still judged, from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from collector.alerts.decide import Decision, StoreView, conditions_of_collector, decide
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

SETTLE_SECONDS = 3.0  # real time that events of a minute may take to be stored
Tell = Callable[[Sequence[Notice], datetime], None]


@dataclass
class Memory:
    """What the evaluation knows between ticks; read from the store when the process starts."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    last_evaluated: datetime | None = None
    loaded: bool = False
    unsaved: dict[str, Alert] = field(default_factory=dict)
    silences: Sequence[Silence] = ()
    acknowledged: Collection[str] = ()


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
    if memory.last_evaluated is not None and minute <= memory.last_evaluated:
        return None
    policy: AlertPolicy = catalog.alerts.policy
    own = conditions_of_collector(
        spool_age=spool_age, last_evaluated=memory.last_evaluated, now=minute, policy=policy
    )  # fmt: skip
    decision = decide(
        memory.alerts, own, view, policy, now=minute, silences=memory.silences, acknowledged=memory.acknowledged
    )
    tell(decision.notices, minute)
    memory.alerts, memory.last_evaluated = decision.alerts, minute
    memory.unsaved.update({alert.alert_id: alert for alert in decision.changed})
    if view is not None:
        memory.silences, memory.acknowledged = view.silences, view.acknowledged
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
            stored, last = read_alerts(client), read_last_evaluated(client)
            memory.alerts = {**stored, **memory.alerts}
            memory.last_evaluated = max(filter(None, (last, memory.last_evaluated)), default=None)
            memory.loaded = True
        if memory.last_evaluated is not None and minute <= memory.last_evaluated:
            return None
        return read_store_view(client, catalog, now=minute)
    except StoreError:
        return None
