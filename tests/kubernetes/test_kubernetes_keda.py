"""The floor of a KEDA ScaledObject, on an API server in memory and on a real one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from forecaster.actuators.contract import FloorConflict
from forecaster.actuators.ownership import SCALED_OBJECT
from tests.kubernetes.cluster import APPLY, HPAS, MERGE
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop

__all__ = ["cluster", "shop"]


@pytest.fixture
def scaled(shop: Shop) -> Shop:
    """The app under a ScaledObject (no floor said, at most 30), with the HPA that KEDA makes of it."""
    definition = yaml.safe_load((Path(__file__).parent / "keda_crd.yaml").read_text())
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaledobjects.keda.sh"
    shop.cluster.ask("PATCH", path, definition, how=APPLY, fieldManager="admin", force="true")
    shop.cluster.ask("DELETE", shop.hpa_path)
    body = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "orders"},
        "spec": {
            "scaleTargetRef": {"name": "reference-app"},
            "maxReplicaCount": 30,
            "triggers": [{"type": "prometheus", "metadata": {"threshold": "100"}}],
        },
    }
    collection = path_of(shop).rpartition("/")[0]
    shop.cluster.until(lambda: shop.cluster.respond("GET", collection).status_code == 200)
    shop.cluster.ask("POST", collection, body, fieldManager="kubectl-create")
    made = yaml.safe_load("""
        apiVersion: autoscaling/v2
        kind: HorizontalPodAutoscaler
        metadata: {name: keda-hpa-orders, labels: {app.kubernetes.io/managed-by: keda-operator}}
        spec:
          scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: reference-app}
          maxReplicas: 30
          metrics: [{type: External, external: {metric: {name: s0}, target: {type: AverageValue, averageValue: "100"}}}]
    """)
    shop.cluster.ask("POST", HPAS.format(shop.namespace), made, fieldManager="keda-operator")
    return shop


def path_of(shop: Shop) -> str:
    return SCALED_OBJECT.path(shop.namespace, "orders")


def spec(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop.cluster.ask("GET", path_of(shop))["spec"]
    return found


def test_a_scaled_object_without_a_floor_has_kedas_own_and_it_is_raised_and_given_back(scaled: Shop) -> None:
    actuator, name = scaled.actuator(SCALED_OBJECT), f"{scaled.namespace}/orders"
    before = actuator.read(name)
    assert (before.operator_floor, before.floor, before.ceiling, before.blocked) == (0, 0, 30, None)
    others = spec(scaled)
    after = actuator.write_floor(name, 6)  # nobody holds the field: it needs no handing over
    assert (after.operator_floor, after.floor) == (0, 6)
    assert spec(scaled) == {**others, "minReplicaCount": 6}
    assert actuator.release(name).floor == 0
    found = scaled.cluster.ask("GET", path_of(scaled))
    assert "tidegauge.dev/operator-floor" not in (found["metadata"].get("annotations") or {})
    assert "tidegauge" not in {entry["manager"] for entry in found["metadata"]["managedFields"]}


def test_a_scaled_objects_replicas_are_those_that_its_hpa_tells(scaled: Shop) -> None:
    path = HPAS.format(scaled.namespace) + "/keda-hpa-orders/status"
    status = {"status": {"currentReplicas": 4, "desiredReplicas": 5, "conditions": []}}
    scaled.cluster.ask("PATCH", path, status, how=MERGE)
    assert scaled.actuator(SCALED_OBJECT).read(f"{scaled.namespace}/orders").desired in (
        1,
        5,
    )  # 1: the controller's own


def test_a_floor_that_is_in_git_is_not_forced_until_it_is_handed_over(scaled: Shop) -> None:
    actuator, name = scaled.actuator(SCALED_OBJECT), f"{scaled.namespace}/orders"
    scaled.edit({"spec": {"minReplicaCount": 2}}, manager="argocd-controller", path=path_of(scaled))
    with pytest.raises(FloorConflict, match="kind: ScaledObject\n      name: orders"):
        actuator.write_floor(name, 6)
    assert spec(scaled)["minReplicaCount"] == 2
    scaled.hand_over(SCALED_OBJECT, path_of(scaled))
    assert actuator.write_floor(name, 6).operator_floor == 2
    assert actuator.release(name).floor == 2


@pytest.mark.parametrize("said", [{"autoscaling.keda.sh/paused": "true"}, {"autoscaling.keda.sh/paused-replicas": "4"}])
def test_a_scaled_object_that_keda_has_paused_pauses_us(scaled: Shop, said: dict[str, str]) -> None:
    scaled.edit({"metadata": {"annotations": said}}, path=path_of(scaled))
    paused = scaled.actuator(SCALED_OBJECT).read(f"{scaled.namespace}/orders").paused
    assert paused == f"KEDA is paused there: {next(iter(said))}={next(iter(said.values()))}"
