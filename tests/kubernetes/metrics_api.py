"""Custom metrics for a real autoscaler: what its controller asks of prometheus-adapter, answered by the test.

The controller asks once per sync, so each question is a sync, seen from inside.
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.kubernetes.cluster import APPLY, Cluster, path_of
from tests.kubernetes.json_server import JsonHandler, serving

GROUP = "custom.metrics.k8s.io"
_ROOT = f"/apis/{GROUP}/v1beta2"
Answer = Callable[[str], dict[str, float] | None]  # a namespace's metric by pod; None: metrics are down


class _Handler(JsonHandler):
    server: _Server

    def do_GET(self) -> None:  # noqa: N802 (the name that http.server calls)
        path = unquote(self.path.partition("?")[0])
        if path == _ROOT:
            kind = {"name": "pods/requests_per_second", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
            listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1beta2"}
            return self.send_document(200, {**listed, "resources": [{**kind, "singularName": ""}]})
        if path.endswith("/pods/*/requests_per_second"):
            namespace = path.removeprefix(f"{_ROOT}/namespaces/").partition("/")[0]
            found = self.server.answer(namespace)
            if found is not None:
                return self.send_document(200, _values(found))
        return self.send_document(404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Answer
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The API server opens connections that it does not use."""


def _values(found: dict[str, float]) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "MetricValueList",
        "apiVersion": f"{GROUP}/v1beta2",
        "metadata": {},
        "items": [
            {
                "describedObject": {"kind": "Pod", "name": pod, "apiVersion": "/v1"},
                "metric": {"name": "requests_per_second"},
                "timestamp": now,
                "value": f"{round(value * 1000)}m",
            }
            for pod, value in found.items()
        ],
    }


@contextmanager
def serving_metrics(cluster: Cluster, answer: Answer) -> Iterator[None]:
    """Serve `requests_per_second` of pods to a cluster's autoscaler, by its own API aggregation."""
    key, certificate = cluster.folder / "metrics.key", cluster.folder / "metrics.crt"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=30)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answer = answer
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate, key)
        with serving(server):
            _announce(cluster, server.server_port)
            yield


def _announce(cluster: Cluster, port: int) -> None:
    cluster.make_namespace("metrics")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "adapter", "namespace": "metrics"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    announced = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta2.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": "v1beta2",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "adapter", "namespace": "metrics", "port": port},
        },
    }
    for document in (service, announced):
        cluster.ask("PATCH", path_of(document), document, how=APPLY, fieldManager="admin", force="true")
    cluster.until(lambda: cluster.respond("GET", _ROOT).status_code == 200, seconds=60)
