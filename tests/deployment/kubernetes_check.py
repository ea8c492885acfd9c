"""What is wrong with the manifests of one built kustomization: names, images, commands, ports, variables, selectors.

Who may talk to whom is looked at in network_check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.deployment.commands import command_findings
from tests.deployment.known import components, image_findings, names_of, ports_of, target_of
from tests.deployment.kubernetes_world import (
    ADDRESS,
    FOLDER,
    OPERATED,
    OUTSIDE,
    SECRETS,
    Document,
    Pods,
    World,
    pods_of,
)
from tests.deployment.values import mount_findings, value_findings


def kubernetes_findings(world: World) -> list[str]:
    """Return what is wrong with a world, each with the kind and the name of the document."""
    found = []
    for document in world.documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        for check in _CHECKS.get(document["kind"], ()):
            found += [f"{name}: {text}" for text in check(document, world)]
    return found


def _workload(document: Document, world: World) -> Iterator[str]:
    pods = pods_of(document)
    selector = document["spec"].get("selector", {}).get("matchLabels", {})
    if document["kind"] != "Job" and (not selector or not selector.items() <= pods.labels.items()):
        yield f"selects {selector}, its pods are {pods.labels}"
    for spread in pods.spec.get("topologySpreadConstraints", []):
        if not spread["labelSelector"]["matchLabels"].items() <= pods.labels.items():
            yield f"spreads {spread['labelSelector']}"
    if document["kind"] == "StatefulSet" and world.named("Service", document["spec"]["serviceName"]) is None:
        yield f"serviceName {document['spec']['serviceName']}"
    yield from _pod_findings(pods, world)
    claims = {each["metadata"]["name"] for each in document["spec"].get("volumeClaimTemplates", [])}
    volumes = {each["name"] for each in pods.spec.get("volumes", [])} | claims
    for box in pods.spec["containers"]:
        yield from _container(box, pods, world)
        yield from (f"mounts {each['name']}" for each in box.get("volumeMounts", []) if each["name"] not in volumes)


def _pod_findings(pods: Pods, world: World) -> Iterator[str]:
    spec = pods.spec
    account = spec.get("serviceAccountName")
    if account is not None and world.named("ServiceAccount", account) is None:
        yield f"account {account}"
    if spec.get("enableServiceLinks") is not False:
        yield "gets variables made of Services, which have names of settings"
    if spec.get("automountServiceAccountToken") is not False and account != "forecaster":
        yield "may ask the Kubernetes API"
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "may run as root"
    for volume in spec.get("volumes", []):
        name = volume.get("configMap", {}).get("name")
        if name is not None and world.named("ConfigMap", name) is None:
            yield f"ConfigMap {name}"


def _container(box: Document, pods: Pods, world: World) -> Iterator[str]:
    image = box["image"]
    yield from image_findings(image)
    yield from mount_findings(image, [each["mountPath"] for each in box.get("volumeMounts", [])])
    mounts = {each["mountPath"] for each in box.get("volumeMounts", [])}
    words = [*box.get("command", []), *box.get("args", [])]
    if words:
        hosts = ",".join(world.addresses)
        scripts = {f"{mount}/valkey-start.sh" for mount in mounts}
        yield from command_findings(image, words, mounts=mounts | scripts, hosts=hosts)
        yield from address_findings(" ".join(words), world)
    elif target_of(image) == "reference-app" and pods.name == "prepare":
        yield "would serve"
    ports = {port["containerPort"] for port in box.get("ports", [])}
    if not ports <= ports_of(image) or (ports != ports_of(image) and target_of(image) and not words):
        yield f"ports {ports}, the image's are {set(ports_of(image))}"
    yield from _probes(box, pods)
    yield from _variables(box, world)
    context = box.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities") != {"drop": ["ALL"]}:
        yield "has capabilities"
    if target_of(image) and context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its image"
    if target_of(image) and not {"/data", "/tmp"} <= mounts:
        yield f"may write to {mounts} only"
    if set(box.get("resources", {}).get("requests", {})) != {"cpu", "memory"}:
        yield "asks for no resources"


def _probe_by_command(command: Sequence[str], target: str | None) -> Iterator[str]:
    """The image's own health check (deploy/docker/healthy.py), for a part that listens on loopback only."""
    if list(command[:2]) != ["python", "/app/healthy.py"] or len(command) != 3:
        yield f"probe by {command}"
        return
    url = urlsplit(command[2])
    if target is None or url.hostname != "127.0.0.1" or not components()[target].answers(url.path):
        yield f"probe of {command[2]}"
    elif url.port not in components()[target].ports:
        yield f"probe of port {url.port}"


def _probes(box: Document, pods: Pods) -> Iterator[str]:
    probes = [box[name] for name in ("startupProbe", "readinessProbe", "livenessProbe") if name in box]
    if box.get("ports") and "readinessProbe" not in box:
        yield "has no readiness probe"
    target = target_of(box["image"])
    for probe in probes:
        if "exec" in probe:
            yield from _probe_by_command(probe["exec"]["command"], target)
            continue
        asked = probe.get("httpGet") or probe["tcpSocket"]
        if asked["port"] not in pods.port_names:
            yield f"probe of port {asked['port']}"
        if "path" in asked and (target is None or not components()[target].answers(asked["path"])):
            yield f"probe of {asked['path']}"
    values = {each["name"]: each.get("value") for each in box.get("env", [])}
    sleep = box.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = sum(float(values.get(f"REFERENCE_APP_{name}_SECONDS") or 0) for name in ("DRAIN", "FINISH"))
    if sleep + drain > pods.spec.get("terminationGracePeriodSeconds", 30):
        yield "is killed before it has drained"


def _variables(box: Document, world: World) -> Iterator[str]:
    values: dict[str, str] = {}
    for source in box.get("envFrom", []):
        name = source["configMapRef"]["name"]
        found = world.named("ConfigMap", name)
        if found is None:
            yield f"variables of {name}"
        values |= (found or {}).get("data", {})
    for each in box.get("env", []):
        values[each["name"]] = each.get("value", "")
        secret = each.get("valueFrom", {}).get("secretKeyRef")
        if each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "metadata.name") != "metadata.name":
            yield f"{each['name']} from {each['valueFrom']['fieldRef']}"
        if secret is not None:
            if secret["key"] not in SECRETS.get(secret["name"], {}).get("keys", ()):
                yield f"{secret['name']}/{secret['key']} is not in secrets.toml"
            elif target_of(box["image"]) and secret["key"] != each["name"]:
                yield f"{each['name']} from {secret['key']}"
        elif re.search(r"PASSWORD|TOKEN|SECRET", each["name"]):
            yield f"{each['name']} is a secret, and stands here"
    yield from (f"nobody reads {name}" for name in values if name not in names_of(box["image"]))
    for name, value in values.items():
        yield from value_findings(name, value)
        if name.endswith("_PORT") and not (value.isdecimal() and int(value) in ports_of(box["image"])):
            yield f"{name}={value}"
        if not name.endswith("ALLOWED_HOSTS"):
            yield from address_findings(value, world)
        elif not set(value.split(",")) <= set(world.addresses):
            yield f"{name}={value}"


def address_findings(text: str, world: World) -> Iterator[str]:
    """Yield the addresses of a text that no Service has; what is outside is named so."""
    for host, port in ADDRESS.findall(text):
        ports = {8123} if host.endswith(OUTSIDE) else world.addresses.get(host, set())
        if int(port) not in ports:
            yield f"{host}:{port}: no Service has it"


def _service(document: Document, world: World) -> Iterator[str]:
    name, selector = document["metadata"]["name"], document["spec"]["selector"]
    pods = [each for each in world.selected(selector) if each.name == name]
    if not selector or not pods:
        yield f"selects {selector}"
        return
    for port in document["spec"]["ports"]:
        if pods[0].port_names.get(port["targetPort"]) != port["port"]:
            yield f"port {port['port']} to {port['targetPort']}; its pods have {dict(pods[0].port_names)}"


def _selects_its_own(document: Document, world: World) -> Iterator[str]:
    labels = document["spec"]["selector"]["matchLabels"]
    if not [each for each in world.selected(labels) if each.name == document["metadata"]["name"]] or not labels:
        yield f"selects {labels}"


def _scaler(document: Document, world: World) -> Iterator[str]:
    spec = document["spec"]
    target = spec["scaleTargetRef"]
    found = world.named(target["kind"], target["name"])
    if found is None:
        yield f"scales {target['kind']} {target['name']}"
    elif "replicas" in found["spec"]:
        yield f"{target['name']} has replicas of its own"
    adapter = (FOLDER / "adapter" / "values.yaml").read_text()
    for metric in spec["metrics"]:
        if metric["type"] == "Pods" and f"as: {metric['pods']['metric']['name']}" not in adapter:
            yield f"nobody gives it {metric['pods']['metric']['name']}"


def _monitor(document: Document, world: World) -> Iterator[str]:
    labels = document["spec"]["selector"]["matchLabels"]
    services = [each for each in world.of("Service") if labels.items() <= each["metadata"]["labels"].items()]
    if len(services) != 1 or services[0]["metadata"]["name"] != document["metadata"]["name"]:
        yield f"selects {labels}"
        return
    for endpoint in document["spec"]["endpoints"]:
        if endpoint["port"] not in {port["name"] for port in services[0]["spec"]["ports"]}:
            yield f"port {endpoint['port']}"
        for pods in world.selected(services[0]["spec"]["selector"]):
            target = target_of(pods.spec["containers"][0]["image"])
            if target is None or not components()[target].answers(endpoint["path"]):
                yield f"path {endpoint['path']}"
        secret = endpoint.get("authorization", {}).get("credentials")
        if secret and secret["key"] not in SECRETS.get(secret["name"], {}).get("keys", ()):
            yield f"secret {secret}"


def _ingress(document: Document, world: World) -> Iterator[str]:
    health = document["metadata"]["annotations"]["alb.ingress.kubernetes.io/healthcheck-path"]
    if not components()["edge"].answers(health):
        yield f"asks for {health}"
    ports = json.loads(document["metadata"]["annotations"]["alb.ingress.kubernetes.io/listen-ports"])
    redirect = document["metadata"]["annotations"]["alb.ingress.kubernetes.io/ssl-redirect"]
    if ports != [{"HTTP": 80}, {"HTTPS": int(redirect)}] or redirect != "443":
        yield f"listens on {ports}"
    if document["spec"]["ingressClassName"] != "alb":
        yield f"class {document['spec']['ingressClassName']}"
    for rule in document["spec"]["rules"]:
        if not re.fullmatch(r"(\*\.)?flights\.example\.com", rule["host"]):
            yield f"host {rule['host']}"
        for path in rule["http"]["paths"]:
            wanted = path["backend"]["service"]
            found = world.named("Service", wanted["name"])
            names = [port["name"] for port in found["spec"]["ports"]] if found else []
            if wanted["port"]["name"] not in names or path["path"] != "/":
                yield f"{path['path']} to {wanted}"


def _binding(document: Document, world: World) -> Iterator[str]:
    role = document["roleRef"]
    if world.named(role["kind"], role["name"]) is None or role["apiGroup"] != "rbac.authorization.k8s.io":
        yield f"role {role['name']}"
    for subject in document["subjects"]:
        if world.named(subject["kind"], subject["name"]) is None or subject["namespace"] != "tidegauge":
            yield f"subject {subject['name']}"


def _role(document: Document, _: World) -> Iterator[str]:
    for rule in document["rules"]:
        words = [*rule.get("resources", []), *rule.get("apiGroups", []), *rule["verbs"]]
        if "*" in words or "secrets" in words or {"escalate", "bind", "impersonate", "delete"} & set(words):
            yield f"allows {words}"


def _operated(document: Document, world: World) -> Iterator[str]:
    label, _, _ = OPERATED[document["kind"]]
    template = document["spec"]["templates"]["podTemplates"][0]
    if document["spec"]["defaults"]["templates"]["podTemplate"] != template["name"]:
        yield f"pod template {template['name']}"
    for spread in template["spec"]["topologySpreadConstraints"]:
        if spread["labelSelector"]["matchLabels"] != {label: document["metadata"]["name"]}:
            yield f"spreads {spread['labelSelector']}"
    for box in template["spec"]["containers"]:
        yield from image_findings(box["image"])
    configuration = document["spec"]["configuration"]
    for node in configuration.get("zookeeper", {}).get("nodes", []):
        if node["port"] not in world.addresses.get(node["host"], set()):
            yield f"keeper {node}"
    for key, value in configuration.get("users", {}).items():
        if key.endswith("k8s_secret_password"):
            secret, name = value.split("/")
            if name not in SECRETS.get(secret, {}).get("keys", ()):
                yield f"secret {value}"


_CHECKS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("Deployment", "StatefulSet", "Job"), (_workload,)),
    "Service": (_service,),
    "PodDisruptionBudget": (_selects_its_own,),
    "HorizontalPodAutoscaler": (_scaler,),
    "ServiceMonitor": (_monitor,),
    "Ingress": (_ingress,),
    **dict.fromkeys(("RoleBinding", "ClusterRoleBinding"), (_binding,)),
    **dict.fromkeys(("Role", "ClusterRole"), (_role,)),
    **dict.fromkeys(tuple(OPERATED), (_operated,)),
}
