"""What people have ordered: paused or not, and in which mode; kept in a small file that needs no store.

The file lies in the data directory, is replaced in one piece and synced, and is read anew at every tick: an order is in
force as soon as it is written, outlives a kill -9, and is obeyed while ClickHouse is down. `store.orders` keeps the
history of orders; whoever reads it takes over what was ordered of another forecaster on the same store. Of two orders
about the same thing the later one counts, by real time: the demo's clock may be set back.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

from collector.catalog import Mode

ALL = "*"
FILE = "orders.json"
Kind = Literal["pause", "resume", "mode", "release"]
_KINDS = ("pause", "resume", "mode", "release")
CONFIGURED = "configured"  # the mode of tidegauge.yaml
MODES = ("observe", "recommend", "act", CONFIGURED)
_MOST_UNSAVED = 1000


class OrdersUnreadableError(ValueError):
    """The file of orders is not one of ours: nothing may be changed until somebody has looked at it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order. scope: a service, or ALL; value: the mode, of an order about modes; at: real time."""

    id: str
    scope: str
    kind: Kind
    at: datetime
    actor: str
    reason: str
    value: str = ""
    forced: bool = False

    @property
    def subject(self) -> str:
        """Say what it is about: a later order about the same takes its place."""
        return f"{'mode' if self.kind == 'mode' else 'pause'}/{self.scope}"


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest order on each subject, and those that the store has not been told of yet."""

    newest: Mapping[str, Order] = field(default_factory=dict)
    unsaved: tuple[Order, ...] = ()

    def paused(self, service: str) -> str | None:
        """Return who stopped all changes of a service and why; None when nobody did."""
        for scope, what in ((ALL, "all services"), (service, service)):
            order = self.newest.get(f"pause/{scope}")
            if order is not None and order.kind != "resume":
                verb = "released" if order.kind == "release" else "paused"
                return f"{what} {verb} by {order.actor} at {order.at:%Y-%m-%d %H:%M} UTC: {order.reason}"
        return None

    def mode(self, service: str) -> Order | None:
        """Return the order that sets a service's mode; None: tidegauge.yaml says it."""
        order = self.newest.get(f"mode/{service}")
        return None if order is None or order.value == CONFIGURED else order

    def with_order(self, order: Order, *, unsaved: bool) -> Standing:
        """Return what stands after an order; an older one about the same changes nothing."""
        before = self.newest.get(order.subject)
        if before is not None and (before.at, before.id) >= (order.at, order.id):
            return self
        waiting = (*self.unsaved, order)[-_MOST_UNSAVED:] if unsaved else self.unsaved
        return Standing({**self.newest, order.subject: order}, waiting)


class Orders:
    """The file in `folder`. Safe to share between threads and processes: changes are made under a file lock."""

    def __init__(self, folder: Path, *, now: Callable[[], datetime]) -> None:
        self._folder, self._path, self._now = folder, folder / FILE, now

    def standing(self) -> Standing:
        """Return what stands now. Raises OrdersUnreadableError."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Standing()
        except (OSError, UnicodeDecodeError) as error:
            raise OrdersUnreadableError(f"{self._path}: expected a readable file of orders, got {error}") from error
        return _standing_of(text, self._path)

    def give(
        self, kind: Kind, *, scope: str, actor: str, reason: str, value: str = "", forced: bool = False
    ) -> Order:  # fmt: skip
        """Write an order; when this returns it is on disk and in force. Raises OSError, OrdersUnreadableError."""
        with self._locked():
            standing = self.standing()
            order = Order(str(uuid.uuid4()), scope, kind, self._now(), actor, reason, value, forced)
            changed = standing.with_order(order, unsaved=True)
            if changed is standing:  # the machine's clock was set back: the order given last counts all the same
                order = replace(order, at=standing.newest[order.subject].at + timedelta(microseconds=1))
                changed = standing.with_order(order, unsaved=True)
            self._write(changed)
        return order

    def take_over(self, orders: Sequence[Order]) -> None:
        """Keep what was ordered elsewhere, where it is newer than what stands here."""
        standing = self.standing()
        if all(standing.with_order(order, unsaved=False) is standing for order in orders):
            return
        with self._locked():
            standing = self.standing()
            for order in orders:
                standing = standing.with_order(order, unsaved=False)
            self._write(standing)

    def saved(self, ids: Sequence[str]) -> None:
        """Forget that these have still to be told to the store."""
        with self._locked():
            standing = self.standing()
            left = tuple(order for order in standing.unsaved if order.id not in ids)
            self._write(Standing(standing.newest, left))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / f"{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, standing: Standing) -> None:
        """Replace the file: a kill at any point leaves the old one or the new one, whole."""
        document = {
            "version": 1,
            "newest": [_document(order) for order in standing.newest.values()],
            "unsaved": [_document(order) for order in standing.unsaved],
        }
        beside = self._path.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _document(order: Order) -> dict[str, Any]:
    return {**asdict(order), "at": order.at.isoformat()}


def _standing_of(text: str, path: Path) -> Standing:
    try:
        document = json.loads(text)
        newest = [_order(each) for each in document["newest"]]
        return Standing({order.subject: order for order in newest}, tuple(_order(one) for one in document["unsaved"]))
    except (KeyError, TypeError, ValueError) as error:
        raise OrdersUnreadableError(f"{path}: expected orders as this version writes them, got {error!r}") from error


def _order(value: Mapping[str, Any]) -> Order:
    order = Order(**{**value, "at": datetime.fromisoformat(value["at"])})
    if order.kind not in _KINDS or order.at.tzinfo is None:
        raise ValueError(f"order {order.id}: kind {order.kind!r} at {order.at}")
    return order


def mode_in_force(standing: Standing, service: str, configured: Mode) -> Mode:
    """Return the mode a service is in: as ordered, else as configured."""
    order = standing.mode(service)
    return configured if order is None else cast("Mode", order.value)
