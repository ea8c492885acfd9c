"""The table of orders: their history, and the way an order reaches another forecaster on the same store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from collector.clickhouse import Client
from forecaster.orders import Kind, Order, Orders

_COLUMNS = "id, scope, kind, toUnixTimestamp64Micro(ordered_at), actor, reason, value, forced"


def write_order(client: Client, order: Order) -> None:
    """Store an order; the same one again is stored once."""
    row: dict[str, Any] = {
        "scope": order.scope,
        "ordered_at": round(order.at.timestamp() * 1e6),
        "id": order.id,
        "kind": order.kind,
        "value": order.value,
        "actor": order.actor,
        "reason": order.reason,
        "forced": int(order.forced),
    }
    client.insert_columns("operator_orders", {name: [value] for name, value in row.items()}, token=f"order/{order.id}")


def read_newest_orders(client: Client) -> list[Order]:
    """Return the newest order of each scope on each subject."""
    rows = client.query_rows(
        f"SELECT {_COLUMNS} FROM operator_orders ORDER BY ordered_at DESC, id DESC"  # noqa: S608 (a constant)
        " LIMIT 1 BY scope, kind = 'mode'"
    )
    return [_order(row) for row in rows]


def read_orders(client: Client, scopes: Sequence[str], *, limit: int = 100) -> list[Order]:
    """Return at most `limit` orders of these scopes, newest first."""
    rows = client.query_rows(
        f"SELECT {_COLUMNS} FROM operator_orders WHERE scope IN {{scopes:Array(String)}}"  # noqa: S608 (a constant)
        " ORDER BY ordered_at DESC, id DESC LIMIT {limit:UInt32}",
        {"scopes": list(scopes), "limit": limit},
    )
    return [_order(row) for row in rows]


def settle_orders(client: Client, orders: Orders) -> None:
    """Tell the store what it has not been told, and take over what was ordered elsewhere. Raises StoreError."""
    waiting = orders.standing().unsaved
    for order in waiting:
        write_order(client, order)
    if waiting:
        orders.saved([order.id for order in waiting])
    orders.take_over(read_newest_orders(client))


def _order(row: tuple[Any, ...]) -> Order:
    id_, scope, kind, at_us, actor, reason, value, forced = row
    at = datetime.fromtimestamp(int(at_us) // 1_000_000, UTC).replace(microsecond=int(at_us) % 1_000_000)
    return Order(str(id_), str(scope), cast("Kind", str(kind)), at, actor, reason, value, bool(forced))
