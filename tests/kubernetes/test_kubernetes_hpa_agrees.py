"""The simulated autoscaler and the real controller, step by step: the same readings give the same replicas.

The test serves the controller its metric, so it sees every sync as it happens: which replicas there were, how many of
their pods were ready, and what each of them served. Our `recommend` is played the same readings at the same instants,
and what it answers has to be what the controller had set by its next sync. Windows and periods are seconds here
instead of minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forecaster.actuators.kubernetes import parse_quantity
from forecaster.scaling.hpa import HpaMemory, HpaReading, HpaSpec, ScalingPolicy, recommend
from tests.kubernetes.cluster import DEPLOYMENTS, HPAS, MERGE, Cluster
from tests.kubernetes.metrics_api import serving_metrics
from tests.kubernetes.real_api import need_assets, running_kubernetes

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

NAMESPACE = "stepwise"
SYNC = timedelta(milliseconds=700)
TARGET = 100.0
# Windows and periods that no number of syncs comes near: 700 ms and a little, four or five times, is not 3 s.
WINDOW, PERIOD = timedelta(seconds=3), timedelta(seconds=2)
JITTER = timedelta(milliseconds=60)  # between our noting a sync and the controller's own clock


@dataclass(frozen=True)
class Sync:
    """What one sync of the controller saw."""

    at: datetime
    floor: int
    current: int
    ready: int
    metric: float | None  # of those that tell one
    missing: int = 0  # ready, and tell none
    behavior: dict[str, Any] = field(default_factory=dict)  # of the HPA's spec, as it was then


@dataclass
class World:
    """The load that the pods share, how fast they start, and every sync so far."""

    cluster: Cluster
    load: float | None = 300.0
    starts_after_syncs: int = 0
    silent: int = 0  # ready pods whose metric is missing
    syncs: list[Sync] = field(default_factory=list)
    _born: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, namespace: str) -> dict[str, float] | None:
        """Serve one sync its metric, and note what it was. Pods become ready here, and only here."""
        if namespace != NAMESPACE:
            return None
        with self._lock:
            spec = self.cluster.ask("GET", DEPLOYMENTS.format(NAMESPACE) + "/app")["spec"]
            hpa = self.cluster.ask("GET", HPAS.format(NAMESPACE) + "/app")["spec"]
            ready = self._ready_pods()
            metric = None if self.load is None or not ready else round(self.load / len(ready), 3)
            telling = ready[self.silent :]
            missing = len(ready) - len(telling)
            counts = (hpa["minReplicas"], spec["replicas"], len(telling))
            self.syncs.append(Sync(datetime.now(UTC), *counts, metric, missing, hpa["behavior"]))
            return None if metric is None else dict.fromkeys(telling, metric)

    def _ready_pods(self) -> list[str]:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        pods = [pod for pod in self.cluster.ask("GET", path)["items"] if "deletionTimestamp" not in pod["metadata"]]
        ready = []
        for pod in pods:
            name = pod["metadata"]["name"]
            born = self._born.setdefault(name, len(self.syncs))
            if pod["status"]["phase"] == "Running":
                ready.append(name)
            elif len(self.syncs) - born >= self.starts_after_syncs:
                started = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
                self.cluster.ask("PATCH", f"{path}/{name}/status", {"status": started}, how=MERGE)
        return ready

    def let(self, syncs: int) -> None:
        """Wait for so many more syncs."""
        wanted = len(self.syncs) + syncs
        self.cluster.until(lambda: len(self.syncs) >= wanted, seconds=60)

    def set_floor(self, floor: int) -> None:
        self._set({"minReplicas": floor})

    def behave(self, direction: str, **settings: str | None) -> None:
        """Change how it scales up or down; None: as it was."""
        self._set({"behavior": {direction: settings}})

    def _set(self, spec: dict[str, Any]) -> None:
        self.cluster.ask("PATCH", HPAS.format(NAMESPACE) + "/app", {"spec": spec}, how=MERGE)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    flags = (f"--horizontal-pod-autoscaler-sync-period={SYNC.total_seconds()}s",)
    assets = need_assets()
    with running_kubernetes(tmp_path_factory.mktemp("stepwise"), assets, hpa_flags=flags) as cluster:
        world = World(cluster)
        with serving_metrics(cluster, world.answer):
            _put_app(cluster)
            world.let(3)
            yield world


def _put_app(cluster: Cluster) -> None:
    cluster.make_namespace(NAMESPACE)
    labels = {"app": "app"}
    template: dict[str, Any] = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "a"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": spec}
    cluster.ask("POST", DEPLOYMENTS.format(NAMESPACE), deployment)
    seconds = int(PERIOD.total_seconds())
    policies = [
        {"type": "Percent", "value": 100, "periodSeconds": seconds},
        {"type": "Pods", "value": 4, "periodSeconds": seconds},
    ]
    metric = {"metric": {"name": "requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "100"}}
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "app"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "minReplicas": 2,
            "maxReplicas": 20,
            "metrics": [{"type": "Pods", "pods": metric}],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "policies": policies},
                "scaleDown": {
                    "stabilizationWindowSeconds": int(WINDOW.total_seconds()),
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": seconds}],
                },
            },
        },
    }
    cluster.ask("POST", HPAS.format(NAMESPACE), hpa)


def spec_of(floor: int, behavior: dict[str, Any]) -> HpaSpec:
    up, down = behavior.get("scaleUp", {}), behavior.get("scaleDown", {})
    return HpaSpec(
        min_replicas=floor,
        max_replicas=20,
        target_per_replica=TARGET,
        sync=SYNC,
        scale_down_stabilization=WINDOW,
        scale_up_policies=(ScalingPolicy("percent", 100, PERIOD), ScalingPolicy("pods", 4, PERIOD)),
        scale_down_policies=(ScalingPolicy("percent", 50, PERIOD),),
        scale_up_select=up.get("selectPolicy", "Max"),
        scale_down_select=down.get("selectPolicy", "Max"),
        scale_up_tolerance=_number(up.get("tolerance")),
        scale_down_tolerance=_number(down.get("tolerance")),
    )


def _number(quantity: str | None) -> float | None:
    return None if quantity is None else float(parse_quantity(quantity))


def disagreements(syncs: list[Sync]) -> list[str]:
    """Play our autoscaler through what the controller saw; say where it would have set something else."""
    memory, found = HpaMemory(), []
    for index, sync in enumerate(syncs[:-1]):
        reading = HpaReading(sync.current, sync.ready, sync.metric, sync.missing)
        behaviors = [sync.behavior, syncs[index - 1].behavior if index else sync.behavior]  # changed just as it read it
        answers = [
            recommend(spec_of(sync.floor, behavior), memory, reading, now=at)
            for behavior in behaviors
            for at in (sync.at, sync.at + JITTER)
        ]
        became = syncs[index + 1].current
        chosen = next((answer for answer in answers if answer.desired == became), None)
        if chosen is None and became == syncs[index + 1].floor != sync.floor:
            # The floor was raised in between: the controller's next sync went there and asked for no metric.
            after = HpaReading(answers[0].desired, sync.ready, None)
            chosen = recommend(spec_of(became, sync.behavior), answers[0].memory, after, now=syncs[index + 1].at)
            chosen = chosen if chosen.desired == became else None
        if chosen is None:
            found.append(
                f"{index}: {sync} -> ours {answers[0].desired} ({answers[0].reason}), the controller's {became}"
            )
        memory = (chosen or answers[0]).memory
    return found


def test_through_a_days_worth_of_loads_every_step_is_the_controllers(world: World) -> None:
    first = len(world.syncs) - 1
    world.load = 1000.0  # 3 replicas of 100/s: at most 4 more or twice as many in two seconds, then 10
    world.let(8)
    world.load = 1050.0  # within the tolerance of a tenth
    world.let(3)
    world.behave("scaleUp", tolerance="30m")  # but not of three hundredths: eleven
    world.let(4)
    world.behave("scaleUp", tolerance=None)
    world.load = 400.0  # down: not before three seconds are over, and by half in two seconds
    world.let(12)
    world.behave("scaleDown", tolerance="400m")
    world.load = 320.0  # four of 80/s: within four tenths
    world.let(6)
    world.behave("scaleDown", tolerance=None)
    world.load = None  # no metrics: nothing moves
    world.let(3)
    world.load = 400.0
    world.set_floor(9)  # the one way up that needs no metric
    world.let(4)
    world.set_floor(2)  # and down at once to what the window remembers: this is why floors are lowered in steps
    world.let(6)
    world.starts_after_syncs = 3
    world.load = 900.0  # replicas that start slowly count as idle while it goes up
    world.let(10)
    world.starts_after_syncs, world.silent = 0, 2
    world.load = 1500.0  # up: those without a metric count as idle
    world.let(6)
    world.load = 300.0  # down: they count as fully used
    world.let(10)
    world.silent = 0
    world.load = 250.0
    world.let(8)
    world.behave("scaleUp", selectPolicy="Min")  # from three to six, not to seven: the smaller of two policies
    world.load = 1000.0
    world.let(4)
    world.behave("scaleUp", selectPolicy="Disabled")
    world.load = 2000.0
    world.let(3)
    syncs = world.syncs[first:]
    assert disagreements(syncs) == []
    path = [sync.current for sync in syncs]
    print("replicas at each sync:", path)
    assert {3, 7, 10, 11, 9, 4, 6} <= set(path), path  # up by four, to the top, to the floor, down, and up by three
    assert any(sync.metric is None for sync in syncs)
    assert any(sync.ready < sync.current for sync in syncs)


def test_the_comparison_notices_an_autoscaler_with_another_tolerance(world: World) -> None:
    at = datetime.now(UTC)
    # 1.3 times the target: four replicas go to ceil(4 * 1.3) = 6; a controller that stayed would be one that differs.
    stayed = [Sync(at, 2, 4, 4, 130.0), Sync(at + SYNC, 2, 4, 4, 130.0)]
    assert len(disagreements(stayed)) == 1
