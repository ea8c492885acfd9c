"""Room for more replicas: what waits, what nodes have left, and what a quota allows."""

from typing import Any

from forecaster.actuators.room import requests_of, room_in_quotas, room_on_nodes
from tests.kubernetes.cluster import MERGE
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop

__all__ = ["cluster", "shop"]

TEMPLATE = {"containers": [{"resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}]}


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": spec.pop("ready", "True")}]
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods}
    return {
        "metadata": {"name": name, "labels": spec.pop("labels", {})},
        "spec": spec,
        "status": {"allocatable": allocatable, "conditions": conditions},
    }


def pod_on(node_name: str, cpu: str, phase: str = "Running") -> dict[str, Any]:
    spec = {"nodeName": node_name, "containers": [{"resources": {"requests": {"cpu": cpu}}}]}
    return {"spec": spec, "status": {"phase": phase}}


def test_room_is_what_fits_beside_what_runs_on_each_node() -> None:
    # a: 4 - 1.2 = 2.8 cpu: 5 of 0.5; b: 2 Gi of memory: 4 of 512 Mi. What has ended takes nothing.
    pods = [pod_on("a", "1200m"), pod_on("a", "2", phase="Succeeded")]
    assert room_on_nodes(TEMPLATE, [node("a"), node("b", memory="2Gi")], pods) == 5 + 4


def test_a_node_that_is_full_of_pods_has_no_room_whatever_its_cpu() -> None:
    assert room_on_nodes({"containers": [{}]}, [node("a", pods="2")], [pod_on("a", "1"), pod_on("a", "1")]) == 0


def test_nodes_that_would_not_take_the_pod_are_no_room() -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    refusing = [
        node("cordoned", unschedulable=True),
        node("down", ready="False"),
        node("tainted", taints=[taint]),
    ]
    assert room_on_nodes(TEMPLATE, refusing, []) == 0
    tolerant = {**TEMPLATE, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    assert room_on_nodes(tolerant, refusing, []) == 8
    chosen = {**TEMPLATE, "nodeSelector": {"zone": "a"}}
    assert room_on_nodes(chosen, [node("x"), node("y", labels={"zone": "a"})], []) == 8


def test_a_pod_requests_its_containers_and_sidecars_together_or_its_greediest_start() -> None:
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    start = {"resources": {"requests": {"cpu": "2"}}}
    limited = {"resources": {"limits": {"cpu": "300m"}}}  # a request defaults to the limit
    spec = {"containers": [limited, limited], "initContainers": [sidecar], "overhead": {"cpu": "50m"}}
    assert float(requests_of(spec)["cpu"]) == 0.75  # 0.3 + 0.3 + 0.1 + 0.05
    assert float(requests_of({**spec, "initContainers": [sidecar, start]})["cpu"]) == 2.05


def quota(resource: str, hard: str, *, used: str, **spec: Any) -> dict[str, Any]:
    return {"spec": {"hard": {resource: hard}, **spec}, "status": {"hard": {resource: hard}, "used": {resource: used}}}


def test_the_tightest_quota_counts_and_those_about_other_things_do_not() -> None:
    quotas = [
        {
            "spec": {"hard": {"requests.cpu": "10"}},
            "status": {"hard": {"requests.cpu": "10"}, "used": {"requests.cpu": "8"}},
        },
        {"spec": {"hard": {"pods": "20"}}, "status": {"hard": {"pods": "20"}, "used": {"pods": "17"}}},
        {"spec": {"hard": {"configmaps": "1"}}, "status": {"hard": {"configmaps": "1"}, "used": {"configmaps": "1"}}},
        {"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}, "status": {"hard": {"pods": "1"}, "used": {}}},
    ]
    assert room_in_quotas(TEMPLATE, quotas) == 3  # 2 cpu are 4 pods; 20 - 17 are 3
    assert room_in_quotas(TEMPLATE, quotas[2:]) is None


def test_room_and_waiting_pods_are_read_from_the_cluster(shop: Shop) -> None:
    cluster, namespace = shop.cluster, shop.namespace
    small: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    small["spec"] = {"hard": {"pods": "5"}}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    shop.hand_over()
    cluster.ask("PATCH", shop.deployment_path, {"spec": {"replicas": 0}}, how=MERGE)
    cluster.until(lambda: not cluster.ask("GET", pods)["items"])
    cluster.ask("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", small)
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "waits", "labels": {"app": "reference-app"}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }
    quota_path = f"/api/v1/namespaces/{namespace}/resourcequotas/small/status"
    used = {"status": {"hard": {"pods": "5"}, "used": {"pods": "1"}}}
    cluster.until(lambda: cluster.respond("PATCH", quota_path, used, how=MERGE).is_success)
    cluster.until(lambda: cluster.respond("POST", pods, body).status_code in (201, 409))
    if cluster.authority is None:  # in memory nobody gives a pod its phase
        cluster.ask("PATCH", f"{pods}/waits/status", {"status": {"phase": "Pending"}}, how=MERGE)
    around = shop.actuator()
    cluster.until(lambda: around.read(shop.name).pending == 1)
    shop.monotonic += 60
    assert around.read(shop.name).room == 0  # no node at all, though the quota has room for four
