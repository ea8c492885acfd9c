"""What controllers do to the objects of the API server in memory, when let: autoscale, and start pods at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from forecaster.scaling.hpa import HpaMemory, HpaReading, HpaSpec, recommend

Objects = dict[tuple[str, str, str, str], dict[str, Any]]


def sync_autoscalers(objects: Objects) -> None:
    """Set each Deployment's replicas as its HPA would without metrics, and the HPA's status."""
    for (_, plural, namespace, _), hpa in list(objects.items()):
        target = hpa.get("spec", {}).get("scaleTargetRef", {})
        deployment = objects.get(("apps", "deployments", namespace, str(target.get("name"))))
        if plural != "horizontalpodautoscalers" or deployment is None:
            continue
        spec = HpaSpec(hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"], 1.0)
        current = deployment["spec"].get("replicas", 1)
        answer = recommend(spec, HpaMemory(), HpaReading(current, current, None), now=datetime.now(UTC))
        deployment["spec"]["replicas"] = answer.desired
        hpa["status"] = {"currentReplicas": current, "desiredReplicas": answer.desired}


def sync_pods(objects: Objects) -> None:
    """Let every Deployment have the replicas that it asks for, all of them ready."""
    for (_, plural, _, _), deployment in objects.items():
        if plural == "deployments":
            replicas = deployment["spec"].get("replicas", 1)
            deployment["status"] = {"replicas": replicas, "readyReplicas": replicas}
