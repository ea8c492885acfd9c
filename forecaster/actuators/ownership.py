"""Whose floor it is: read from an autoscaler's `managedFields` and our annotation, and written back as patches. Pure.

The operator's own floor is what another field manager says, else what the annotation keeps, else what is there. It is
written in the same request as ours, so no kill between two requests can lose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forecaster.actuators.contract import FIELD_MANAGER

OPERATOR_FLOOR = "tidegauge.dev/operator-floor"  # annotation
PAUSED = "tidegauge.dev/paused"  # label or annotation, on the autoscaler or its namespace


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of autoscaler spells what we touch. A ceiling without a default has to be there."""

    name: str
    group: str
    version: str
    plural: str
    floor_field: str
    ceiling_field: str
    default_floor: int
    default_ceiling: int | None = None

    @property
    def api_version(self) -> str:
        """Return `group/version`."""
        return f"{self.group}/{self.version}"

    def path(self, namespace: str, name: str) -> str:
        """Return the URL path of one."""
        return f"/apis/{self.api_version}/namespaces/{namespace}/{self.plural}/{name}"


HPA = Kind(
    "HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers", "minReplicas", "maxReplicas", 1
)  # fmt: skip
SCALED_OBJECT = Kind(
    "ScaledObject", "keda.sh", "v1alpha1", "scaledobjects", "minReplicaCount", "maxReplicaCount", 0, 100
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor in force and whose it is.

    operators: the operator's own floor, None when it is lost (ours is in force, the annotation is gone or no number).
    ours: we own the field. held_by: another field manager that owns it. touched: a trace of us is on the object.
    reverted_at: when another took the field from us, by the API server's clock ("": it does not say); None: nobody did.
    """

    value: int
    ceiling: int
    operators: int | None
    ours: bool
    held_by: str | None
    touched: bool
    reverted_at: str | None


def read_floor(kind: Kind, found: Mapping[str, Any]) -> Floor:
    """Return whose floor an autoscaler has. Raises ValueError when it has no ceiling."""
    spec = found.get("spec") or {}
    ceiling = spec.get(kind.ceiling_field, kind.default_ceiling)
    if ceiling is None:
        raise ValueError(f"expected spec.{kind.ceiling_field}, got none")
    value = spec.get(kind.floor_field)
    value = kind.default_floor if value is None else int(value)
    entries = (found.get("metadata") or {}).get("managedFields") or []
    owners = [entry for entry in entries if owns(entry, "f:spec", f"f:{kind.floor_field}")]
    ours = any(entry.get("manager") == FIELD_MANAGER for entry in owners)
    others = [entry for entry in owners if entry.get("manager") != FIELD_MANAGER]
    touched = any(entry.get("manager") == FIELD_MANAGER for entry in entries)
    return Floor(
        value=value,
        ceiling=int(ceiling),
        operators=value if others else _kept(found, ours=ours, value=value),
        ours=ours,
        held_by=_named(others[-1]) if others else None,
        touched=touched,
        reverted_at=str(others[-1].get("time") or "") if touched and others and not ours else None,
    )


def floor_patch(kind: Kind, namespace: str, name: str, *, floor: int, operators: int) -> dict[str, Any]:
    """Return what we apply: the floor and the operator's own beside it, and nothing else."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": name, "namespace": namespace, "annotations": {OPERATOR_FLOOR: str(operators)}},
        "spec": {kind.floor_field: floor},
    }


def farewell_patch(kind: Kind, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a merge patch that takes our ownership off and leaves the floor as it is, if nobody changed it meanwhile.

    An apply without the field would remove it, and the floor would fall to its default. The annotation goes with us,
    unless somebody else has declared it too.
    """
    metadata = found["metadata"]
    others = [entry for entry in metadata.get("managedFields") or [] if entry.get("manager") != FIELD_MANAGER]
    keeps = any(owns(entry, "f:metadata", "f:annotations", f"f:{OPERATOR_FLOOR}") for entry in others)
    return {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "managedFields": others or [{}],
            **({} if keeps else {"annotations": {OPERATOR_FLOOR: None}}),
        },
        "spec": {kind.floor_field: found["spec"][kind.floor_field]},
    }


def owner_of(found: Mapping[str, Any]) -> str | None:
    """Return who made this HPA and would set our floor back, as a sentence; None when nobody is known to."""
    metadata = found.get("metadata") or {}
    labels = metadata.get("labels") or {}
    owners = {str(owner.get("kind")): str(owner.get("name")) for owner in metadata.get("ownerReferences") or ()}
    made_by = labels.get("app.kubernetes.io/managed-by")
    scaled_object = labels.get("scaledobject.keda.sh/name") or owners.get("ScaledObject")
    if scaled_object or made_by == "keda-operator":
        return (
            f"KEDA made it for the ScaledObject {scaled_object or 'of that name'} and would set it back: name that "
            f"one, `target: {{kind: keda, name: {scaled_object or '...'}}}`"
        )
    effective = owners.get("EffectiveHorizontalPodAutoscaler")
    if effective or made_by == "effective-hpa-controller":
        return (
            f"Crane made it for the EffectiveHorizontalPodAutoscaler {effective or 'of that name'} and writes it anew "
            "at every change: let one of the two scale it"
        )
    return None


def paused_by(kind: str, found: Mapping[str, Any]) -> str | None:
    """Return who paused us by the label or annotation `tidegauge.dev/paused`; its value, if not `true`, says why."""
    metadata = found.get("metadata") or {}
    for sort in ("annotations", "labels"):
        said = (metadata.get(sort) or {}).get(PAUSED)
        if said is not None and said.lower() != "false":
            because = "" if said.lower() in ("", "true") else f": {said}"
            return f"{kind} {metadata.get('name')} says {PAUSED}{because}"
    return None


def owns(entry: Mapping[str, Any], *path: str) -> bool:
    """Say whether a field manager's entry names this field."""
    fields: Any = entry.get("fieldsV1") or {}
    for part in path:
        if not isinstance(fields, Mapping) or part not in fields:
            return False
        fields = fields[part]
    return True


def _kept(found: Mapping[str, Any], *, ours: bool, value: int) -> int | None:
    text = ((found.get("metadata") or {}).get("annotations") or {}).get(OPERATOR_FLOOR)
    if text is None:
        return None if ours else value
    return int(text) if text.isdecimal() else None


def _named(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('manager')!s} ({entry.get('operation')!s})"
