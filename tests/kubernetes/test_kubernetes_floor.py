"""The floor of an HPA, on an API server in memory and on a real one: written, contested, given back."""

from datetime import timedelta
from typing import Any

import pytest
import yaml

from forecaster.actuators.contract import ActuatorUnavailable, FloorConflict, FloorRefused
from tests.kubernetes.cluster import APPLY, BASE
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop

__all__ = ["cluster", "shop"]


def managed_by_us(found: dict[str, Any]) -> Any:
    entries = [entry for entry in found["metadata"]["managedFields"] if entry["manager"] == "tidegauge"]
    return entries[0]["fieldsV1"] if entries else None


def test_an_autoscaler_is_read_as_its_operator_left_it(shop: Shop) -> None:
    state = shop.actuator().read(shop.name)
    assert (state.operator_floor, state.floor, state.ceiling) == (3, 3, 50)
    assert state.resource_version is not None
    assert "kubectl-create (Update); it is not taken by force" in (state.blocked or "")


def test_a_raised_floor_is_in_force_is_told_and_the_deployment_follows(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    after = actuator.write_floor(shop.name, 7)
    assert (after.operator_floor, after.floor, after.blocked) == (3, 7, None)
    shop.cluster.until(lambda: shop.replicas() == 7)
    assert actuator.read(shop.name).desired == 7
    assert ("Normal", "FloorRaised", "floor 3 -> 7 (the operator's own: 3)") in shop.events()


def test_events_stand_on_the_autoscaler_itself(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 9)
    actuator.write_floor(shop.name, 7)
    found = shop.cluster.ask("GET", f"/api/v1/namespaces/{shop.namespace}/events")["items"]
    ours = [event for event in found if event["source"].get("component") == "tidegauge"]
    assert {event["reason"] for event in ours} == {"FloorRaised", "FloorLowered"}
    uid = shop.hpa()["metadata"]["uid"]
    on = {(event["involvedObject"]["kind"], event["involvedObject"]["uid"]) for event in ours}
    assert on == {("HorizontalPodAutoscaler", uid)}


def test_what_we_own_is_the_floor_and_our_annotation_and_nothing_else(shop: Shop) -> None:
    shop.hand_over()
    before = shop.hpa()["spec"]
    shop.actuator().write_floor(shop.name, 9)
    found = shop.hpa()
    assert found["spec"] == {**before, "minReplicas": 9}
    ours = managed_by_us(found)
    assert ours["f:spec"] == {"f:minReplicas": {}}
    assert list(ours["f:metadata"]) == ["f:annotations"]
    assert "f:tidegauge.dev/operator-floor" in ours["f:metadata"]["f:annotations"]


def test_a_floor_that_another_holds_is_not_forced_and_the_error_says_how_to_hand_it_over(shop: Shop) -> None:
    actuator = shop.actuator()
    for _ in range(2):
        with pytest.raises(FloorConflict) as conflict:
            actuator.write_floor(shop.name, 8)
    text = str(conflict.value)
    command = f"kubectl -n {shop.namespace} patch horizontalpodautoscalers.autoscaling reference-app --type=json -p "
    assert command in text
    argo_cd = f"""
spec:
  ignoreDifferences:
    - group: autoscaling
      kind: HorizontalPodAutoscaler
      name: reference-app
      namespace: {shop.namespace}
      jsonPointers:
        - /spec/minReplicas
        - /metadata/annotations/tidegauge.dev~1operator-floor
  syncPolicy:
    syncOptions:
      - RespectIgnoreDifferences=true
"""
    assert argo_cd in text
    assert "paths: [/spec/minReplicas, /metadata/annotations/tidegauge.dev~1operator-floor]" in text
    assert (shop.floor(), shop.annotation()) == (3, None)
    warnings = [reason for kind, reason, _ in shop.events() if kind == "Warning"]
    assert warnings == ["FloorConflict"]  # told once, not at every attempt


def test_the_printed_command_takes_the_floor_from_its_holder_and_nothing_else(shop: Shop) -> None:
    before = shop.hpa()
    shop.hand_over()
    after = shop.hpa()
    assert after["spec"] == before["spec"]
    holders = [entry for entry in after["metadata"]["managedFields"] if entry["manager"] == "kubectl-create"]
    fields = dict(before["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"])
    del fields["f:minReplicas"]
    assert [entry["fieldsV1"]["f:spec"] for entry in holders] == [fields]


def test_a_conflict_that_comes_between_reading_and_writing_is_not_forced_either(shop: Shop) -> None:
    shop.hand_over()
    api = shop.cluster.api()
    really = api.patch

    def late(*args: Any) -> dict[str, Any]:
        shop.edit({"spec": {"minReplicas": 5}})
        return really(*args)

    api.patch = late  # type: ignore[method-assign]  # the edit has to come after the read
    with pytest.raises(FloorConflict, match="kubectl-edit"):
        shop.actuator(api=api).write_floor(shop.name, 8)
    assert shop.floor() == 5


def test_an_edit_of_another_field_survives_our_writing(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 7)
    shop.edit({"spec": {"maxReplicas": 40}})
    assert actuator.write_floor(shop.name, 8).ceiling == 40
    assert shop.hpa()["spec"]["maxReplicas"] == 40


def test_an_edit_of_the_floor_is_the_operators_word_and_survives(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 9)
    shop.edit({"spec": {"minReplicas": 5}})
    state = actuator.read(shop.name)
    assert (state.operator_floor, state.floor, state.reverts) == (5, 5, 1)
    with pytest.raises(FloorConflict, match="kubectl-edit"):
        actuator.write_floor(shop.name, 10)
    assert shop.floor() == 5


def test_a_floor_set_back_twice_within_half_an_hour_is_counted_twice_and_forgotten_later(shop: Shop) -> None:
    actuator = shop.actuator()
    for count in (1, 2):
        shop.hand_over()
        assert actuator.write_floor(shop.name, 9).reverts == count - 1
        shop.edit({"spec": {"minReplicas": 3}}, manager="argocd-controller")
        assert actuator.read(shop.name).reverts == count
        assert actuator.read(shop.name).reverts == count  # the same one
    shop.now += timedelta(minutes=31)
    assert actuator.read(shop.name).reverts == 0


def test_an_operator_who_raises_the_noted_floor_is_heard(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 4)
    shop.edit({"metadata": {"annotations": {"tidegauge.dev/operator-floor": "6"}}})
    assert actuator.read(shop.name).operator_floor == 6
    with pytest.raises(FloorRefused, match="under the operator's own, 6"):
        actuator.write_floor(shop.name, 5)
    assert actuator.write_floor(shop.name, 6).floor == 6
    assert shop.annotation() == "6"


@pytest.mark.parametrize(
    ("floor", "why"), [(0, "expected 1 to 50"), (51, "expected 1 to 50"), (2, "operator's own, 3")]
)
def test_a_floor_out_of_bounds_is_refused_and_changes_nothing(shop: Shop, floor: int, why: str) -> None:
    shop.hand_over()
    with pytest.raises(FloorRefused, match=f"floor {floor} of {shop.name}: .*{why}"):
        shop.actuator().write_floor(shop.name, floor)
    assert shop.floor() == 3


def test_a_released_floor_is_the_operators_own_and_no_trace_of_us_is_left(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 9)
    released = actuator.release(shop.name)
    assert (released.operator_floor, released.floor) == (3, 3)
    found = shop.hpa()
    assert shop.annotation() is None
    assert managed_by_us(found) is None
    assert ("Normal", "FloorReleased", "floor 9 -> 3, the operator's own") in shop.events()
    assert actuator.release(shop.name).resource_version == found["metadata"]["resourceVersion"]  # nothing left to do


def test_after_a_release_the_operator_applies_another_floor_without_a_conflict(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 9)
    actuator.release(shop.name)
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    body |= {"metadata": {"name": "reference-app"}, "spec": {"minReplicas": 4}}
    how = {"how": "application/apply-patch+yaml", "fieldManager": "kubectl"}
    assert shop.cluster.respond("PATCH", shop.hpa_path, body, **how).status_code == 200
    assert shop.floor() == 4


def test_a_release_leaves_alone_what_the_operator_set_meanwhile(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 9)
    shop.edit({"spec": {"minReplicas": 5}})
    assert actuator.release(shop.name).floor == 5
    assert shop.annotation() is None


def test_who_was_made_owner_of_the_whole_spec_takes_nothing_of_it_away(shop: Shop) -> None:
    whole = yaml.safe_load((BASE / "reference-app-hpa.yaml").read_text())
    shop.cluster.ask("PATCH", shop.hpa_path, whole, how=APPLY, fieldManager="tidegauge", force="true")
    ours = [entry for entry in shop.hpa()["metadata"]["managedFields"] if entry["manager"] == "tidegauge"]
    shop.edit({"metadata": {"managedFields": ours, "annotations": {"tidegauge.dev/operator-floor": "3"}}})
    before = shop.hpa()
    with pytest.raises(FloorRefused, match="maxReplicas"):
        shop.actuator().write_floor(shop.name, 9)
    assert shop.hpa()["spec"] == before["spec"]
    assert shop.hpa()["metadata"]["labels"] == before["metadata"]["labels"]


def test_without_the_note_of_the_operators_floor_nothing_is_written_and_nothing_guessed(shop: Shop) -> None:
    shop.hand_over()
    actuator = shop.actuator()
    actuator.write_floor(shop.name, 9)
    shop.edit({"metadata": {"annotations": {"tidegauge.dev/operator-floor": None}}})
    state = actuator.read(shop.name)
    assert (state.operator_floor, state.floor) == (9, 9)
    for attempt in (lambda: actuator.write_floor(shop.name, 10), lambda: actuator.release(shop.name)):
        with pytest.raises(FloorRefused, match="the operator's own floor is not known"):
            attempt()
    assert (shop.floor(), shop.annotation()) == (9, None)


OWNERS = {
    "keda-label": ({"labels": {"scaledobject.keda.sh/name": "orders"}}, "ScaledObject orders"),
    "keda-owner": (
        {"ownerReferences": [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "orders", "uid": "1"}]},
        "kind: keda, name: orders",
    ),
    "crane": (
        {"labels": {"app.kubernetes.io/managed-by": "effective-hpa-controller"}},
        "EffectiveHorizontalPodAutoscaler",
    ),
}


@pytest.mark.parametrize("case", OWNERS)
def test_an_autoscaler_that_another_operator_makes_is_refused_and_its_maker_named(shop: Shop, case: str) -> None:
    metadata, named = OWNERS[case]
    shop.hand_over()
    shop.edit({"metadata": metadata})
    actuator = shop.actuator()
    assert named in (actuator.read(shop.name).blocked or "")
    with pytest.raises(FloorRefused, match=named):
        actuator.write_floor(shop.name, 9)
    assert shop.floor() == 3


def test_a_label_on_the_autoscaler_or_an_annotation_on_its_namespace_pauses_us(shop: Shop) -> None:
    actuator = shop.actuator()
    assert actuator.read(shop.name).paused is None
    namespace = f"/api/v1/namespaces/{shop.namespace}"
    shop.edit({"metadata": {"annotations": {"tidegauge.dev/paused": "sale until 6 pm"}}}, path=namespace)
    said = actuator.read(shop.name).paused
    assert said == f"Namespace {shop.namespace} says tidegauge.dev/paused: sale until 6 pm"
    shop.edit({"metadata": {"labels": {"tidegauge.dev/paused": "true"}}})
    assert actuator.read(shop.name).paused == "HorizontalPodAutoscaler reference-app says tidegauge.dev/paused"
    shop.edit({"metadata": {"labels": {"tidegauge.dev/paused": "false"}}})
    shop.edit({"metadata": {"annotations": {"tidegauge.dev/paused": None}}}, path=namespace)
    assert actuator.read(shop.name).paused is None


def test_a_deployment_scaled_to_zero_by_hand_is_a_reason_and_no_floor_is_written(shop: Shop) -> None:
    shop.hand_over()
    shop.edit({"spec": {"replicas": 0}}, path=shop.deployment_path)
    actuator = shop.actuator()
    assert "scaled to 0 replicas by hand" in (actuator.read(shop.name).blocked or "")
    with pytest.raises(FloorRefused, match="scaled to 0 replicas by hand"):
        actuator.write_floor(shop.name, 9)
    assert shop.floor() == 3


def test_an_unknown_autoscaler_is_unavailable_and_named(shop: Shop) -> None:
    with pytest.raises(ActuatorUnavailable, match="no HorizontalPodAutoscaler default/nobody"):
        shop.actuator().read("nobody")
