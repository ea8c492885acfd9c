"""What is wrong with the files that compose mounts (Prometheus, ClickHouse, scripts) and with the Dockerfile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.deployment.commands import docker_command_findings
from tests.deployment.known import IMAGES, ROOT, components, foreign, ports_of

FOLDER = ROOT / "deploy" / "compose"
_HOST_AND_PORT = re.compile(r"\b(postgres-primary|valkey-\d|keeper|clickhouse-\d|cluster)[: ]+(?:-p )?(\d{2,5})\b")
_VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]+)")
_SHELL = frozenset({"PGDATA"})  # images set them by themselves


def services_mounting(path: str, compose: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the services that mount a file of the repository."""
    return [
        service
        for service in compose["services"].values()
        if any(volume.split(":")[0] == path for volume in service.get("volumes", []))
    ]


def address_findings(text: str, compose: Mapping[str, Any]) -> list[str]:
    """Return the `host:port`s of a text that no service of compose has."""
    services = compose["services"]
    return [
        f"{host}:{port}: no service has it"
        for host, port in re.findall(r"\b([a-z][a-z0-9-]*):(\d{2,5})\b", text)
        if host not in services or int(port) not in ports_of(services[host]["image"])
    ]


def prometheus_findings(document: Mapping[str, Any], compose: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with Prometheus' settings: targets, secrets, files."""
    found = address_findings(json.dumps([document["scrape_configs"], document["alerting"]]), compose)
    service = compose["services"]["prometheus"]
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    mounted |= {f"/run/secrets/{name}" for name in service["secrets"]}
    named = [*document["rule_files"], *re.findall(r'"credentials_file": "([^"]+)"', json.dumps(document))]
    return found + [f"{path} is not mounted" for path in named if path not in mounted]


def alert_findings(document: Mapping[str, Any]) -> list[str]:
    """Return the metrics of alerts that no source of ours makes."""
    sources = "\n".join(component.text for component in components().values())
    known = set(re.findall(r'"((?:tidegauge_)?[a-z_]+)"', sources))
    known |= {f"tidegauge_{name}" for name in known}
    text = json.dumps([rule["expr"] for group in document["groups"] for rule in group["rules"]])
    return [f"{name}: nobody makes it" for name in re.findall(r"\btidegauge_[a-z_]+", text) if name not in known]


def clickhouse_findings(text: str, path: str, compose: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a settings file of ClickHouse or its Keeper: hosts, ports, variables."""
    services = compose["services"]
    found = []
    for element in ElementTree.fromstring(text).iter():
        host, port = element.find("host"), element.find("port")
        host = host if host is not None else element.find("hostname")
        if host is not None and port is not None:
            known = services.get(host.text)
            if known is None or int(str(port.text)) not in ports_of(known["image"]):
                found.append(f"{host.text}:{port.text}: no service has it")
        name = element.get("from_env")
        found += [
            f"{name} is not given to {service['image']}"
            for service in services_mounting(path, compose)
            if name is not None and name not in {*service["environment"], "HOSTNAME"}
        ]
        if element.tag in ("tcp_port", "interserver_http_port"):
            image = services_mounting(path, compose)[0]["image"]
            if int(str(element.text)) not in ports_of(image):
                found.append(f"{element.tag} {element.text}")
    return found


def script_findings(text: str, path: str, compose: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a script: variables that its service does not give, addresses that nobody has."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    services = services_mounting(path, compose)
    found = [] if services else [f"{path} is mounted by nobody"]
    given = set.intersection(*(set(service["environment"]) for service in services)) if services else set()
    if path.endswith("valkey-start.sh"):
        given.add("VALKEY_HOSTNAME")  # the cluster's nodes have it, the job queue's server does not ask for it
        given &= {name for service in services for name in service["environment"]}
    found += [f"{name} is given by nobody" for name in _VARIABLE.findall(body) if name not in {*given, *_SHELL}]
    for host, port in [("postgres-primary", each) for each in re.findall(r"-h postgres-primary -p (\d+)", body)]:
        if int(port) not in ports_of(compose["services"][host]["image"]):
            found.append(f"{host} {port}")
    for port in re.findall(r"(?:meet \"\$address\" |/%/:)(\d+)", body):
        if int(port) not in ports_of(IMAGES["valkey"]["image"]):
            found.append(f"valkey {port}")
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the Dockerfile."""

    name: str
    base: str
    text: str


def stages(dockerfile: str) -> list[Stage]:
    """Return the Dockerfile's stages in order."""
    parts = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[1:]
    return [Stage(match[2], match[1], part) for part in parts if (match := re.match(r"(\S+) AS (\S+)\n", part))]


def dockerfile_findings(dockerfile: str) -> list[str]:
    """Return what is wrong: bases, targets, commands, ports, health checks, users, variables, folders."""
    found = []
    by_name = {stage.name: stage for stage in stages(dockerfile)}
    if set(by_name) != {"build", "runtime", *components()}:
        found.append(f"targets {sorted(by_name)}")
    for stage in by_name.values():
        if stage.name in components():
            found += [f"{stage.name}: {text}" for text in _target_findings(stage)]
        elif stage.base not in foreign():
            found.append(f"base {stage.base}: not in deploy/images.toml")
        found += [f"{stage.name}: {text}" for text in _copy_findings(stage)]
    runtime = by_name["runtime"].text
    if not re.search(r"^USER 10001:10001$", runtime, re.MULTILINE):
        found.append("runs as root")
    names = re.findall(r"([A-Z_]+)=", "".join(re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE)))
    known = {*components()["collector"].names, "PATH", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    return found + [f"ENV {name}: nobody reads it" for name in names if name not in known]


def _target_findings(stage: Stage) -> Iterator[str]:
    component = components()[stage.name]
    if stage.base != "runtime":
        yield f"is made from {stage.base}"
    command = re.search(r"^CMD (\[.*\])$", stage.text, re.MULTILINE)
    yield from docker_command_findings(stage.name, json.loads(command[1]) if command else [])
    exposed = {int(port) for line in re.findall(r"^EXPOSE (.*)$", stage.text, re.MULTILINE) for port in line.split()}
    if exposed != component.ports:
        yield f"exposes {sorted(exposed)}, listens on {sorted(component.ports)}"
    health = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", stage.text, re.MULTILINE)
    words = json.loads(health[1]) if health else []
    url = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\S+)", words[-1]) if words else None
    if words[:-1] != ["python", "/app/healthy.py"] or url is None:
        yield f"health check {words}"
    elif int(url[1]) not in component.ports or not component.answers(url[2]):
        yield f"health check asks {url[0]}"


def _copy_findings(stage: Stage) -> Iterator[str]:
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", stage.text, re.MULTILINE):
        yield from (f"COPY {source}: not there" for source in line.split() if not (ROOT / source).exists())


def mounted_files() -> list[Path]:
    """Return the files of deploy/compose."""
    return sorted(path for path in FOLDER.rglob("*") if path.is_file())
