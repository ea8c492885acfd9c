"""What to tell whoever holds a floor that we are to set: how to hand the field over, word for word. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from forecaster.actuators.contract import FIELD_MANAGER
from forecaster.actuators.ownership import OPERATOR_FLOOR, Kind, owns


def how_to_hand_over(kind: Kind, namespace: str, name: str, *, found: Mapping[str, Any], held_by: str) -> str:
    """Return why a floor is not written that another field manager holds, and how to let us have it."""
    field = f"spec.{kind.floor_field}"
    return f"""\
{field} of {kind.name} {namespace}/{name} is held by {held_by}; it is not taken by force. To hand it over, once:
{handover(kind, namespace, name, found=found)}
and let nobody set it back. Argo CD, in the Application:
{argo_cd(kind, namespace, name)}
Flux, in the HelmRelease (or, in a Kustomization, leave {field} out of the manifest):
{flux(kind, name)}
With kubectl or Helm alone: docs/kubernetes.md."""


def handover(kind: Kind, namespace: str, name: str, *, found: Mapping[str, Any]) -> str:
    """Return the shell command that makes the floor nobody's, as the object is now, and changes nothing else of it.

    Not a forced apply in our name: kubectl would hand us every field that a client-side apply ever set.
    """
    entries = (found.get("metadata") or {}).get("managedFields") or []
    steps = []
    for index, entry in enumerate(entries):
        if entry.get("manager") != FIELD_MANAGER and owns(entry, "f:spec", f"f:{kind.floor_field}"):
            at = f"/metadata/managedFields/{index}"
            steps.append({"op": "test", "path": f"{at}/manager", "value": entry["manager"]})
            steps.append({"op": "remove", "path": f"{at}/fieldsV1/f:spec/f:{kind.floor_field}"})
    resource = f"{kind.plural}.{kind.group}"
    return f"kubectl -n {namespace} patch {resource} {name} --type=json -p '{json.dumps(steps)}'"


def argo_cd(kind: Kind, namespace: str, name: str) -> str:
    """Return the part of an Argo CD Application that leaves the floor to us."""
    pointer = OPERATOR_FLOOR.replace("/", "~1")
    return f"""\
spec:
  ignoreDifferences:
    - group: {kind.group}
      kind: {kind.name}
      name: {name}
      namespace: {namespace}
      jsonPointers:
        - /spec/{kind.floor_field}
        - /metadata/annotations/{pointer}
  syncPolicy:
    syncOptions:
      - RespectIgnoreDifferences=true"""


def flux(kind: Kind, name: str) -> str:
    """Return the part of a Flux HelmRelease that leaves the floor to us."""
    pointer = OPERATOR_FLOOR.replace("/", "~1")
    return f"""\
spec:
  driftDetection:
    mode: enabled
    ignore:
      - paths: [/spec/{kind.floor_field}, /metadata/annotations/{pointer}]
        target: {{kind: {kind.name}, name: {name}}}"""


def to_release(kind: Kind, namespace: str, name: str) -> str:
    """Return the shell line that restores the operator's floor without Tidegauge."""
    resource = f"{kind.plural}.{kind.group}"
    column = OPERATOR_FLOOR.replace(".", r"\.")
    return (
        f"kubectl -n {namespace} patch {resource} {name} --type=merge -p "
        f'"{{\\"spec\\":{{\\"{kind.floor_field}\\":$(kubectl -n {namespace} get {resource} {name} '
        f"-o jsonpath='{{.metadata.annotations.{column}}}')}}}}\""
    )
