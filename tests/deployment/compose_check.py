"""What is wrong with docker-compose.yml: functions over the parsed document; no findings when it is right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.deployment.commands import command_findings
from tests.deployment.known import (
    DOCKERFILE,
    IMAGES,
    ROOT,
    foreign,
    image_findings,
    names_of,
    ports_of,
    stack_parts,
    target_of,
)
from tests.deployment.values import mount_findings, value_findings

Document = Mapping[str, Any]
ADDRESS = re.compile(r"(?<![\w.-])([a-z][a-z0-9.-]*|127\.0\.0\.1):(\d{2,5})(?!\d)")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|AUTH")
_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
_POSTGRES = {"primary": 0, "search": 1, "analytics": 2, "profiles": 3, "standby": 4}  # as the embedded stack's


def compose_findings(document: Document) -> list[str]:
    """Return what is wrong, each with the service's name."""
    found = []
    for name, service in document["services"].items():
        for check in (
            _image,
            _commands,
            _ports,
            _environment,
            _values,
            _names,
            _addresses,
            _volumes,
            _dependencies,
            _caches,
            _hardening,
        ):
            found += [f"{name}: {text}" for text in check(name, service, document)]
    return found + _unused(document)


def _image(name: str, service: Document, _: Document) -> Iterator[str]:
    yield from image_findings(service["image"])
    target = target_of(service["image"])
    if target is None:
        if service["image"].startswith(IMAGES["ours"]["name"] + "/") or "build" in service:
            yield f"builds {service.get('build')} and is called {service['image']}"
    elif service.get("build") != {"context": ".", "target": target} or f" AS {target}\n" not in DOCKERFILE:
        yield f"{service['image']} is built by the target {service.get('build')}"


def _commands(name: str, service: Document, document: Document) -> Iterator[str]:
    mounts = set(_mounts(service))
    hosts = ",".join(document["services"])
    for words in (service.get("entrypoint"), service.get("command")):
        if words:
            yield from command_findings(service["image"], words, mounts=mounts, hosts=hosts)
    test = service.get("healthcheck", {}).get("test")
    if test:
        if test[0] != "CMD":
            yield f"healthcheck: expected CMD, got {test[0]}"
        yield from command_findings(service["image"], test[1:], mounts={*mounts, "/dev/null"}, hosts=hosts)
        yield from (
            f"healthcheck: port {word}" for word in test[1:] if word.isdecimal() and not _has(service, int(word))
        )
    elif target_of(service["image"]) is None and name != "valkey-cluster":
        yield "nobody looks at its health"


def _has(service: Document, port: int) -> bool:
    return port in ports_of(service["image"])


def _ports(name: str, service: Document, _: Document) -> Iterator[str]:
    for mapping in service.get("ports", []):
        address, outer, inner = mapping.split(":")
        wanted = int(inner)
        if name.startswith("postgres-"):
            wanted = stack_parts()["postgres-primary"].ports[0].number + _POSTGRES[name.removeprefix("postgres-")]
        if address != "127.0.0.1" or not _has(service, int(inner)) or int(outer) != wanted:
            yield f"port {mapping}"
    if service.get("ports") and target_of(service["image"]) is not None:
        inner_ports = {int(mapping.rsplit(":", 1)[1]) for mapping in service["ports"]}
        if inner_ports != ports_of(service["image"]):
            yield f"ports {inner_ports} are not those of its settings, {set(ports_of(service['image']))}"


def _environment(name: str, service: Document, _: Document) -> Iterator[str]:
    environment = service.get("environment", {})
    known = names_of(service["image"])
    yield from (f"nobody reads {key}" for key in environment if key not in known)
    for key, value in environment.items():
        text = str(value)
        if _SECRET.search(key) and not re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", text):
            yield f"{key} is a secret, and stands here"
        yield from (f"{key}: {use} has a default, or none has to be given" for use in _loose_uses(text))
        if key.endswith("_PORT") and not (text.isdecimal() and _has(service, int(text))):
            yield f"{key}={text}: not a port of its"
    if target_of(service["image"]) not in (None, "dashboard") and service.get("ports"):
        listens = environment.get("TIDEGAUGE_BIND_ADDRESS") or environment.get("REFERENCE_APP_BIND_ADDRESS")
        if listens != "0.0.0.0":
            yield f"is published and listens on {listens}"


def _values(_: str, service: Document, document: Document) -> Iterator[str]:
    for key, value in service.get("environment", {}).items():
        yield from value_findings(key, str(value))
    hosts = service.get("environment", {}).get("TIDEGAUGE_LOAD_ALLOWED_HOSTS")
    if hosts is not None and not set(hosts.split(",")) <= set(document["services"]):
        yield f"may load {hosts}"
    user = service.get("environment", {}).get("TIDEGAUGE_CLICKHOUSE_USER")
    if user is not None and (user == "tidegauge_reader") != (target_of(service["image"]) == "dashboard"):
        yield f"asks the store as {user}"


def _names(name: str, service: Document, document: Document) -> Iterator[str]:
    """What a server calls itself is the service's name: others find it under that."""
    environment = service.get("environment", {})
    own = [environment.get("CLICKHOUSE_REPLICA"), environment.get("VALKEY_HOSTNAME"), service.get("hostname")]
    yield from (f"calls itself {each}" for each in own if each not in (None, name))
    if "FOLLOWER" in environment and name != f"postgres-{environment['FOLLOWER']}":
        yield f"follows as {environment['FOLLOWER']}"
    if "CLICKHOUSE_SHARD" in environment and name != f"clickhouse-{environment['CLICKHOUSE_SHARD']}":
        yield f"holds shard {environment['CLICKHOUSE_SHARD']}"
    nodes = {other for other, each in document["services"].items() if "node" in each.get("entrypoint", [])}
    if "VALKEY_NODES" in environment and set(environment["VALKEY_NODES"].split()) != nodes:
        yield f"makes a cluster of {environment['VALKEY_NODES']}"
    if name.startswith("postgres-") and service.get("user", "postgres") != "postgres":
        yield f"runs as {service['user']}"
    if name == "nginx-purge" and service.get("user") != "101:101":
        yield f"runs as {service.get('user')}, the files are nginx's"


def _loose_uses(text: str) -> Iterator[str]:
    for use in re.findall(r"\$\{[^}]*\}|\$[A-Za-z_]\w*", text):
        if not re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", use):
            yield use


def _addresses(name: str, service: Document, document: Document) -> Iterator[str]:
    texts = [str(value) for value in service.get("environment", {}).values()]
    texts += [*service.get("command", []), *service.get("entrypoint", [])]
    texts += service.get("healthcheck", {}).get("test", [])
    for text in texts:
        for host, port in ADDRESS.findall(text):
            other = service if host == "127.0.0.1" else document["services"].get(host)
            if other is None or not _has(other, int(port)):
                yield f"{host}:{port}: no service has it"
    suffix = service.get("environment", {}).get("HTTPS_SUFFIX")
    if suffix is not None and suffix != f":{service['environment'].get('HTTPS_PORT')}":
        yield f"HTTPS_SUFFIX {suffix}"


def _mounts(service: Document) -> Iterator[str]:
    for volume in service.get("volumes", []):
        yield volume.split(":")[1]
    yield from (f"/run/secrets/{secret}" for secret in service.get("secrets", []))


def _volumes(name: str, service: Document, document: Document) -> Iterator[str]:
    yield from mount_findings(service["image"], [each.split(":")[1] for each in service.get("volumes", [])])
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        if mode != (["ro"] if source.startswith(".") else []):
            yield f"{volume}: files of the repository are mounted to be read, volumes to be written"
        if source.startswith("."):
            if not (ROOT / source).exists():
                yield f"{source} does not exist"
        elif source not in document["volumes"]:
            yield f"volume {source} is not declared"
        elif (
            target_of(service["image"]) is not None
            and target != "/data"
            and "--forget-in" not in service.get("command", [])
        ):
            yield f"{target}: our state lies in /data"
    yield from (f"secret {each}" for each in service.get("secrets", []) if each not in document["secrets"])
    environment = service.get("environment", {})
    for key, mount in (("CACHE", "/var/cache/nginx"), ("CERTIFICATE", "/certificates"), ("STATIC", "/static")):
        if key in environment and not str(environment[key]).startswith(mount):
            yield f"{key} is not in {mount}"


def _dependencies(name: str, service: Document, document: Document) -> Iterator[str]:
    for other, terms in service.get("depends_on", {}).items():
        needed = document["services"].get(other)
        if needed is None:
            yield f"waits for {other}, which is not there"
            continue
        if not set(service["profiles"]) <= set(needed["profiles"]):
            yield f"waits for {other}, which is not in all of its profiles"
        checked = "test" in needed.get("healthcheck", {}) or target_of(needed["image"]) is not None
        if terms["condition"] not in _CONDITIONS:
            yield f"waits until {other} is {terms['condition']}"
        if terms["condition"] == "service_healthy" and (not checked or needed.get("healthcheck", {}).get("disable")):
            yield f"waits for the health of {other}, which nobody looks at"


def _caches(name: str, service: Document, document: Document) -> Iterator[str]:
    if name == "nginx-purge":
        wanted = document["services"]["nginx"]["environment"].get("CACHE")
        if service["command"][-1] != wanted:
            yield f"looks into {service['command'][-1]}; nginx keeps its answers in {wanted}"


def _hardening(name: str, service: Document, _: Document) -> Iterator[str]:
    if (
        not service.get("profiles")
        or not set(service["profiles"]) <= {"core", "full"}
        or "full" not in service["profiles"]
    ):
        yield f"profiles {service.get('profiles')}"
    once = name in ("prepare", "valkey-cluster")
    if service.get("restart") != ("on-failure" if once else "unless-stopped"):
        yield f"is started again {service.get('restart')}"
    if service.get("healthcheck", {}).get("disable", True) is not True:
        yield "its health check is neither disabled nor there"
    if target_of(service["image"]) is not None and not (
        service.get("read_only") is True
        and service.get("cap_drop") == ["ALL"]
        and service.get("security_opt") == ["no-new-privileges:true"]
        and service.get("tmpfs") == ["/tmp"]
    ):
        yield "may write to its image, or has capabilities"


def _unused(document: Document) -> list[str]:
    used = {volume.split(":")[0] for service in document["services"].values() for volume in service.get("volumes", [])}
    found = [f"volume {name} is used by nobody" for name in document["volumes"] if name not in used]
    images = {service["image"] for service in document["services"].values()}
    python = IMAGES["python"]["image"]
    given = {key for service in document["services"].values() for key in service.get("environment", {})}
    found += [
        f"secret {name} of {each['environment']}, which nobody is given"
        for name, each in document.get("secrets", {}).items()
        if each["environment"] not in given
    ]
    return found + [
        f"deploy/images.toml: {image} is used by nobody" for image in foreign() if image not in {*images, python}
    ]
