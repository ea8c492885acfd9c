"""A cluster as the tests see it, in memory or real: one API server, whom it knows, and what an operator does."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from forecaster.actuators.kubernetes import KubernetesApi, connect

ADMIN_TOKEN, OPERATOR_TOKEN, FORECASTER_TOKEN = "admin-token", "operator-token", "forecaster-token"
FORECASTER = "system:serviceaccount:tidegauge:forecaster"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base"
HPAS = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"


class Cluster:
    """Asks as the administrator. `sync` lets the autoscaler act where nobody else does (in memory).

    certificate: the administrator's, as (certificate, key) files, where a token is not what a cluster knows him by.
    """

    def __init__(
        self,
        url: str,
        authority: Path | None,
        folder: Path,
        *,
        sync: Callable[[], None] = lambda: None,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.url, self.authority, self.folder, self.sync = url, authority, folder, sync
        self.tokens: dict[str, str] = {}  # what stands for our names of tokens, where it is not those
        self.made: list[str] = []
        verify: Any = ssl.create_default_context(cafile=str(authority)) if authority else True
        if certificate:
            verify.load_cert_chain(*certificate)
        self._http = httpx.Client(base_url=url, verify=verify, timeout=20)
        self._apis: list[KubernetesApi] = []

    def close(self) -> None:
        """Close all connections."""
        for api in self._apis:
            api.close()
        self._http.close()

    def kubeconfig(self, token: str, name: str) -> Path:
        """Write a kubeconfig for the holder of a token."""
        server: dict[str, Any] = {"server": self.url}
        if self.authority:
            server["certificate-authority"] = str(self.authority)
        path = self.folder / f"{name}.kubeconfig"
        text = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": name, "user": {"token": self.tokens.get(token, token)}}],
            "contexts": [{"name": name, "context": {"cluster": "test", "user": name}}],
            "current-context": name,
        }
        path.write_text(yaml.safe_dump(text))
        return path

    def api(self, token: str = FORECASTER_TOKEN) -> KubernetesApi:
        """Return what the forecaster asks with."""
        api = connect(kubeconfig=self.kubeconfig(token, token), context=None, in_cluster=False)
        self._apis.append(api)
        return api

    def ask(self, method: str, path: str, body: Any = None, *, how: str = "application/json", **query: str) -> Any:
        """Ask as the administrator; fails on any refusal."""
        response = self.respond(method, path, body, how=how, **query)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def respond(
        self, method: str, path: str, body: Any = None, *, how: str = "application/json", **query: str
    ) -> httpx.Response:
        """Ask as the administrator; any answer is one."""
        headers = {"Content-Type": how, **self.known_by}
        return self._http.request(method, path, params=query, headers=headers, json=body)

    @property
    def known_by(self) -> dict[str, str]:
        """The administrator's header; none where he has a certificate."""
        token = self.tokens.get(ADMIN_TOKEN, ADMIN_TOKEN)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def make_namespace(self, name: str) -> None:
        """Create a namespace."""
        self.made.append(name)
        self.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def put_base(self, file: str, namespace: str) -> None:
        """Apply a file of deploy/kubernetes/base into a namespace as an administrator."""
        for document in yaml.safe_load_all((BASE / file).read_text()):
            if not document["kind"].startswith("Cluster"):
                document["metadata"]["namespace"] = namespace
            self.ask("PATCH", path_of(document), document, how=APPLY, fieldManager="admin", force="true")

    def until(self, what: Callable[[], bool], *, seconds: float = 30) -> None:
        """Wait until something holds, letting the autoscaler act meanwhile."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "it did not come to that in time"
            self.sync()
            time.sleep(0.05)  # polling with a deadline


PLURALS = {
    "Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "ClusterRole": "clusterroles", "Role": "roles",
    "ClusterRoleBinding": "clusterrolebindings", "RoleBinding": "rolebindings", "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers", "Node": "nodes", "Pod": "pods", "Lease": "leases",
    "ResourceQuota": "resourcequotas", "CustomResourceDefinition": "customresourcedefinitions",
    "ScaledObject": "scaledobjects", "APIService": "apiservices", "Service": "services",
}  # fmt: skip


def path_of(document: Mapping[str, Any], *, collection: bool = False) -> str:
    """Return the URL path of a manifest."""
    group = document["apiVersion"]
    root = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    namespace = document["metadata"].get("namespace")
    place = f"{root}/namespaces/{namespace}" if namespace else root
    plural = PLURALS[document["kind"]]
    return f"{place}/{plural}" if collection else f"{place}/{plural}/{document['metadata']['name']}"
