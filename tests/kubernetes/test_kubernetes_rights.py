"""The rights that deploy/kubernetes ships are enough for all that the forecaster does, and it does all they allow."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from forecaster.actuators.contract import ActuatorUnavailable, FloorRefused
from forecaster.actuators.kubernetes import KubernetesApi
from forecaster.actuators.ownership import SCALED_OBJECT
from forecaster.actuators.target import Surroundings
from forecaster.loop.kube_lease import KubernetesLease
from tests.kubernetes.cluster import BASE, FORECASTER, Cluster
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop
from tests.kubernetes.memory_api import VERBS, Address

__all__ = ["cluster", "shop"]


class Recorded(KubernetesApi):
    """Notes what is asked: (verb, group, resource)."""

    def __init__(self, api: KubernetesApi) -> None:
        super().__init__(api._client)
        self.asked: set[tuple[str, str, str]] = set()
        self.refused: list[str] = []

    def _ask(self, method: str, path: str, *rest: Any) -> dict[str, Any]:
        at = Address(path)
        self.asked.add((VERBS.get(method) or ("get" if at.name else "list"), at.group, at.plural))
        return super()._ask(method, path, *rest)


def shipped_rights() -> set[tuple[str, str, str]]:
    documents = yaml.safe_load_all((BASE / "forecaster-rbac.yaml").read_text())
    return {
        (verb, group, resource)
        for document in documents
        for rule in document.get("rules", ())
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_the_shipped_rights_are_enough_and_each_of_them_is_used(shop: Shop) -> None:
    api = Recorded(shop.cluster.api())
    actuator = shop.actuator(api=api)
    shop.hand_over()
    actuator.write_floor(shop.name, 7)
    actuator.release(shop.name)
    keda = shop.actuator(SCALED_OBJECT, api=api)
    with pytest.raises(ActuatorUnavailable, match="no ScaledObject"):  # allowed, but there is none
        keda.read(f"{shop.namespace}/none")
    around = Surroundings(api, monotonic=lambda: 0.0)
    for kind in ("StatefulSet", "ReplicaSet"):
        reference = {"apiVersion": "apps/v1", "kind": kind, "name": "none"}
        around.target(
            SCALED_OBJECT, shop.namespace, {"metadata": {"name": "none"}, "spec": {"scaleTargetRef": reference}}
        )
    path = "/apis/coordination.k8s.io/v1/namespaces/tidegauge/leases/tidegauge-forecaster"
    shop.cluster.respond("DELETE", path)  # of the tests before: the first forecaster of a cluster makes it
    lease = KubernetesLease(api, namespace="tidegauge", holder="a", monotonic=lambda: 0.0)
    assert lease.leads()
    lease.release()
    # A ScaledObject is patched as an HPA is; its patches are tested where there is a ScaledObject.
    assert api.asked == shipped_rights() - {("patch", "keda.sh", "scaledobjects")}


FORBIDDEN = [
    ("PATCH", "/apis/apps/v1/namespaces/{}/deployments/reference-app", {"spec": {"replicas": 9}}),
    ("DELETE", "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/reference-app", None),
    ("GET", "/api/v1/namespaces/{}/secrets", None),
    ("PUT", "/apis/coordination.k8s.io/v1/namespaces/{}/leases/tidegauge-forecaster", {}),
]


@pytest.mark.parametrize("case", range(len(FORBIDDEN)))
def test_what_is_not_the_forecasters_business_is_forbidden(shop: Shop, case: int) -> None:
    import httpx

    from tests.kubernetes.cluster import FORECASTER_TOKEN, MERGE

    method, path, body = FORBIDDEN[case]
    token = shop.cluster.tokens.get(FORECASTER_TOKEN, FORECASTER_TOKEN)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": MERGE}
    response = shop.cluster._http.request(method, path.format(shop.namespace), headers=headers, json=body)
    assert response.status_code == httpx.codes.FORBIDDEN


def test_without_the_right_to_see_nodes_there_is_no_room_known_and_the_floor_is_written_all_the_same(
    cluster: Cluster, shop: Shop
) -> None:
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/tidegauge-forecaster"
    before = cluster.ask("GET", role)
    rules = [{**rule, "resources": [each for each in rule["resources"] if each != "nodes"]} for rule in before["rules"]]
    shop.hand_over()
    cluster.ask("PATCH", role, {"rules": rules}, how="application/merge-patch+json")
    try:
        actuator = shop.actuator()
        cluster.until(lambda: actuator.read(shop.name).room is None)
        assert actuator.write_floor(shop.name, 6).floor == 6
    finally:
        cluster.ask("PATCH", role, {"rules": before["rules"]}, how="application/merge-patch+json")


def test_without_the_right_to_patch_the_refusal_says_which_right_is_missing(cluster: Cluster, shop: Shop) -> None:
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/tidegauge-forecaster"
    before = cluster.ask("GET", role)
    rules = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "patch"] or ["get"]} for rule in before["rules"]
    ]
    shop.hand_over()
    cluster.ask("PATCH", role, {"rules": rules}, how="application/merge-patch+json")

    def refused() -> bool:
        try:
            shop.actuator().write_floor(shop.name, 6)
        except FloorRefused as refusal:
            return "cannot patch resource" in str(refusal) and FORECASTER in str(refusal)
        return False

    try:
        cluster.until(refused)
    finally:
        cluster.ask("PATCH", role, {"rules": before["rules"]}, how="application/merge-patch+json")
