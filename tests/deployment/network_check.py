"""Who may talk to whom in a built kustomization: network policies, and the rules of Istio and of Linkerd."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.deployment.kubernetes_world import ADDRESS, Document, Pods, World

NEIGHBOURS = {  # namespaces of others, and the ports we may ask there; none: they ask us
    "kube-system": {53}, "monitoring": set(), "ingress-nginx": set(), "clickhouse-operator": set(),
    "istio-system": {15012}, "linkerd": {8080, 8086, 8090},
}  # fmt: skip
BEYOND = {5432, 6379, 8123, 443, 6443}  # PostgreSQL, Redis, ClickHouse, https and the Kubernetes API, wherever they are
MESH = {4143}  # Linkerd's proxies among themselves
_READS = re.compile(r"GET\|HEAD")


def network_findings(world: World) -> list[str]:
    """Return what is wrong, each with the kind and the name of the document."""
    found = []
    for document in world.documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        for check in _CHECKS.get(document["kind"], ()):
            found += [f"{name}: {text}" for text in check(document, world)]
    return found + list(_unreachable(world))


def _policy(document: Document, world: World) -> Iterator[str]:
    spec = document["spec"]
    own = world.selected(spec["podSelector"].get("matchLabels"))
    yield from _known(spec["podSelector"], world)
    here = {port for pods in own for port in pods.ports}
    for rule in spec.get("ingress", []):
        yield from (text for peer in rule.get("from", []) for text in _peer(peer, world))
        for port in rule.get("ports", []):
            if own and port["port"] not in here | MESH:
                yield f"lets in at {port['port']}, listens on {sorted(here)}"
    for rule in spec.get("egress", []):
        yield from (text for peer in rule.get("to", []) for text in _peer(peer, world))
        allowed = _ports_of_peers(rule.get("to"), world)
        for port in rule.get("ports", []):
            if allowed is not None and port["port"] not in allowed:
                yield f"lets out to {port['port']}, which nobody there has"


def _ports_of_peers(peers: list[Document] | None, world: World) -> set[int] | None:
    """Return the ports of those a rule names; None: they are not in this world."""
    if peers is None:
        return BEYOND
    found: set[int] = set()
    for peer in peers:
        if "namespaceSelector" in peer:
            found |= NEIGHBOURS.get(
                peer["namespaceSelector"]["matchLabels"].get("kubernetes.io/metadata.name", ""), set()
            )
        elif peer["podSelector"] == {}:
            found |= MESH
        else:
            pods = world.selected(peer["podSelector"]["matchLabels"])
            if not pods:
                return None
            found |= {port for each in pods for port in each.ports}
    return found


def _peer(peer: Document, world: World) -> Iterator[str]:
    labels = peer.get("namespaceSelector", {}).get("matchLabels")
    if labels is not None:
        if set(labels) != {"kubernetes.io/metadata.name"} or labels["kubernetes.io/metadata.name"] not in NEIGHBOURS:
            yield f"namespaces {labels}"
        if peer.get("podSelector", {"matchLabels": {"k8s-app": "kube-dns"}}) != {
            "matchLabels": {"k8s-app": "kube-dns"}
        }:
            yield f"pods {peer['podSelector']} there"
    elif peer["podSelector"]:
        yield from _known(peer["podSelector"], world)


def _known(selector: Document, world: World) -> Iterator[str]:
    labels = selector.get("matchLabels", {})
    if selector and not any(labels.items() <= known.items() for known in world.known_pods):
        yield f"selects {labels}, which no pods have"


def _unreachable(world: World) -> Iterator[str]:
    """Yield the addresses that pods are told of and may not talk to, by policy of either side."""
    for pods in world.pods:
        if pods.name == "tidegauge":
            continue  # the operator's: their addresses are not among their variables
        for host, port in _told(pods, world):
            if host.endswith(".example.internal"):
                continue
            others = [
                each for each in world.pods if f"{each.name}" in (host, host.partition("-")[2]) and port in each.ports
            ]
            if not _may(pods, others, port, world, "egress", "to"):
                yield f"{pods.name}: may not go to {host}:{port}"
            for other in others:
                if not _may(other, [pods], port, world, "ingress", "from"):
                    yield f"{other.name}: does not let {pods.name} in at {port}"


def _told(pods: Pods, world: World) -> Iterator[tuple[str, int]]:
    for box in pods.spec["containers"]:
        values = [each.get("value", "") for each in box.get("env", [])] + box.get("command", [])
        for source in box.get("envFrom", []):
            found = world.named("ConfigMap", source["configMapRef"]["name"])
            values += (found or {}).get("data", {}).values()
        for value in values:
            yield from ((host, int(port)) for host, port in ADDRESS.findall(value))


def _may(pods: Pods, others: list[Pods], port: int, world: World, way: str, whom: str) -> bool:
    for policy in world.of("NetworkPolicy"):
        if not (policy["spec"]["podSelector"].get("matchLabels") or {}).items() <= pods.labels.items():
            continue
        for rule in policy["spec"].get(way, []):
            if {"port": port} in [{"port": each["port"]} for each in rule.get("ports", [])] and (
                whom not in rule or any(_is(peer, each) for peer in rule[whom] for each in others)
            ):
                return True
    return False


def _is(peer: Document, pods: Pods) -> bool:
    labels: Mapping[str, str] | None = peer.get("podSelector", {}).get("matchLabels")
    return "namespaceSelector" not in peer and labels is not None and labels.items() <= pods.labels.items()


def _service_of(host: str) -> str:
    return host.removesuffix(".tidegauge.svc.cluster.local")


def _destination_rule(document: Document, world: World) -> Iterator[str]:
    host = document["spec"]["host"]
    if _service_of(host) not in world.addresses or not host.endswith(".tidegauge.svc.cluster.local"):
        yield f"host {host}"
    policy = document["spec"]["trafficPolicy"]
    if policy["loadBalancer"]["localityLbSetting"]["enabled"] and "outlierDetection" not in policy:
        yield "looks for the nearest without knowing who is sick"


def _virtual_service(document: Document, world: World) -> Iterator[str]:
    for host in document["spec"]["hosts"]:
        if _service_of(host) not in world.addresses or not host.endswith(".tidegauge.svc.cluster.local"):
            yield f"host {host}"
    for route in document["spec"]["http"]:
        for each in route["route"]:
            host, port = each["destination"]["host"], each["destination"]["port"]["number"]
            if host not in document["spec"]["hosts"] or port not in world.addresses.get(_service_of(host), set()):
                yield f"to {host}:{port}"
        yield from _retries(route)
    last = document["spec"]["http"][-1]
    if "match" in last or last["retries"]["attempts"] != 0:
        yield "tries writes again"


def _retries(route: Mapping[str, Any]) -> Iterator[str]:
    for match in route.get("match", []) if route["retries"]["attempts"] else []:
        reads = match.get("method") == {"regex": "GET|HEAD"}
        keyed = match.get("uri") == {"exact": "/api/bookings"} and "idempotency-key" in match.get("headers", {})
        if not reads and not keyed:
            yield f"tries again what may not be repeated: {match}"


def _http_route(document: Document, world: World) -> Iterator[str]:
    named = [
        *document["spec"]["parentRefs"],
        *(each for rule in document["spec"]["rules"] for each in rule["backendRefs"]),
    ]
    for each in named:
        if each["port"] not in world.addresses.get(each["name"], set()) or each.get("kind", "Service") != "Service":
            yield f"{each['name']}:{each['port']}"
    if "retry.linkerd.io/http" in document["metadata"].get("annotations", {}):
        matches = [match for rule in document["spec"]["rules"] for match in rule.get("matches", [{}])]
        if not matches or any(match.get("method") not in ("GET", "HEAD") for match in matches):
            yield "tries writes again"


def _peer_authentication(document: Document, world: World) -> Iterator[str]:
    spec = document["spec"]
    if spec["mtls"] != {"mode": "STRICT"}:
        yield "lets in what has no certificate"
    pods = world.selected(spec.get("selector", {}).get("matchLabels"))
    if "selector" in spec and len(pods) != 1:
        yield f"selects {spec['selector']}"
    ports = {str(port) for each in pods for port in each.ports}
    yield from (f"port {port}" for port in spec.get("portLevelMtls", {}) if port not in ports)


_CHECKS: dict[str, tuple[Any, ...]] = {
    "NetworkPolicy": (_policy,),
    "DestinationRule": (_destination_rule,),
    "VirtualService": (_virtual_service,),
    "HTTPRoute": (_http_route,),
    "PeerAuthentication": (_peer_authentication,),
}
