"""The API server in memory answers as a real one does: each of these runs on both."""

import json

from tests.kubernetes.cluster import APPLY, MERGE
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop

__all__ = ["cluster", "shop"]

TOO_LOW = {"spec": {"minReplicas": 51}}


def test_a_dry_run_answers_as_the_change_would_and_stores_nothing(shop: Shop) -> None:
    before = shop.hpa()
    tried = shop.cluster.ask("PATCH", shop.hpa_path, {"spec": {"maxReplicas": 60}}, how=MERGE, dryRun="All")
    assert tried["spec"]["maxReplicas"] == 60
    assert shop.hpa()["spec"] == before["spec"]


def test_a_change_of_an_object_that_has_changed_since_is_refused(shop: Shop) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "one"}, "spec": {}}
    collection = f"/apis/coordination.k8s.io/v1/namespaces/{shop.namespace}/leases"
    first = shop.cluster.ask("POST", collection, lease)
    assert shop.cluster.respond("POST", collection, lease).json()["reason"] == "AlreadyExists"
    path = f"{collection}/one"
    shop.cluster.ask("PUT", path, {**first, "spec": {"holderIdentity": "a"}})
    late = shop.cluster.respond("PUT", path, {**first, "spec": {"holderIdentity": "b"}})
    assert (late.status_code, late.json()["reason"]) == (409, "Conflict")
    assert shop.cluster.ask("GET", path)["spec"]["holderIdentity"] == "a"


def test_an_apply_of_anothers_field_is_a_conflict_that_names_the_field_unless_forced_and_the_same_value_is_shared(
    shop: Shop,
) -> None:
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "reference-app"}}
    ask = {"how": APPLY, "fieldManager": "someone"}
    refused = shop.cluster.respond("PATCH", shop.hpa_path, {**body, "spec": {"minReplicas": 4}}, **ask)
    assert refused.status_code == 409
    causes = refused.json()["details"]["causes"]
    assert [(cause["reason"], cause["field"]) for cause in causes] == [("FieldManagerConflict", ".spec.minReplicas")]
    shared = shop.cluster.ask("PATCH", shop.hpa_path, {**body, "spec": {"minReplicas": 3}}, **ask)
    assert holders(shared) == {"kubectl-create", "someone"}
    forced = shop.cluster.ask("PATCH", shop.hpa_path, {**body, "spec": {"minReplicas": 4}}, **ask, force="true")
    assert (forced["spec"]["minReplicas"], holders(forced)) == (4, {"someone"})
    gone = shop.cluster.ask("PATCH", shop.hpa_path, body, **ask)  # no longer applied by its only owner: the default
    assert (gone["spec"]["minReplicas"], holders(gone)) == (1, set())


def holders(hpa: dict) -> set[str]:
    entries = hpa["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if "f:minReplicas" in entry["fieldsV1"].get("f:spec", {})}


def test_a_floor_over_the_ceiling_is_invalid(shop: Shop) -> None:
    refused = shop.cluster.respond("PATCH", shop.hpa_path, TOO_LOW, how=MERGE)
    assert (refused.status_code, refused.json()["reason"]) == (422, "Invalid")


def test_a_watch_tells_what_changed_since_a_version(shop: Shop) -> None:
    collection = shop.hpa_path.rpartition("/")[0]
    since = shop.cluster.ask("GET", collection)["metadata"]["resourceVersion"]
    shop.edit({"spec": {"maxReplicas": 41}})
    query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": "5"}
    with shop.cluster._http.stream("GET", collection, params=query, headers=shop.cluster.known_by) as lines:
        for line in lines.iter_lines():
            change = json.loads(line)
            if change["object"]["spec"].get("maxReplicas") == 41:
                assert change["type"] == "MODIFIED"
                return
    raise AssertionError("the change was not told")


def test_a_long_list_comes_in_pages(shop: Shop) -> None:
    pods = f"/api/v1/namespaces/{shop.namespace}/resourcequotas"
    for name in ("a", "b", "c"):
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {}}
        shop.cluster.ask("POST", pods, body)
    page = shop.cluster.ask("GET", pods, limit="2")
    assert [found["metadata"]["name"] for found in page["items"]] == ["a", "b"]
    rest = shop.cluster.ask("GET", pods, **{"limit": "2", "continue": page["metadata"]["continue"]})
    assert [found["metadata"]["name"] for found in rest["items"]] == ["c"]
