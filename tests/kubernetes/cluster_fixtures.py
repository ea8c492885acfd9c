"""The cluster that each test of tests/kubernetes runs on twice: in memory always, real where its programs are."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from forecaster.actuators.autoscalers import KubernetesAutoscalers
from forecaster.actuators.gitops import handover
from forecaster.actuators.ownership import HPA, Kind
from forecaster.actuators.target import Surroundings
from tests.kubernetes.cluster import BASE, DEPLOYMENTS, FORECASTER_TOKEN, HPAS, MERGE, Cluster
from tests.kubernetes.memory_api import memory_kubernetes
from tests.kubernetes.real_api import existing_kubernetes, is_existing_named, need_assets, running_kubernetes

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def memory_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster in memory, with the shipped RBAC; of the whole session, so everybody has namespaces of their own."""
    with in_memory(tmp_path_factory.mktemp("memory")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The same, real; skips where there is none."""
    with in_earnest(tmp_path_factory.mktemp("real")) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["memory", pytest.param("real", marks=pytest.mark.server)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """A cluster in which an autoscaler acts every second (or when a test waits, in memory)."""
    found: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return found


@pytest.fixture(scope="module")
def cluster_at_hand(request: pytest.FixtureRequest) -> Cluster:
    """A real cluster where one is to be had, else that in memory: for what takes too long to be done on both."""
    is_real = is_existing_named() or bool(os.environ.get("KUBEBUILDER_ASSETS"))
    found: Cluster = request.getfixturevalue("real_cluster" if is_real else "memory_cluster")
    return found


@contextmanager
def in_memory(folder: Path) -> Iterator[Cluster]:
    """A cluster in memory, with the shipped RBAC."""
    with memory_kubernetes(folder) as (cluster, _):
        prepared(cluster)
        yield cluster


@contextmanager
def in_earnest(folder: Path) -> Iterator[Cluster]:
    """A real cluster, with the shipped RBAC; skips where there is none."""
    if is_existing_named():
        with existing_kubernetes(folder) as cluster:
            prepared(cluster)
            account = "/api/v1/namespaces/tidegauge/serviceaccounts/forecaster/token"
            cluster.tokens[FORECASTER_TOKEN] = cluster.ask("POST", account, {"spec": {}})["status"]["token"]
            yield cluster
        return
    flags = ("--horizontal-pod-autoscaler-sync-period=1s",)
    with running_kubernetes(folder, need_assets(), hpa_flags=flags) as cluster:
        prepared(cluster)
        yield cluster


def prepared(cluster: Cluster) -> None:
    """Give a cluster the forecaster's namespace and its rights."""
    if cluster.respond("GET", "/api/v1/namespaces/tidegauge").status_code == 404:
        cluster.make_namespace("tidegauge")
        cluster.made.remove("tidegauge")  # it stays: the next module's tests want it too
    cluster.put_base("forecaster-rbac.yaml", "tidegauge")


@dataclass
class Shop:
    """A namespace with the reference app and its HPA (3 to 50), and what forecaster and operator do there."""

    cluster: Cluster
    namespace: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    monotonic: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.namespace}/reference-app"

    @property
    def hpa_path(self) -> str:
        return HPAS.format(self.namespace) + "/reference-app"

    @property
    def deployment_path(self) -> str:
        return DEPLOYMENTS.format(self.namespace) + "/reference-app"

    def actuator(self, kind: Kind = HPA, api: Any = None) -> KubernetesAutoscalers:
        """A forecaster's actuator, as a freshly started process would have it."""
        api = api or self.cluster.api()
        around = Surroundings(api, monotonic=lambda: self.monotonic)
        return KubernetesAutoscalers(api, kind, namespace="default", surroundings=around, now=lambda: self.now)

    def hpa(self) -> dict[str, Any]:
        """The HPA as the API server has it."""
        found: dict[str, Any] = self.cluster.ask("GET", self.hpa_path)
        return found

    def floor(self) -> int:
        return int(self.hpa()["spec"]["minReplicas"])

    def annotation(self) -> str | None:
        said = self.hpa()["metadata"].get("annotations") or {}
        return said.get("tidegauge.dev/operator-floor")

    def replicas(self) -> int:
        """What the Deployment was told to have."""
        return int(self.cluster.ask("GET", self.deployment_path)["spec"].get("replicas", 1))

    def edit(self, patch: dict[str, Any], *, manager: str = "kubectl-edit", path: str = "") -> None:
        """What `kubectl edit` or a client-side apply does."""
        self.cluster.ask("PATCH", path or self.hpa_path, patch, how=MERGE, fieldManager=manager)

    def hand_over(self, kind: Kind = HPA, path: str = "") -> None:
        """What the shell command of our own error message does."""
        path = path or self.hpa_path
        command = handover(kind, self.namespace, path.rpartition("/")[2], found=self.cluster.ask("GET", path))
        steps = json.loads(command.split("-p '")[1].removesuffix("'"))
        self.cluster.ask("PATCH", path, steps, how="application/json-patch+json", fieldManager="kubectl-patch")

    def events(self) -> list[tuple[str, str, str]]:
        """Events of the namespace: type, reason, message."""
        found = self.cluster.ask("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [(e["type"], e["reason"], e["message"]) for e in found if e["source"].get("component") == "tidegauge"]


@pytest.fixture
def shop(cluster: Cluster) -> Shop:
    """The app as an operator has deployed it with kubectl: the floor is theirs, and nobody has handed it over."""
    return deployed(cluster)


def deployed(cluster: Cluster) -> Shop:
    """Deploy the app and its HPA as `shop` has it, in a namespace of its own."""
    namespace = f"shop-{os.getpid()}-{next(_NUMBERS)}"
    cluster.make_namespace(namespace)
    labels = {"app": "reference-app"}
    container = {"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "reference-app", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    cluster.ask("POST", DEPLOYMENTS.format(namespace), deployment, fieldManager="kubectl-create")
    hpa = yaml.safe_load((BASE / "reference-app-hpa.yaml").read_text())
    cluster.ask("POST", HPAS.format(namespace), hpa, fieldManager="kubectl-create")
    return Shop(cluster, namespace)
