"""A Kubernetes API server in memory, over HTTP: the part of it that the forecaster and the tests of it meet.

Objects of any kind with resourceVersion, dry run, pages, watches, merge patches, server-side apply with field managers
and their conflicts, and RBAC by the rules that were put in. No schemas: HPAs alone are defaulted and checked. The tests
of its contract run on a real API server too, so that it stays as the real one is.
"""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.kubernetes.cluster import ADMIN_TOKEN, FORECASTER, FORECASTER_TOKEN, OPERATOR_TOKEN, Cluster
from tests.kubernetes.json_server import JsonHandler, serving
from tests.kubernetes.memory_controllers import sync_autoscalers, sync_pods
from tests.kubernetes.memory_fields import Refusal, applied, changed_by
from tests.kubernetes.memory_patches import merged, stepped

USERS = {ADMIN_TOKEN: "admin", OPERATOR_TOKEN: "admin", FORECASTER_TOKEN: FORECASTER}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
KINDS = {"horizontalpodautoscalers": "HorizontalPodAutoscaler", "scaledobjects": "ScaledObject", "leases": "Lease"}


class Address:
    """A request's path, taken apart: /api/v1 or /apis/GROUP/VERSION, /namespaces/NS, /PLURAL, /NAME, /SUBRESOURCE."""

    def __init__(self, path: str) -> None:
        parts = path.strip("/").split("/")
        self.group = "" if parts[0] == "api" else parts[1]
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        self.namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            self.namespace, rest = rest[1], rest[2:]
        self.plural, self.name, self.sub = (*rest, "", "", "")[:3]

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.group, self.plural, self.namespace, self.name


class MemoryApi:
    """The objects, and what may be done to them."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self.version = 100
        self.changes: list[tuple[int, str, tuple[str, str, str, str], dict[str, Any]]] = []
        self.changed = threading.Condition()
        self.asked: set[tuple[str, str, str]] = set()  # (verb, group, resource) of the forecaster

    def answer(self, user: str, method: str, path: str, query: dict[str, str], body: Any, how: str) -> Any:
        """Return what a request is answered with. Raises Refusal."""
        at = Address(path)
        if at.plural == "selfsubjectaccessreviews":
            return {**body, "status": {"allowed": self._may(user, body["spec"]["resourceAttributes"])}}
        verb = VERBS.get(method) or ("get" if at.name else "list")
        self._allow(user, verb, at)
        with self.changed:
            if method == "GET":
                return copy.deepcopy(self._found(at)) if at.name else self._listed(at, query)
            if method == "DELETE":
                found = self._found(at)
                del self.objects[at.key]
                self._note("DELETED", at.key, found)
                return found
            return self._written(at, method, query, body, how)

    def _written(self, at: Address, method: str, query: dict[str, str], body: dict[str, Any], how: str) -> Any:
        manager = query.get("fieldManager", "unnamed")
        before = self.objects.get(at.key)
        if method == "POST":
            metadata = body.setdefault("metadata", {})
            if not metadata.get("name"):
                metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:8]
            at.name = metadata["name"]
            if at.key in self.objects:
                raise Refusal(409, "AlreadyExists", f"{at.plural} {at.name} already exists")
            after = changed_by(manager, None, body)
        elif "apply" in how:
            after = applied(manager, before, body, force=query.get("force") == "true")
        else:
            found = self._found(at)
            wanted = body
            if method == "PATCH":
                wanted = stepped(found, body) if "json-patch" in how else merged(found, body)
            if at.sub == "status":
                wanted = {**copy.deepcopy(found), "status": wanted.get("status")}
            asked = wanted["metadata"].get("resourceVersion")
            if asked not in (None, found["metadata"]["resourceVersion"]):
                raise Refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest")
            after = changed_by(manager, found, wanted)
        return self._stored(at, before, after, dry_run=query.get("dryRun") == "All")

    def _stored(self, at: Address, before: Any, after: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
        metadata = after.setdefault("metadata", {})
        metadata.setdefault("uid", str(uuid.uuid4()))
        if at.namespace:
            metadata.setdefault("namespace", at.namespace)
        _check(at.plural, after)
        if before is not None and _without_times(before) == _without_times(after):
            return copy.deepcopy(before)
        if dry_run:
            return after
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        self.objects[at.key] = after
        self._note("ADDED" if before is None else "MODIFIED", at.key, after)
        return copy.deepcopy(after)

    def _note(self, kind: str, key: tuple[str, str, str, str], found: dict[str, Any]) -> None:
        self.changes.append((self.version, kind, key, copy.deepcopy(found)))
        self.changed.notify_all()

    def _found(self, at: Address) -> dict[str, Any]:
        if at.key not in self.objects:
            raise Refusal(404, "NotFound", f"{at.plural} {at.name!r} not found")
        return self.objects[at.key]

    def _listed(self, at: Address, query: dict[str, str]) -> dict[str, Any]:
        chosen = [
            found
            for (group, plural, namespace, _), found in sorted(self.objects.items(), key=lambda item: item[0])
            if (group, plural) == (at.group, at.plural) and at.namespace in ("", namespace) and _selected(found, query)
        ]
        first = int(query.get("continue") or 0)
        last = first + int(query.get("limit") or len(chosen) or 1)
        more = {"continue": str(last)} if last < len(chosen) else {}
        return {"items": copy.deepcopy(chosen[first:last]), "metadata": {"resourceVersion": str(self.version), **more}}

    def watched(self, at: Address, since: int) -> Iterator[dict[str, Any]]:
        """Yield changes of a collection after a resourceVersion, as they come; ends after a second without one."""
        seen = 0
        while True:
            with self.changed:
                if len(self.changes) == seen and not self.changed.wait(1.0):
                    return
                fresh, seen = self.changes[seen:], len(self.changes)
            for version, kind, (group, plural, namespace, _), found in fresh:
                if version > since and (group, plural) == (at.group, at.plural) and at.namespace in ("", namespace):
                    yield {"type": kind, "object": found}

    def _allow(self, user: str, verb: str, at: Address) -> None:
        if user == "admin":
            return
        self.asked.add((verb, at.group, at.plural))
        if not self._granted(user, verb, at):
            raise Refusal(403, "Forbidden", f"{user} cannot {verb} resource {at.plural!r} in API group {at.group!r}")

    def _may(self, user: str, asked: dict[str, str]) -> bool:
        namespaced = f"/apis/{asked.get('group', '')}/v1/namespaces/{asked.get('namespace', '')}/{asked['resource']}"
        return user == "admin" or self._granted(user, asked["verb"], Address(namespaced))

    def _granted(self, user: str, verb: str, at: Address) -> bool:
        return any(self._grants(rule, verb, at) for rule in self._rules_of(user, at.namespace))

    def _grants(self, rule: dict[str, Any], verb: str, at: Address) -> bool:
        named = rule.get("resourceNames")
        resource = f"{at.plural}/{at.sub}" if at.sub else at.plural
        return (
            verb in rule["verbs"]
            and resource in rule["resources"]
            and at.group in rule["apiGroups"]
            and (not named or at.name in named)
        )

    def _rules_of(self, user: str, namespace: str) -> Iterator[dict[str, Any]]:
        for (_, plural, bound_in, _), binding in list(self.objects.items()):
            if plural in ("rolebindings", "clusterrolebindings") and bound_in in ("", namespace):
                names = {f"system:serviceaccount:{s.get('namespace')}:{s['name']}" for s in binding.get("subjects", ())}
                if user in names:
                    role = binding["roleRef"]
                    kind = "roles" if role["kind"] == "Role" else "clusterroles"
                    where = bound_in if kind == "roles" else ""
                    found = self.objects.get(("rbac.authorization.k8s.io", kind, where, role["name"]))
                    yield from (found or {}).get("rules", ())


class _Handler(JsonHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _respond(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        user = USERS.get(self.headers.get("Authorization", "").removeprefix("Bearer "), "")
        if not user:
            self.send_document(401, Refusal(401, "Unauthorized", "Unauthorized").body)
            return
        try:
            if query.get("watch") == "true":
                self._watch(Address(url.path), int(query.get("resourceVersion") or 0))
                return
            how = self.headers.get("Content-Type") or ""
            body = json.loads(text) if text else None
            found = self.server.api.answer(user, self.command, url.path, query, body, how)
            self.send_document(201 if self.command == "POST" else 200, found)
        except Refusal as refusal:
            self.send_document(refusal.status, refusal.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _respond  # noqa: N815 (the names that http.server calls)

    def _watch(self, at: Address, since: int) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for change in self.server.api.watched(at, since):
            self.wfile.write(json.dumps(change).encode() + b"\n")
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: MemoryApi


@contextmanager
def memory_kubernetes(folder: Path) -> Iterator[tuple[Cluster, MemoryApi]]:
    """Serve an empty cluster; its `sync` does what the deployment and autoscaler controllers would."""
    folder.mkdir(parents=True, exist_ok=True)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.api = MemoryApi()

        def sync() -> None:
            with server.api.changed:
                sync_autoscalers(server.api.objects)
                sync_pods(server.api.objects)

        cluster = Cluster(f"http://127.0.0.1:{server.server_port}", None, folder, sync=sync)
        with serving(server):
            try:
                yield cluster, server.api
            finally:
                cluster.close()


def _selected(found: dict[str, Any], query: dict[str, str]) -> bool:
    labels = found["metadata"].get("labels") or {}
    for part in filter(None, query.get("labelSelector", "").split(",")):
        name, _, value = part.partition("=")
        if labels.get(name) != value:
            return False
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = part.partition("!=" if "!=" in part else "=")
        said: Any = found
        for step in path.split("."):
            said = (said or {}).get(step)
        if ((said or "") == value) == ("!=" in part):
            return False
    return True


def _check(plural: str, found: dict[str, Any]) -> None:
    if plural != "horizontalpodautoscalers":
        return
    spec = found.get("spec") or {}
    if "maxReplicas" not in spec or "scaleTargetRef" not in spec:
        raise Refusal(422, "Invalid", "spec.maxReplicas and spec.scaleTargetRef: Required value")
    spec.setdefault("minReplicas", 1)
    if not 1 <= spec["minReplicas"] <= spec["maxReplicas"]:
        raise Refusal(422, "Invalid", "spec.minReplicas: must be from 1 to maxReplicas")


def _without_times(found: dict[str, Any]) -> dict[str, Any]:
    plain = copy.deepcopy(found)
    plain["metadata"].pop("resourceVersion", None)
    for entry in plain["metadata"].get("managedFields") or ():
        entry.pop("time", None)
    return plain


def now_text() -> str:
    """Return the present as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
