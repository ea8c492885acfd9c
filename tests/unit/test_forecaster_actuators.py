"""The contract of an actuator, held by the fake, and by the others against HTTP servers: local, Kubernetes, KEDA."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from forecaster.actuators.autoscalers import KubernetesAutoscalers
from forecaster.actuators.contract import Actuator, ActuatorUnavailable, FloorRefused
from forecaster.actuators.local import LocalCluster
from forecaster.actuators.memory import MemoryCluster
from forecaster.actuators.ownership import HPA, SCALED_OBJECT, Kind
from forecaster.actuators.target import Surroundings
from forecaster.scaling.types import HpaState
from tests.kubernetes.cluster_fixtures import Shop
from tests.kubernetes.memory_api import memory_kubernetes

BEFORE = HpaState(operator_floor=2, floor=2, ceiling=20, desired=3, current=3, ready=3)


class _ClusterApi(BaseHTTPRequestHandler):
    """The local cluster's HTTP API as ARCHITECTURE.md describes it."""

    server: "_ClusterServer"

    def do_GET(self) -> None:
        self._answer(200 if self._name() in self.server.hpas else 404)

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        hpa = self.server.hpas.get(self._name())
        if hpa is None:
            return self._answer(404)
        if body.get("release"):
            hpa.update(min_replicas=hpa["operator_floor"], manager=None)
            return self._answer(200)
        if not 1 <= body["min_replicas"] <= hpa["max_replicas"]:
            return self._answer(409)
        hpa.update(min_replicas=body["min_replicas"], manager=body["field_manager"])
        hpa["desired"] = max(hpa["desired"], hpa["min_replicas"])
        return self._answer(200)

    def _name(self) -> str:
        return self.path.removeprefix("/hpas/")

    def _answer(self, status: int) -> None:
        answers = {409: {"error": "out of range"}, 404: {"error": "no such autoscaler"}}
        body = json.dumps(self.server.hpas[self._name()] if status == 200 else answers[status]).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class _ClusterServer(ThreadingHTTPServer):
    hpas: dict[str, dict]


@pytest.fixture
def server() -> Iterator[_ClusterServer]:
    with _ClusterServer(("127.0.0.1", 0), _ClusterApi) as server:
        server.hpas = {
            "app": {
                "name": "app",
                "operator_floor": 2,
                "min_replicas": 2,
                "max_replicas": 20,
                "desired": 3,
                "current": 3,
                "ready": 3,
                "manager": "operator",
            }
        }
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def local(server: _ClusterServer) -> Iterator[Actuator]:
    with httpx.Client(timeout=5) as http:
        yield LocalCluster(f"http://127.0.0.1:{server.server_port}", http)


@pytest.fixture
def memory() -> Actuator:
    return MemoryCluster({"app": BEFORE})


@contextmanager
def of_kubernetes(folder: Path, kind: Kind) -> Iterator[Actuator]:
    """An HPA or a ScaledObject `app` of 2 to 20, whose floor was handed over, on an API server in memory."""
    with memory_kubernetes(folder) as (cluster, _):
        cluster.put_base("forecaster-rbac.yaml", "tidegauge")
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": {"name": "app"},
            "spec": {"scaleTargetRef": {"name": "app"}, kind.floor_field: 2, kind.ceiling_field: 20},
        }
        path = kind.path("default", "app")
        cluster.ask("POST", path.removesuffix("/app"), body, fieldManager="kubectl-create")
        Shop(cluster, "default").hand_over(kind, path)
        api = cluster.api()
        around = Surroundings(api, monotonic=lambda: 0.0)
        yield KubernetesAutoscalers(api, kind, namespace="default", surroundings=around)


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Actuator]:
    with of_kubernetes(tmp_path, HPA) as actuator:
        yield actuator


@pytest.fixture
def keda(tmp_path: Path) -> Iterator[Actuator]:
    with of_kubernetes(tmp_path, SCALED_OBJECT) as actuator:
        yield actuator


@pytest.fixture(params=["memory", "local", "kubernetes", "keda"])
def actuator(request: pytest.FixtureRequest) -> Actuator:
    found: Actuator = request.getfixturevalue(request.param)
    return found


def floors(state: HpaState) -> tuple[int, int, int]:
    """Return the operator's own floor, that in force, and the ceiling."""
    return state.operator_floor, state.floor, state.ceiling


def test_reading_tells_the_floor_in_force_and_the_operators_own(actuator: Actuator) -> None:
    assert floors(actuator.read("app")) == (2, 2, 20)


def test_a_written_floor_is_in_force_and_is_read_back(actuator: Actuator) -> None:
    assert floors(actuator.write_floor("app", 7)) == (2, 7, 20)
    assert floors(actuator.read("app")) == (2, 7, 20)


@pytest.mark.parametrize("name", ["memory", "local"])
def test_all_of_a_state_is_told_and_the_replicas_wanted_follow_the_floor_upwards(
    name: str, request: pytest.FixtureRequest
) -> None:
    actuator: Actuator = request.getfixturevalue(name)
    assert actuator.read("app") == BEFORE
    # max(3, 7) = 7; the operator's own floor stays.
    assert actuator.write_floor("app", 7) == replace(BEFORE, floor=7, desired=7)


def test_a_released_floor_is_the_operators_own(actuator: Actuator) -> None:
    actuator.write_floor("app", 7)
    assert actuator.release("app").floor == 2
    assert actuator.read("app").floor == 2


@pytest.mark.parametrize("floor", [0, 21])
def test_a_floor_outside_its_range_is_refused_and_changes_nothing(actuator: Actuator, floor: int) -> None:
    with pytest.raises(FloorRefused, match=f"floor {floor} of app"):
        actuator.write_floor("app", floor)
    assert floors(actuator.read("app")) == (2, 2, 20)


def test_an_unknown_autoscaler_is_unavailable(actuator: Actuator) -> None:
    with pytest.raises(ActuatorUnavailable, match="no "):
        actuator.read("nobody")
    with pytest.raises(ActuatorUnavailable, match="no "):
        actuator.write_floor("nobody", 3)


def test_the_floor_is_written_under_our_own_field_manager(server: _ClusterServer) -> None:
    with httpx.Client(timeout=5) as http:
        LocalCluster(f"http://127.0.0.1:{server.server_port}/", http).write_floor("app", 4)
    assert server.hpas["app"]["manager"] == "tidegauge"


def test_a_cluster_that_does_not_answer_is_unavailable_and_the_error_names_its_address() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _ClusterApi) as closed:
        port = closed.server_port
    with httpx.Client(timeout=5) as http, pytest.raises(ActuatorUnavailable, match=f"127.0.0.1:{port}"):
        LocalCluster(f"http://127.0.0.1:{port}", http).read("app")


def test_an_answer_that_is_no_autoscaler_is_unavailable_not_a_state_with_zeros(server: _ClusterServer) -> None:
    server.hpas["app"] = {"name": "app"}
    with httpx.Client(timeout=5) as http, pytest.raises(ActuatorUnavailable, match="expected a JSON object"):
        LocalCluster(f"http://127.0.0.1:{server.server_port}", http).read("app")
