"""The manifests under deploy/kubernetes say what the code says and what the API takes; every change is noticed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from collector.catalog import read_catalog
from tests.deployment.build import BuildError, build, by_name, read_sources
from tests.deployment.known import IMAGES, ROOT, components
from tests.deployment.kubernetes_check import kubernetes_findings
from tests.deployment.kubernetes_world import FOLDER, SECRETS, World
from tests.deployment.mutate import mutations
from tests.deployment.network_check import network_findings

KUBERNETES_VERSION = "1.33"  # that of deploy/terraform
SOURCES = read_sources(FOLDER)
OVERLAYS = sorted(
    str(path.parent.relative_to(FOLDER / "overlays")) for path in (FOLDER / "overlays").rglob("kustomization.yaml")
)
CRDS = yaml.safe_load((ROOT / "tests" / "deployment" / "crds.yaml").read_text())
NOT_MANIFESTS = ("kustomization.yaml", "values.yaml", "tidegauge.yaml")
MANIFESTS = [path for path in SOURCES if path.name not in NOT_MANIFESTS]


def built(overlay: str, sources: Any = SOURCES) -> list[dict[str, Any]]:
    return build(FOLDER / "overlays" / overlay, sources)


@cache
def known_pods() -> tuple[Any, ...]:
    """The labels of all pods of all overlays: a policy may speak of pods that not every overlay has."""
    return tuple(pods.labels for overlay in OVERLAYS for pods in World(built(overlay)).pods)


def findings(overlay: str, sources: Any = SOURCES) -> list[str]:
    try:
        world = World(built(overlay, sources), known_pods())
        return kubernetes_findings(world) or network_findings(world)
    except (BuildError, KeyError, ValueError) as error:  # what cannot even be read is noticed too
        return [repr(error)]


def base() -> World:
    return World(build(FOLDER / "base", SOURCES), known_pods())


def test_there_is_an_overlay_for_one_region_one_for_each_of_three_and_one_for_development():
    regions = {f"three-regions/{region}" for region in ("us-east-1", "eu-west-1", "us-west-2")}

    assert {"one-region", "development", *regions} <= set(OVERLAYS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_as_the_code_says(overlay: str):
    assert findings(overlay) == []


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_change_of_an_image_a_port_a_command_a_variable_or_a_selector_is_noticed(path: Path):
    missed = [
        str(each)
        for each in mutations(SOURCES[path])
        if not any(findings(overlay, {**SOURCES, path: each.applied(SOURCES[path])}) for overlay in OVERLAYS)
    ]

    assert missed == []


def test_there_are_hundreds_of_such_changes():
    assert sum(len(list(mutations(SOURCES[path]))) for path in MANIFESTS) > 500


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_own_schemas_take_every_document_strictly(overlay: str):
    for document in built(overlay):
        kind = f"{document['apiVersion']}/{document['kind']}"
        if kind in CRDS["kinds"]:
            jsonschema.validate(document["spec"], {"$defs": CRDS["$defs"], **CRDS["kinds"][kind]})
            jsonschema.validate(document["metadata"], {"$defs": CRDS["$defs"], "$ref": "#/$defs/meta"})
        else:
            kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


def test_a_misspelt_field_is_refused_by_the_schemas():
    document = next(each for each in base().documents if each["kind"] == "Deployment")
    document["spec"]["templates"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


def without_namespace_and_hashes(document: Any) -> Any:
    text = re.sub(r"(tidegauge-config|valkey-start)-[a-z0-9]{10}", r"\1", json.dumps(document))
    return json.loads(re.sub(r', "namespace": "tidegauge"|"namespace": "tidegauge", ', "", text))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_builds_what_these_tests_build(overlay: str):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs the program kubectl")

    made = subprocess.run([kubectl, "kustomize", str(FOLDER / "overlays" / overlay)], check=True, capture_output=True)

    theirs = [without_namespace_and_hashes(each) for each in yaml.safe_load_all(made.stdout)]
    assert by_name(theirs) == by_name([without_namespace_and_hashes(each) for each in built(overlay)])


def test_every_secret_that_is_listed_is_asked_for():
    used = set()
    for overlay in OVERLAYS:
        used |= set(re.findall(r'"secretKeyRef": \{"name": "([a-z-]+)"', json.dumps(built(overlay))))

    assert set(SECRETS) == used


def test_the_autoscaler_keeps_the_app_between_3_and_50_at_70_percent_cpu_80_memory_and_100_requests():
    spec = base().of("HorizontalPodAutoscaler")[0]["spec"]
    cpu, memory, requests = spec["metrics"]

    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 50)
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert memory["resource"] == {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}
    assert requests["pods"]["metric"]["name"] == "requests_per_second"
    assert requests["pods"]["target"] == {"type": "AverageValue", "averageValue": "100"}


def test_the_platform_scales_within_the_autoscalers_own_bounds():
    scaling = read_catalog(FOLDER / "base" / "tidegauge.yaml").service("reference-app").scaling
    spec = base().of("HorizontalPodAutoscaler")[0]["spec"]

    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas) == (spec["minReplicas"], spec["maxReplicas"])
    assert (scaling.kind, scaling.namespace, scaling.name) == ("kubernetes", "tidegauge", "reference-app")


def is_whole(values: Any) -> bool:
    """Whether the adapter's values make requests_per_second of a histogram that the app has."""
    rule = values["rules"]["custom"][0]
    series = re.match(r"(\w+)_count\{", rule["seriesQuery"])
    return (
        series is not None
        and f'"{series[1]}"' in components()["reference-app"].text
        and rule["name"] == {"matches": f"^{series[1]}_count$", "as": "requests_per_second"}
        and "rate(<<.Series>>{<<.LabelMatchers>>}[2m])" in rule["metricsQuery"]
        and values["prometheus"]["port"] in IMAGES["prometheus"]["ports"]
    )


def test_the_adapter_makes_requests_per_second_of_a_histogram_that_the_app_has():
    values = SOURCES[FOLDER / "adapter" / "values.yaml"][0]
    other = json.loads(json.dumps(values).replace("http_request_duration_seconds", "http_request_seconds"))
    tried = list(mutations(values))

    assert is_whole(values)
    assert not is_whole(other)
    assert [str(each) for each in tried if is_whole(each.applied(values))] == []
    assert tried


def test_nothing_may_talk_before_it_is_named_and_only_the_forecaster_asks_the_kubernetes_api():
    world = base()
    policies = {each["metadata"]["name"]: each["spec"] for each in world.of("NetworkPolicy")}
    tokens = [pods.name for pods in world.pods if pods.spec.get("automountServiceAccountToken") is not False]

    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert {pods.name for pods in world.pods} <= set(policies)
    assert tokens == ["forecaster"]


def test_what_serves_people_survives_the_loss_of_a_machine_and_of_a_zone():
    world = base()
    for name in ("reference-app", "edge", "jobs", "forecaster"):
        spread = {
            each["topologyKey"]
            for each in world.named("Deployment", name)["spec"]["template"]["spec"]["topologySpreadConstraints"]
        }
        assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        assert world.named("PodDisruptionBudget", name) is not None
    assert world.named("Deployment", "forecaster")["spec"]["replicas"] == 2


def test_the_spool_of_the_collector_is_on_a_disk_that_outlives_its_pod():
    collector = base().named("StatefulSet", "collector")["spec"]

    assert [claim["metadata"]["name"] for claim in collector["volumeClaimTemplates"]] == ["data"]
    assert "data" not in [volume["name"] for volume in collector["template"]["spec"]["volumes"]]


def test_the_store_that_the_operator_makes_is_the_one_that_the_platform_asks():
    world = World(built("three-regions/us-east-1"))
    store = world.named("ConfigMap", "store")["data"]
    installation = world.of("ClickHouseInstallation")[0]
    cluster = installation["spec"]["configuration"]["clusters"][0]

    assert store["TIDEGAUGE_CLICKHOUSE_URL"] == f"http://clickhouse-{installation['metadata']['name']}:8123"
    assert store["TIDEGAUGE_CLICKHOUSE_CLUSTER"] == cluster["name"]
    assert cluster["layout"]["shardsCount"] == 2


def test_the_copy_of_a_script_is_the_script():
    copy = FOLDER / "overlays" / "development" / "valkey-start.sh"

    assert copy.read_text() == (ROOT / "deploy" / "compose" / "valkey-start.sh").read_text()


def test_the_readme_makes_each_secret_that_is_listed_with_its_keys_for_services_that_are_there():
    text = (ROOT / "deploy" / "README.md").read_text()
    made = dict(re.findall(r"^secret ([a-z-]+) <<EOF\n(.*?)^EOF$", text, re.DOTALL | re.MULTILINE))
    world = World(built("development"))

    assert {name: set(re.findall(r"^([A-Z_]+)=", body, re.MULTILINE)) for name, body in made.items()} == {
        name: set(table["keys"]) for name, table in SECRETS.items()
    }
    for name, port in re.findall(r"@([a-z-]+):(\d+)", "".join(made.values())):
        assert int(port) in world.addresses[name]
