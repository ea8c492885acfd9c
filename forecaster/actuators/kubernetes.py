"""The Kubernetes API, asked in JSON: the only module that imports the official client.

It connects (in the cluster, or by a kubeconfig), sends one request at a time with a time limit and no retries of its
own, and translates errors. What is asked is others' business: `autoscalers` and `kube_lease`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.utils.quantity import parse_quantity

from forecaster.actuators.contract import ActuatorUnavailable

__all__ = ["ApiRefusal", "ContentType", "KubernetesApi", "connect", "parse_quantity"]

ContentType = Literal["application/json", "application/merge-patch+json", "application/apply-patch+yaml"]
Query = Sequence[tuple[str, str]]
_TIMEOUT_SECONDS = (2.0, 5.0)  # to connect, to answer: together under the lease's margin
_PAGE = 500


class ApiRefusal(Exception):  # noqa: N818 (the name says what happened, as the glossary has it)
    """The API server answered, and refused. causes: (reason, field, message) of each part of its complaint."""

    def __init__(self, request: str, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or "no reason given")
        causes = (body.get("details") or {}).get("causes") or ()
        self.causes = tuple((str(c.get("reason")), str(c.get("field")), str(c.get("message"))) for c in causes)
        super().__init__(f"{request}: {status} {self.reason}: {self.message}")


class KubernetesApi:
    """Requests to one API server. Safe to share between threads."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @property
    def host(self) -> str:
        """Return the API server's address."""
        return str(self._client.configuration.host)

    def get(self, path: str, query: Query = ()) -> dict[str, Any]:
        """Return an object. Raises ActuatorUnavailable (no answer), ApiRefusal (404, 403 ...)."""
        return self._ask("GET", path, query)

    def items(self, path: str, query: Query = ()) -> list[dict[str, Any]]:
        """Return all objects of a collection, asked for page by page. Raises as `get`."""
        found: list[dict[str, Any]] = []
        resume = ""
        while True:
            page = self._ask("GET", path, [*query, ("limit", str(_PAGE)), *([("continue", resume)] if resume else [])])
            found += page.get("items") or []
            resume = (page.get("metadata") or {}).get("continue") or ""
            if not resume:
                return found

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in a collection. Raises as `get`; 409 when it exists."""
        return self._ask("POST", path, (), body, "application/json")

    def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object; with a resourceVersion in it, 409 when it has changed since. Raises as `get`."""
        return self._ask("PUT", path, (), body, "application/json")

    def patch(self, path: str, body: Mapping[str, Any], content_type: ContentType, query: Query) -> dict[str, Any]:
        """Change an object; server-side apply is the content type `application/apply-patch+yaml`. Raises as `get`."""
        return self._ask("PATCH", path, query, body, content_type)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(
        self,
        method: str,
        path: str,
        query: Query,
        body: Mapping[str, Any] | None = None,
        content_type: ContentType | None = None,
    ) -> dict[str, Any]:
        request = f"{method} {self.host}{path}"
        headers = {"Accept": "application/json", **({"Content-Type": content_type} if content_type else {})}
        try:
            prepared = self._client.param_serialize(
                method,
                path,
                query_params=list(query),
                header_params=headers,
                body=dict(body) if body is not None else None,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(*prepared[:4], _request_timeout=_TIMEOUT_SECONDS)
            text = response.read()
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise ActuatorUnavailable(f"{request}: {_first_line(error)}") from error
        return _answer(request, response.status, text)


def connect(*, kubeconfig: Path | None, context: str | None, in_cluster: bool) -> KubernetesApi:
    """Return the API of the cluster we run in, or of a kubeconfig (None: KUBECONFIG or ~/.kube/config) and its context.

    Raises ValueError when there is no such configuration. Nothing is asked of the cluster yet.
    """
    settings = Configuration()
    try:
        if in_cluster:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(
                config_file=str(kubeconfig) if kubeconfig else None,
                context=context,
                client_configuration=settings,
                persist_config=False,
            )
    except (config.ConfigException, OSError, ValueError, TypeError) as error:
        where = "the pod's service account" if in_cluster else str(kubeconfig or "KUBECONFIG or ~/.kube/config")
        raise ValueError(f"cannot connect to Kubernetes by {where}: {_first_line(error)}") from error
    settings.retries = False  # the next tick is the retry; a write that is sent twice would be two
    return KubernetesApi(ApiClient(settings))


def _answer(request: str, status: int, text: bytes) -> dict[str, Any]:
    shown = text[:200].decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if 200 <= status < 300 and isinstance(body, dict):
        return body
    if status == 429 or not 400 <= status < 500:
        raise ActuatorUnavailable(f"{request}: answered {status}, {shown or 'nothing'}")
    raise ApiRefusal(request, status, body if isinstance(body, dict) else {"message": shown})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__
