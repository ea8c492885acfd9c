"""The actuator for Kubernetes: the floor of a HorizontalPodAutoscaler or of a KEDA ScaledObject.

A floor is written by server-side apply of that one field and our annotation, tried in a dry run first, never forced.
Every change is one request, so that a kill between two leaves a floor that is never under the operator's own. Which
floor is right is decided elsewhere; whose it is, is `ownership`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from forecaster.actuators import gitops
from forecaster.actuators.contract import FIELD_MANAGER, ActuatorUnavailable, FloorConflict, FloorRefused
from forecaster.actuators.kubernetes import ApiRefusal, KubernetesApi
from forecaster.actuators.ownership import (
    HPA,
    OPERATOR_FLOOR,
    Floor,
    Kind,
    farewell_patch,
    floor_patch,
    owner_of,
    paused_by,
    read_floor,
)
from forecaster.actuators.reverts import REVERTS_WITHIN
from forecaster.actuators.target import Surroundings
from forecaster.scaling.types import HpaState

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_TRIES = 3  # of a change that others' changes of the same object get in the way of
_log = structlog.get_logger("forecaster")


class KubernetesAutoscalers:
    """Reads and writes floors of one kind. A name is `namespace/name`, or a name in `namespace`.

    `now` is real time: Kubernetes does not know another.
    """

    def __init__(
        self,
        api: KubernetesApi,
        kind: Kind,
        *,
        namespace: str,
        surroundings: Surroundings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._kind, self._namespace, self._now = api, kind, namespace, now
        self._surroundings = surroundings
        self._reverts: dict[str, list[datetime]] = {}
        self._reverted: dict[str, str] = {}
        self._conflicts: dict[str, str] = {}  # told of, by holder

    def read(self, name: str) -> HpaState:
        """Return the autoscaler's state. Raises ActuatorUnavailable."""
        return self._state(name, self._get(name))

    def write_floor(self, name: str, floor: int) -> HpaState:
        """Set the floor. Raises ActuatorUnavailable, FloorRefused, and FloorConflict when another manager holds it."""
        found = self._get(name)
        state = self._state(name, found)
        what = f"floor {floor} of {name}"
        if not 1 <= floor <= state.ceiling:
            raise FloorRefused(f"{what}: expected 1 to {state.ceiling}")
        if floor < state.operator_floor:
            raise FloorRefused(f"{what}: under the operator's own, {state.operator_floor}")
        if state.blocked is not None:
            refusal = self._refusal(name, found) or FloorRefused(state.blocked)
            self._tell_conflict(name, found, refusal)
            raise type(refusal)(f"{what}: {refusal}")
        self._conflicts.pop(name, None)
        after = self._apply(name, found, floor=floor, operators=state.operator_floor)
        if floor != state.floor:
            reason = "FloorRaised" if floor > state.floor else "FloorLowered"
            self._tell(found, reason, f"floor {state.floor} -> {floor} (the operator's own: {state.operator_floor})")
        return self._state(name, after)

    def release(self, name: str) -> HpaState:
        """Restore the operator's floor and take our traces off. Raises ActuatorUnavailable or FloorRefused."""
        for _ in range(_TRIES):
            found = self._get(name)
            whose = read_floor(self._kind, found)
            if not whose.touched:
                return self._state(name, found)
            if whose.operators is None:
                raise FloorRefused(f"release of {name}: {_lost(self._kind, found)}")
            if whose.value != whose.operators:
                found = self._apply(name, found, floor=whose.operators, operators=whose.operators)
            try:
                after = self._patch(name, farewell_patch(self._kind, found), _MERGE)
            except ApiRefusal as refusal:
                if refusal.status != 409:
                    raise FloorRefused(f"release of {name}: {refusal}") from refusal
                continue  # it has changed meanwhile: its status changes all the time
            self._tell(after, "FloorReleased", f"floor {whose.value} -> {whose.operators}, the operator's own")
            return self._state(name, after)
        raise ActuatorUnavailable(f"release of {name}: the object changed {_TRIES} times while it was released")

    def _apply(self, name: str, found: Mapping[str, Any], *, floor: int, operators: int) -> dict[str, Any]:
        namespace, own = self._split(name)
        patch = floor_patch(self._kind, namespace, own, floor=floor, operators=operators)
        what = f"floor {floor} of {name}"
        try:
            tried = self._patch(name, patch, _APPLY, dry_run=True)
            changed = _unexpected(self._kind, found, tried, floor=floor)
            if changed:
                raise FloorRefused(f"{what}: the dry run would also have changed {', '.join(changed)}")
            return self._patch(name, patch, _APPLY)
        except ApiRefusal as refusal:
            if refusal.status == 409:
                holders = ", ".join(message.removeprefix("conflict with ") for _, _, message in refusal.causes)
                raise FloorConflict(f"{what}: {self._hand_over(name, found, holders or refusal.message)}") from refusal
            raise FloorRefused(f"{what}: {refusal}") from refusal

    def _patch(self, name: str, patch: Mapping[str, Any], how: Any, *, dry_run: bool = False) -> dict[str, Any]:
        query = [("fieldManager", FIELD_MANAGER), *([("dryRun", "All")] if dry_run else [])]
        if how == _APPLY:
            query.append(("force", "false"))
        return self._api.patch(self._kind.path(*self._split(name)), patch, how, query)

    def _get(self, name: str) -> dict[str, Any]:
        namespace, own = self._split(name)
        try:
            return self._api.get(self._kind.path(namespace, own))
        except ApiRefusal as refusal:
            why = f"no {self._kind.name} {namespace}/{own}" if refusal.status == 404 else str(refusal)
            raise ActuatorUnavailable(f"{self._api.host}: {why}") from refusal

    def _split(self, name: str) -> tuple[str, str]:
        namespace, _, own = name.rpartition("/")
        return namespace or self._namespace, own

    def _state(self, name: str, found: Mapping[str, Any]) -> HpaState:
        namespace, own = self._split(name)
        try:
            floor = read_floor(self._kind, found)
        except ValueError as error:
            raise ActuatorUnavailable(f"{self._kind.name} {namespace}/{own}: {error}") from error
        reverted_at = self._seen_reverts(name, floor)
        target = self._surroundings.target(self._kind, namespace, found)
        paused = paused_by(self._kind.name, found) or self._surroundings.paused(namespace) or target.paused
        return HpaState(
            operator_floor=floor.value if floor.operators is None else floor.operators,
            floor=floor.value,
            ceiling=floor.ceiling,
            desired=target.desired,
            current=target.current,
            ready=target.ready,
            room=target.room,
            pending=target.pending,
            reverts=len(reverted_at),
            reverted_at=reverted_at,
            resource_version=str(found["metadata"]["resourceVersion"]),
            paused=paused,
            blocked=str(target.switched_off or self._refusal(name, found) or "") or None,
        )

    def _refusal(self, name: str, found: Mapping[str, Any]) -> FloorRefused | None:
        """Return why the object as it is lets us write no floor, None when it does."""
        owner = owner_of(found) if self._kind is HPA else None
        if owner is not None:
            return FloorRefused(f"{self._kind.name} {name}: {owner}")
        floor = read_floor(self._kind, found)
        if floor.held_by is not None:
            return FloorConflict(self._hand_over(name, found, floor.held_by))
        return FloorRefused(_lost(self._kind, found)) if floor.operators is None else None

    def _hand_over(self, name: str, found: Mapping[str, Any], held_by: str) -> str:
        return gitops.how_to_hand_over(self._kind, *self._split(name), found=found, held_by=held_by)

    def _seen_reverts(self, name: str, floor: Floor) -> tuple[datetime, ...]:
        """Return when the field was ours and then another's, within half an hour, as far as this process saw it."""
        now = self._now()
        if floor.reverted_at is None:
            self._reverted.pop(name, None)
        elif self._reverted.get(name) is None:
            self._reverted[name] = floor.reverted_at
            at = _instant(floor.reverted_at) or now
            self._reverts.setdefault(name, []).append(at)
        kept = [at for at in self._reverts.get(name, ()) if now - at < REVERTS_WITHIN]
        self._reverts[name] = kept
        return tuple(kept)

    def _tell_conflict(self, name: str, found: Mapping[str, Any], refusal: FloorRefused) -> None:
        """Put the event of a conflict on the object: once, not at every attempt."""
        held_by = read_floor(self._kind, found).held_by if isinstance(refusal, FloorConflict) else None
        if held_by is not None and self._conflicts.get(name) != held_by:
            self._conflicts[name] = held_by
            self._tell(found, "FloorConflict", f"no floor is written: {held_by} holds it", warning=True)

    def _tell(self, found: Mapping[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        """Put an event on the object, for `kubectl describe`. That it could not be put there changes nothing."""
        metadata = found["metadata"]
        at = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.tidegauge.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": self._kind.api_version,
                "kind": self._kind.name,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata.get("uid"),
            },
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            self._api.create(f"/api/v1/namespaces/{metadata['namespace']}/events", event)
        except (ApiRefusal, ActuatorUnavailable) as error:
            _log.warning("an event could not be put on the autoscaler", name=metadata["name"], why=str(error))


def _lost(kind: Kind, found: Mapping[str, Any]) -> str:
    metadata = found["metadata"]
    return (
        f"{kind.name} {metadata['namespace']}/{metadata['name']}: the operator's own floor is not known: the "
        f"annotation {OPERATOR_FLOOR} is gone or no whole number. Set it: kubectl -n {metadata['namespace']} annotate "
        f"{kind.plural}.{kind.group} {metadata['name']} --overwrite {OPERATOR_FLOOR}=..."
    )


def _unexpected(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any], *, floor: int) -> list[str]:
    """Return what a dry run changed beside the floor and our annotation, or that it did not change the floor.

    Whoever made us the owner of more than we apply would have us remove it.
    """
    old, new = _settings_of(before), _settings_of(after)
    old[f"spec.{kind.floor_field}"] = floor
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _settings_of(found: Mapping[str, Any]) -> dict[str, Any]:
    metadata = found.get("metadata") or {}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != OPERATOR_FLOOR}
    parts = {"spec": found.get("spec"), "metadata.labels": metadata.get("labels"), "metadata.annotations": annotations}
    return {f"{part}.{key}": value for part, settings in parts.items() for key, value in (settings or {}).items()}


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
