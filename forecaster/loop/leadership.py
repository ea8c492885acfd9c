"""One leader: of several forecasters on one store, the one with the oldest claim acts, and the others stand by.

Every forecaster claims and renews in the store; the oldest claim that is still heard of leads, so those standing by are
a queue. Two never lead at once: a leader counts its lease from before it asked for it and ends it `_MARGIN_SECONDS`
early, the others count from when the store took it; a claim that may have been given up by the others is dropped, not
renewed; and a new claim waits until any claim that could be older is to be seen (one whose insert took longer than half
of that wait is dropped). Times are real: of a monotonic clock here, of the store's there, whatever clock is played.

A forecaster that was killed and is started again on the same data directory is the same holder: a lock on a file there
says that its earlier life is over, so it goes on at once.
"""

from __future__ import annotations

import fcntl
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from collector.clickhouse import Client, StoreError
from forecaster.actuators.contract import Actuator, ActuatorUnavailable
from forecaster.scaling.types import HpaState
from forecaster.store.leases import read_claims, write_claim

NAME = "forecaster"
LEASE_SECONDS = 20.0
SETTLE_SECONDS = 1.0
_MARGIN_SECONDS = 8.0  # longer than a write to the cluster may take: one begun in time ends in time
_RENEW_AFTER_SECONDS = 4.0
_log = structlog.get_logger("forecaster")


class Leads(Protocol):
    """Says whether we may act: `Lease` by the store, `kube_lease.KubernetesLease` by the cluster that is acted on."""

    def leads(self) -> bool:
        """Return whether we lead now. Raises StoreError when that cannot be known and the last lease has run out."""

    def holds(self) -> bool:
        """Return whether the lease we have still runs, without asking anybody."""

    def release(self) -> None:
        """Let go, so that the next in line leads at once."""


class Alone:
    """Leads always: where one forecaster is all there is."""

    def leads(self) -> bool:
        """Return True."""
        return True

    def holds(self) -> bool:
        """Return True."""
        return True

    def release(self) -> None:
        """Do nothing."""


class Lease:
    """Our claim to lead. Safe to share between threads."""

    def __init__(self, client: Client, *, holder: str, monotonic: Callable[[], float]) -> None:
        self._client, self.holder, self._monotonic = client, holder, monotonic
        self._asked_at = self._until = -float("inf")
        self._doubtful = False  # a claim's insert was slow or its answer was lost
        self._lock = threading.Lock()
        self._led: bool | None = None

    def holds(self) -> bool:
        """Return whether the lease we have still runs, without asking anybody."""
        return self._monotonic() < self._until

    def leads(self) -> bool:
        """Claim or renew when that is due, and return whether we lead. Raises StoreError when the lease has run out."""
        with self._lock:
            if self._monotonic() - self._asked_at >= _RENEW_AFTER_SECONDS:
                try:
                    self._ask()
                except StoreError:
                    if not self.holds():
                        raise
            leading = self.holds()
            if leading != self._led:
                _log.info("leads" if leading else "stands by", holder=self.holder)
                self._led = leading
            return leading

    def release(self) -> None:
        """Let go, so that the next in line leads at once."""
        with self._lock, suppress(StoreError):
            self._drop()

    def _ask(self) -> None:
        asked = self._monotonic()
        claims = read_claims(self._client, NAME, alive_seconds=LEASE_SECONDS)
        ours = next((claim for claim in claims if claim.holder == self.holder), None)
        if ours is None:
            self._claim()
            return
        if self._doubtful:
            self._drop()
            return
        if ours.claimed_seconds_ago < SETTLE_SECONDS:
            return  # an older one may still come to light
        write_claim(self._client, NAME, self.holder, claimed_us=ours.claimed_us)
        if ours.renewed_seconds_ago + self._monotonic() - asked >= LEASE_SECONDS - _MARGIN_SECONDS / 4:
            self._drop()  # the others may have seen it run out before it was renewed
            return
        self._asked_at = asked
        self._until = asked + LEASE_SECONDS - _MARGIN_SECONDS if claims[0].holder == self.holder else -float("inf")

    def _claim(self) -> None:
        self._until = -float("inf")
        begun = self._monotonic()
        self._doubtful = True
        write_claim(self._client, NAME, self.holder, claimed_us=None)
        self._doubtful = self._monotonic() - begun > SETTLE_SECONDS / 2

    def _drop(self) -> None:
        self._until = -float("inf")
        write_claim(self._client, NAME, self.holder, claimed_us=None, released=True)
        self._doubtful = False


class LedActuator:
    """An actuator that writes only while the lease runs: what was decided before it was lost is not carried out."""

    def __init__(self, actuator: Actuator, lease: Leads) -> None:
        self._actuator, self._lease = actuator, lease

    def read(self, name: str) -> HpaState:
        """Return the autoscaler's state; see `Actuator`."""
        return self._actuator.read(name)

    def write_floor(self, name: str, floor: int) -> HpaState:
        """Set the floor; raises ActuatorUnavailable when we do not lead (any more). See `Actuator`."""
        self._demand_lead()
        return self._actuator.write_floor(name, floor)

    def release(self, name: str) -> HpaState:
        """Give the operator's floor back; raises ActuatorUnavailable when we do not lead. See `Actuator`."""
        self._demand_lead()
        return self._actuator.release(name)

    def _demand_lead(self) -> None:
        if not self._lease.holds():
            raise ActuatorUnavailable("another forecaster leads, or it could not be asked who does")


def holder_of(folder: Path | None) -> tuple[str, Callable[[], None]]:
    """Return our name among claimants, and what closes its file.

    With a data folder whose lock is free it is the name kept there; with one whose lock another process has, or
    without a folder, a new one.
    """
    fresh = f"{os.uname().nodename}-{uuid.uuid4()}"
    if folder is None:
        return fresh, lambda: None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "forecaster.holder", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return fresh, lambda: None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return fresh, lambda: None
    kept = os.read(file, 200).decode("ascii", "replace")
    if not kept:
        os.write(file, fresh.encode())
        kept = fresh
    return kept, lambda: os.close(file)
