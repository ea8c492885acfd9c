"""What an autoscaler scales, and what surrounds it: replicas, room in the cluster, and who paused a namespace.

Reads only. Nodes and pods of the whole cluster are read at most every half minute, for all autoscalers together; who
may not read them gets no room, which is told apart from none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from forecaster.actuators.kubernetes import ApiRefusal, KubernetesApi
from forecaster.actuators.ownership import SCALED_OBJECT, Kind, paused_by
from forecaster.actuators.room import room_in_quotas, room_on_nodes

_Read = TypeVar("_Read")
_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "ReplicaSet": "replicasets"}
_CLUSTER_EVERY_SECONDS = 30.0
_log = structlog.get_logger("forecaster")


@dataclass(frozen=True, slots=True)
class Target:
    """Replicas of what is scaled; room and pending as in HpaState; switched_off: why the autoscaler does nothing."""

    desired: int
    current: int
    ready: int
    room: int | None
    pending: int
    paused: str | None = None
    switched_off: str | None = None


class Surroundings:
    """Reads what is around autoscalers. count_nodes: false where nodes are added when pods wait for them."""

    def __init__(self, api: KubernetesApi, *, monotonic: Callable[[], float], count_nodes: bool = True) -> None:
        self._api, self._monotonic, self._count_nodes = api, monotonic, count_nodes
        self._cluster: tuple[list[dict[str, Any]], list[dict[str, Any]]] | None = None
        self._cluster_at = -float("inf")
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def paused(self, namespace: str) -> str | None:
        """Return who paused us in a namespace and why. Raises ActuatorUnavailable."""
        found = self._readable(lambda: self._api.get(f"/api/v1/namespaces/{namespace}"))
        return paused_by("Namespace", found) if found else None

    def target(self, kind: Kind, namespace: str, autoscaler: Mapping[str, Any]) -> Target:
        """Return what an autoscaler scales and how it stands. Raises ActuatorUnavailable."""
        workload = self._workload(namespace, (autoscaler.get("spec") or {}).get("scaleTargetRef") or {})
        spec, status = (workload.get("spec") or {}, workload.get("status") or {}) if workload else ({}, {})
        hpa, paused = autoscaler, None
        if kind is SCALED_OBJECT:
            hpa, paused = self._hpa_of(namespace, autoscaler), _paused_in_keda(autoscaler)
        seen = hpa.get("status") or {}
        replicas = int(spec.get("replicas", 1)) if workload else 0
        current = int(status.get("replicas", 0)) if workload else int(seen.get("currentReplicas") or 0)
        waiting = self._waiting(namespace, spec.get("selector") or {}) if workload else 0
        off = workload is not None and replicas == 0 and kind is not SCALED_OBJECT
        return Target(
            desired=int(seen.get("desiredReplicas") or replicas),
            current=current,
            ready=int(status.get("readyReplicas") or 0) if workload else current,
            room=self._room(namespace, (spec.get("template") or {}).get("spec"), waiting),
            pending=waiting,
            paused=paused,
            switched_off=_switched_off(namespace, workload) if off and workload else None,
        )

    def _workload(self, namespace: str, reference: Mapping[str, Any]) -> dict[str, Any] | None:
        plural = _PLURALS.get(str(reference.get("kind") or "Deployment"))
        version = str(reference.get("apiVersion") or "apps/v1")
        if plural is None or version != "apps/v1":
            return None  # another kind: its replicas are what the autoscaler says of them
        path = f"/apis/apps/v1/namespaces/{namespace}/{plural}/{reference.get('name')}"
        return self._readable(lambda: self._api.get(path))

    def _hpa_of(self, namespace: str, scaled_object: Mapping[str, Any]) -> dict[str, Any]:
        name = (scaled_object.get("status") or {}).get("hpaName") or f"keda-hpa-{scaled_object['metadata']['name']}"
        path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}"
        return self._readable(lambda: self._api.get(path)) or {}

    def _waiting(self, namespace: str, selector: Mapping[str, Any]) -> int:
        query = [("labelSelector", _selector(selector)), ("fieldSelector", "status.phase=Pending")]
        pods = self._readable(lambda: self._api.items(f"/api/v1/namespaces/{namespace}/pods", query))
        return sum(not (pod.get("spec") or {}).get("nodeName") for pod in pods or ())

    def _room(self, namespace: str, template: Mapping[str, Any] | None, waiting: int) -> int | None:
        if template is None:
            return None
        quotas = self._readable(lambda: self._api.items(f"/api/v1/namespaces/{namespace}/resourcequotas"))
        cluster = self._nodes_and_pods() if self._count_nodes else None
        on_nodes = max(0, room_on_nodes(template, *cluster) - waiting) if cluster else None
        return min(
            (room for room in (on_nodes, room_in_quotas(template, quotas or ())) if room is not None), default=None
        )

    def _nodes_and_pods(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
        with self._lock:
            now = self._monotonic()
            if now - self._cluster_at >= _CLUSTER_EVERY_SECONDS:
                nodes = self._readable(lambda: self._api.items("/api/v1/nodes"))
                pods = self._readable(lambda: self._api.items("/api/v1/pods", [("fieldSelector", "spec.nodeName!=")]))
                self._cluster = (nodes, pods) if nodes is not None and pods is not None else None
                self._cluster_at = now
            return self._cluster

    def _readable(self, ask: Callable[[], _Read]) -> _Read | None:
        """Return the answer, None where it is not to be found or not for us to read (told once)."""
        try:
            return ask()
        except ApiRefusal as refusal:
            if refusal.status != 404 and str(refusal) not in self._told:
                self._told.add(str(refusal))
                _log.warning("not for us to read in the cluster", why=str(refusal))
            return None


def _paused_in_keda(scaled_object: Mapping[str, Any]) -> str | None:
    said = (scaled_object["metadata"].get("annotations") or {}).items()
    names = {"autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas"}
    found = sorted(f"{name}={value}" for name, value in said if name in names and value != "false")
    return f"KEDA is paused there: {', '.join(found)}" if found else None


def _switched_off(namespace: str, workload: Mapping[str, Any]) -> str:
    name = f"{workload.get('kind', 'workload')} {namespace}/{workload['metadata']['name']}"
    return f"{name} was scaled to 0 replicas by hand, which switches its autoscaler off: a floor would change nothing"


def _selector(selector: Mapping[str, Any]) -> str:
    """Return a label selector as the API server's query spells it."""
    parts = [f"{name}={value}" for name, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or ():
        name, operator, values = each["key"], each["operator"], ",".join(each.get("values") or ())
        spelled = {"In": f"{name} in ({values})", "NotIn": f"{name} notin ({values})", "Exists": name}
        parts.append(spelled.get(operator, f"!{name}"))
    return ",".join(parts)
