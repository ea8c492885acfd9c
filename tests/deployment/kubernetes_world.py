"""The documents of one built kustomization that are applied together, and what is asked of them often."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.deployment.known import ROOT

Document = dict[str, Any]
FOLDER = ROOT / "deploy" / "kubernetes"
SECRETS = tomllib.loads((FOLDER / "secrets.toml").read_text())
ADDRESS = re.compile(r"(?<![\w.-])([a-z][a-z0-9.-]*):(\d{2,5})(?!\d)")
CHI, CHK = "clickhouse.altinity.com/chi", "clickhouse-keeper.altinity.com/chk"
OPERATED = {
    "ClickHouseInstallation": (CHI, "clickhouse", {8123, 9000, 9009}),
    "ClickHouseKeeperInstallation": (CHK, "keeper", {2181, 9444}),
}
OUTSIDE = ".example.internal"


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods of one workload. ports: by name where they have one."""

    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    ports: frozenset[int]
    port_names: Mapping[str, int]


@dataclass(frozen=True)
class World:
    """The documents of one kustomization, and what is asked of them often."""

    documents: list[Document]
    known_pods: tuple[Mapping[str, str], ...] = field(default=())

    def of(self, *kinds: str) -> list[Document]:
        """Return the documents of some kinds."""
        return [each for each in self.documents if each["kind"] in kinds]

    def named(self, kind: str, name: str) -> Document | None:
        """Return one document."""
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), None)

    @cached_property
    def pods(self) -> list[Pods]:
        """Every workload's pods, those of the ClickHouse operator included."""
        found = [pods_of(each) for each in self.of("Deployment", "StatefulSet", "Job")]
        for each in self.of(*OPERATED):
            label, _, ports = OPERATED[each["kind"]]
            spec = each["spec"]["templates"]["podTemplates"][0]["spec"]
            found.append(Pods(each["metadata"]["name"], {label: each["metadata"]["name"]}, spec, frozenset(ports), {}))
        return found

    def selected(self, labels: Mapping[str, str] | None) -> list[Pods]:
        """Return the pods that have all of these labels; none: all."""
        return [each for each in self.pods if (labels or {}).items() <= each.labels.items()]

    @cached_property
    def addresses(self) -> dict[str, set[int]]:
        """The ports of every Service by its name, those that the ClickHouse operator makes included."""
        found = {
            each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]} for each in self.of("Service")
        }
        for each in self.of(*OPERATED):
            _, prefix, ports = OPERATED[each["kind"]]
            found[f"{prefix}-{each['metadata']['name']}"] = set(ports)
        return found


def pods_of(document: Document) -> Pods:
    """Return the pods of a workload."""
    template = document["spec"]["template"]
    ports = [port for box in template["spec"]["containers"] for port in box.get("ports", [])]
    return Pods(
        document["metadata"]["name"],
        template["metadata"]["labels"],
        template["spec"],
        frozenset(port["containerPort"] for port in ports),
        {port["name"]: port["containerPort"] for port in ports},
    )
