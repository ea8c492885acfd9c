"""One leader by a Kubernetes Lease: where the floor is a cluster's, that cluster says who may write it.

Keeps the contract of `leadership.Leads`, as the store's lease does. Two never lead at once: a leader counts its lease
from before it asked for it and ends it early; another takes over only when it has seen the same renewal for the whole
lease, by its own monotonic clock; and of two who write at once the API server refuses one, by resourceVersion.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from forecaster.actuators.contract import ActuatorUnavailable
from forecaster.actuators.kubernetes import ApiRefusal, KubernetesApi

NAME = "tidegauge-forecaster"
LEASE_SECONDS = 20
_MARGIN_SECONDS = 8.0  # longer than a write to the cluster may take: one begun in time ends in time
_RENEW_AFTER_SECONDS = 4.0
_ASK_AFTER_SECONDS = 1.0
_log = structlog.get_logger("forecaster")


class KubernetesLease:
    """Our claim to the Lease `tidegauge-forecaster` of a namespace. Safe to share between threads."""

    def __init__(self, api: KubernetesApi, *, namespace: str, holder: str, monotonic: Callable[[], float]) -> None:
        self._api, self.holder, self._monotonic = api, holder, monotonic
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._asked_at = self._until = -float("inf")
        self._seen: tuple[str, str] | None = None  # (holder, renewed at) of another's lease
        self._seen_at = -float("inf")
        self._led: bool | None = None
        self._lock = threading.Lock()

    def holds(self) -> bool:
        """Return whether the lease we have still runs, without asking anybody."""
        return self._monotonic() < self._until

    def leads(self) -> bool:
        """Claim or renew when that is due, and return whether we lead; without an answer, as long as our lease runs."""
        with self._lock:
            wait = _RENEW_AFTER_SECONDS if self.holds() else _ASK_AFTER_SECONDS
            if self._monotonic() - self._asked_at >= wait:
                try:
                    self._ask()
                except (ActuatorUnavailable, ApiRefusal) as error:
                    _log.debug("the lease could not be renewed", why=str(error))
            leading = self.holds()
            if leading != self._led:
                _log.info("leads" if leading else "stands by", holder=self.holder, by="Lease")
                self._led = leading
            return leading

    def release(self) -> None:
        """Let go, so that the next in line leads at once."""
        with self._lock, suppress(ActuatorUnavailable, ApiRefusal):
            self._until = -float("inf")
            found = self._api.get(f"{self._collection}/{NAME}")
            if found["spec"].get("holderIdentity") == self.holder:
                found["spec"].update(holderIdentity="", leaseDurationSeconds=1, renewTime=_now())
                self._api.replace(f"{self._collection}/{NAME}", found)

    def _ask(self) -> None:
        asked = self._monotonic()
        try:
            found = self._api.get(f"{self._collection}/{NAME}")
        except ApiRefusal as refusal:
            if refusal.status != 404:
                raise
            self._won(asked, lambda: self._api.create(self._collection, self._claim(None)))
            return
        if self._is_free(found["spec"], asked):
            self._won(asked, lambda: self._api.replace(f"{self._collection}/{NAME}", self._claim(found)))
        else:
            self._asked_at, self._until = asked, -float("inf")

    def _is_free(self, spec: dict[str, Any], asked: float) -> bool:
        """Say whether the lease is ours, nobody's, or another's who has not been heard of for all of its time."""
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        if holder in ("", self.holder):
            return True
        if (holder, renewed) != self._seen:
            self._seen, self._seen_at = (holder, renewed), asked
        return asked - self._seen_at >= float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)

    def _won(self, asked: float, write: Callable[[], object]) -> None:
        """Lead from before we asked, unless another wrote first. After a lost answer the lease before counts."""
        try:
            write()
        except ApiRefusal as refusal:
            self._until = -float("inf")
            if refusal.status != 409:
                raise
        else:
            self._asked_at, self._until, self._seen = asked, asked + LEASE_SECONDS - _MARGIN_SECONDS, None

    def _claim(self, found: dict[str, Any] | None) -> dict[str, Any]:
        spec = dict(found["spec"]) if found else {}
        if spec.get("holderIdentity") != self.holder:
            transitions = int(spec.get("leaseTransitions") or 0) + (1 if found else 0)
            spec.update(holderIdentity=self.holder, acquireTime=_now(), leaseTransitions=transitions)
        spec.update(renewTime=_now(), leaseDurationSeconds=LEASE_SECONDS)
        head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return {**(found or {**head, "metadata": {"name": NAME}}), "spec": spec}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
