"""What people may do to the scaling of a service: pause, resume, release, set its mode, apply one decision by hand.

The API and the commands both go through here. Every order is on disk before it is answered, and in the audit as soon as
the store is there. An order that may not be followed is refused with what would have to be true.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from collector.catalog import Service
from collector.clickhouse import StoreError
from forecaster import store
from forecaster.actuators.contract import Actuator, ActuatorUnavailable, FloorRefused
from forecaster.audit import save
from forecaster.loop.journal import UNKNOWN, Journal
from forecaster.loop.look import read_hpa, read_orders_of
from forecaster.loop.tick import By, Decided, decide_once, refresh_once
from forecaster.loop.world import Memory, World, scaling_of
from forecaster.orders import ALL, CONFIGURED, MODES, Order, Orders, mode_in_force
from forecaster.store.orders import settle_orders
from forecaster.store.outcomes import Patch, patch_row

LONGEST_TEXT = 500


class OrderRefusedError(ValueError):
    """An order that may not be followed now: says why, and what would have to be true."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, why, and whether against the gates."""

    actor: str
    reason: str
    forced: bool = False

    def __post_init__(self) -> None:
        for name, text in (("who", self.actor), ("reason", self.reason)):
            if not 0 < len(text.strip()) <= LONGEST_TEXT or not text.isprintable():
                raise OrderRefusedError(f"{name}: expected a line of 1 to {LONGEST_TEXT} characters, got {text[:80]!r}")


def pause(orders: Orders, scope: str, asked: Asked, memories: Sequence[Memory] = ()) -> Order:
    """Stop all changes of a service's floor, or of all services'; the floors stay where they are.

    memories: of the services it is about. When this returns, no change that was under way is still to come.
    """
    order = orders.give("pause", scope=scope, actor=asked.actor, reason=asked.reason)
    with ExitStack() as decided:
        for memory in memories:
            decided.enter_context(memory.deciding)
    return order


def resume(orders: Orders, scope: str, asked: Asked) -> Order:
    """End the pause of a service, or that of all services. The one does not end the other."""
    return orders.give("resume", scope=scope, actor=asked.actor, reason=asked.reason)


def set_mode(world: World, orders: Orders, service: Service, mode: str, asked: Asked) -> Order:
    """Set a service's mode from now on, whatever tidegauge.yaml says; `configured` goes back to that.

    Raises OrderRefusedError for act without a passed backtest, unless forced; StoreError when that cannot be known.
    """
    configured = scaling_of(service).mode
    if mode not in MODES:
        raise OrderRefusedError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    if (configured if mode == CONFIGURED else mode) == "act" and not asked.forced:
        demand_backtest(world, service, "mode act")
    return orders.give(
        "mode", scope=service.name, actor=asked.actor, reason=asked.reason, value=mode, forced=asked.forced
    )


def release(
    actuator: Actuator,
    orders: Orders,
    service: Service,
    asked: Asked,
    *,
    memory: Memory,
    journal: Journal,
    world: World | None,
) -> Patch:
    """Give the operator's own floor back, and pause the service so that it stays so until it is resumed.

    Works while the store is down (world None: it was never reached): its row is in the journal before anything is
    changed, and in the store by the next decision that reaches it. Raises ActuatorUnavailable, FloorRefused.
    """
    name = scaling_of(service).address
    order = orders.give("release", scope=service.name, actor=asked.actor, reason=asked.reason)
    with memory.deciding:
        before = read_hpa(actuator, name)
        patch = Patch(
            id=str(uuid.uuid4()),
            service=service.name,
            at=world.clock.now() if world else order.at,
            action="release",
            floor_before=before.floor if before else None,
            floor_after=None,
            ready_before=before.ready if before else None,
            applied=False,
            error=UNKNOWN,
            actor=asked.actor,
            reason=asked.reason,
        )
        waiting = journal.left(service.name)
        journal.begin(service.name, [*waiting, patch_row(patch)])
        error = None
        try:
            after = actuator.release(name)
        except (ActuatorUnavailable, FloorRefused) as refused:
            error, patch = refused, replace(patch, error=str(refused))
        else:
            version = after.resource_version
            patch = replace(patch, floor_after=after.floor, applied=True, error=None, resource_version=version)
        journal.begin(service.name, [*waiting, patch_row(patch)])
        _tell_store(world, orders, service.name, memory, journal)
    if error is not None:
        raise error
    return patch


def apply_now(world: World, service: Service, memory: Memory, asked: Asked) -> Decided:
    """Forecast and decide now and carry it out, by hand: what mode recommend recommends, or what act would do later.

    Refused in mode observe and without a passed backtest, unless forced; never against a pause. Raises
    OrderRefusedError, StoreError.
    """
    ordered, standing = read_orders_of(world, service.name)
    if ordered.paused is not None:
        raise OrderRefusedError(f"{ordered.paused}; resume it first")
    if not asked.forced:
        mode = mode_in_force(standing, service.name, scaling_of(service).mode)
        if mode == "observe":
            raise OrderRefusedError(f"{service.name} is in mode observe: set recommend or act, or force it")
        if ordered.mode is None or not ordered.mode.forced:
            demand_backtest(world, service, "a decision by hand")
    refresh_once(world, service, memory)
    return decide_once(world, service, memory, by=By(asked.actor, asked.forced, by_hand=True, reason=asked.reason))


def demand_backtest(world: World, service: Service, what: str) -> None:
    """Raise OrderRefusedError unless the newest backtest of the service's policy has passed."""
    backtest = store.read_latest_backtest(world.client, service.name)
    if backtest is None or not backtest.passed:
        found = "none was run" if backtest is None else f"the one of {backtest.run_at:%Y-%m-%d %H:%M} UTC did not"
        why = "" if backtest is None else f" ({backtest.report.get('reason', 'no reason stored')})"
        raise OrderRefusedError(
            f"{what} of {service.name}: expected a passed `tidegauge backtest policy {service.name}`, but {found}{why}"
        )


def scope_of(service: str | None) -> str:
    """Return the scope of an order: a service, or all of them."""
    return ALL if service is None else service


def _tell_store(world: World | None, orders: Orders, service: str, memory: Memory, journal: Journal) -> None:
    if world is None:
        return
    try:
        save(world.client, memory)  # first: of a change that both tell of, the journal may have the beginning only
        journal.settle(world.client, service)
        settle_orders(world.client, orders)
    except StoreError:
        return  # all are kept, and written by the next tick that reaches the store
