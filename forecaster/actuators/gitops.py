"""What to tell whoever holds a floor that we are to set: how to hand the field over, word for word. Pure."""

from __future__ import annotations

from forecaster.actuators.contract import FIELD_MANAGER
from forecaster.actuators.ownership import OPERATOR_FLOOR, Kind


def how_to_hand_over(kind: Kind, namespace: str, name: str, *, floor: int, held_by: str) -> str:
    """Return why a floor is not written that another field manager holds, and three ways to let us have it."""
    field = f"spec.{kind.floor_field}"
    return f"""\
{field} of {kind.name} {namespace}/{name} is held by {held_by}; it is not taken by force. To hand it over, once:
{handover(kind, namespace, name, floor=floor)}
and let nobody set it back. Argo CD, in the Application:
{argo_cd(kind, namespace, name)}
Flux, in the HelmRelease (or, in a Kustomization, leave {field} out of the manifest):
{flux(kind, name)}
kubectl or Helm alone: leave {field} out of the manifest."""


def handover(kind: Kind, namespace: str, name: str, *, floor: int) -> str:
    """Return the shell command that makes us the field's only owner and notes the operator's own floor.

    It sets one replica more: a field that is applied as it is would be shared. Our next decision takes that one back.
    """
    return f"""\
kubectl apply --server-side --force-conflicts --field-manager={FIELD_MANAGER} -f - <<'EOF'
apiVersion: {kind.api_version}
kind: {kind.name}
metadata: {{name: {name}, namespace: {namespace}, annotations: {{{OPERATOR_FLOOR}: "{floor}"}}}}
spec: {{{kind.floor_field}: {floor + 1}}}  # one more: a field changes hands only when it changes
EOF"""


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
