"""The contract of an actuator, held by the fake and by the local cluster's client against a real HTTP server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from forecaster.actuators.contract import Actuator, ActuatorUnavailable, FloorRefused
from forecaster.actuators.local import LocalCluster
from forecaster.actuators.memory import MemoryCluster
from forecaster.scaling.types import HpaState

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


@pytest.fixture(params=["memory", "local"])
def actuator(request: pytest.FixtureRequest, server: _ClusterServer) -> Iterator[Actuator]:
    if request.param == "memory":
        yield MemoryCluster({"app": BEFORE})
        return
    with httpx.Client(timeout=5) as http:
        yield LocalCluster(f"http://127.0.0.1:{server.server_port}", http)


def test_reading_tells_the_floor_in_force_and_the_operators_own(actuator: Actuator) -> None:
    assert actuator.read("app") == BEFORE


def test_a_written_floor_is_in_force_and_is_read_back(actuator: Actuator) -> None:
    # desired follows the floor upwards: max(3, 7) = 7; the operator's own floor stays.
    after = HpaState(operator_floor=2, floor=7, ceiling=20, desired=7, current=3, ready=3)
    assert actuator.write_floor("app", 7) == after
    assert actuator.read("app") == after


def test_a_released_floor_is_the_operators_own(actuator: Actuator) -> None:
    actuator.write_floor("app", 7)
    assert actuator.release("app").floor == 2
    assert actuator.read("app").floor == 2


@pytest.mark.parametrize("floor", [0, 21])
def test_a_floor_outside_its_range_is_refused_and_changes_nothing(actuator: Actuator, floor: int) -> None:
    with pytest.raises(FloorRefused, match=f"floor {floor} of app"):
        actuator.write_floor("app", floor)
    assert actuator.read("app") == BEFORE


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
