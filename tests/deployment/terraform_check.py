"""What is wrong with deploy/terraform: names nobody declares, figures, and what the overlays have to agree with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2

from reference_app.settings import LONGEST_S_MAXAGE_SECONDS
from tests.deployment.known import ROOT, components
from tests.deployment.kubernetes_world import FOLDER as KUBERNETES
from tests.deployment.kubernetes_world import SECRETS

FOLDER = ROOT / "deploy" / "terraform"
PORTS = {5432, 6379, 80, 443}  # PostgreSQL, Redis, and what the world asks
REGIONS = {  # name: instances, where copies of its backups go
    "us-east-1": (6, "us-west-2"), "eu-west-1": (4, "eu-central-1"), "us-west-2": (3, None),
}  # fmt: skip
Module = Mapping[str, Any]


def plain(value: Any) -> Any:
    """Return parsed HCL without the quotes and marks that the parser keeps."""
    if isinstance(value, dict):
        return {
            re.sub(r"[${}]", "", str(plain(key))): plain(each)
            for key, each in value.items()
            if not str(key).startswith("__")
        }
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def read_module(folder: Path) -> dict[str, Any]:
    """Return all blocks of a folder's files, by kind."""
    blocks: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("*.tf")):
        for kind, found in plain(hcl2.loads(path.read_text())).items():
            blocks.setdefault(kind, []).extend(found)
    return blocks


def read_all() -> dict[str, dict[str, Any]]:
    """Return the root and every module by its folder's name, `.` for the root."""
    return {".": read_module(FOLDER)} | {
        path.name: read_module(path) for path in sorted((FOLDER / "modules").iterdir())
    }


def terraform_findings(modules: Mapping[str, Module], texts: Mapping[str, str]) -> list[str]:
    """Return what is wrong. texts: the source of each module, for uses within expressions."""
    found = []
    for name, module in modules.items():
        found += [f"{name}: {text}" for text in (*_names(module, texts[name]), *_ports(module))]
    root = modules["."]
    found += [f"root: {text}" for text in _calls(root, modules)]
    found += [f"root: {text}" for text in (*_regions(root), *_secrets(root, texts["."]))]
    found += [f"global: {text}" for text in _world(modules["global"])]
    return found + [f"region: {text}" for text in _database(modules["region"])]


def _declared(module: Module, kind: str) -> set[str]:
    return {name for block in module.get(kind, []) for name in block}


def _names(module: Module, text: str) -> Iterator[str]:
    variables, used = _declared(module, "variable"), set(re.findall(r"\bvar\.(\w+)", text))
    yield from (f"variable {name} is not declared" for name in used - variables)
    yield from (f"variable {name} is used by nobody" for name in variables - used)
    local = {name for block in module.get("locals", []) for name in block}
    yield from (f"local {name} is not declared" for name in set(re.findall(r"\blocal\.(\w+)", text)) - local)
    for kind, prefix in (("resource", ""), ("data", r"data\.")):
        known = {(each, name) for block in module.get(kind, []) for each, names in block.items() for name in names}
        asked = set(re.findall(rf"(?<![\w.\"/]){prefix}(aws_\w+|random_\w+)\.(\w+)", text))
        yield from (f"{kind} {'.'.join(each)} is not declared" for each in asked - known)
    called = {name for block in module.get("module", []) for name in block}
    yield from (f"module {name} is not declared" for name in set(re.findall(r"\bmodule\.(\w+)", text)) - called)
    for name, variable in ((name, each) for block in module.get("variable", []) for name, each in block.items()):
        if re.search("password|token", name) and ("default" in variable or variable.get("sensitive") is not True):
            yield f"variable {name} has a default, or is shown"


def _ports(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _ports(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _ports(each, key)
    elif (key == "port" or key.endswith("_port")) and value not in PORTS:
        yield f"{key} {value}"


def _calls(root: Module, modules: Mapping[str, Module]) -> Iterator[str]:
    for block in root["module"]:
        for name, call in block.items():
            called = modules.get(Path(call["source"]).name)
            if called is None:
                yield f"module {name} from {call['source']}"
                continue
            wanted = {key: each for item in called.get("variable", []) for key, each in item.items()}
            given = set(call) - {"source", "providers", "count"}
            for key, value in call.items():
                if isinstance(value, str) and "${" in value and not re.fullmatch(r"(\$\{[^}]+\}\.?)+", value):
                    yield f"module {name}: {key} is {value}"
            yield from (f"module {name}: {key} is not asked for" for key in given - set(wanted))
            yield from (
                f"module {name} gets no {key}" for key in wanted if key not in given and "default" not in wanted[key]
            )


def _regions(root: Module) -> Iterator[str]:
    calls = {call["region"]: call for block in root["module"] for call in block.values() if "region" in call}
    if set(calls) != set(REGIONS):
        yield f"regions {sorted(calls)}"
        return
    aliases = {
        each["alias"]: each["region"] for block in root["provider"] for each in block.values() if "alias" in each
    }
    for region, (instances, backup) in REGIONS.items():
        call = calls[region]
        if call["instances"] != instances:
            yield f"{region}: {call['instances']} instances"
        if call["zones"] != [f"{region}{zone}" for zone in "abc"]:
            yield f"{region}: zones {call['zones']}"
        database = call["database"]
        if database["backup_region"] != backup:
            yield f"{region}: backups go to {database['backup_region']}"
        if database["replica_class"] != "db.r6g.xlarge":
            yield f"{region}: replica {database['replica_class']}"
        if database["primary_class"] != ("db.r6g.2xlarge" if region == "us-east-1" else None):
            yield f"{region}: primary {database['primary_class']}"
        providers = {key: re.sub(r"[${}]|aws\.", "", each) for key, each in call["providers"].items()}
        if aliases.get(providers["aws"]) != region or (backup and aliases.get(providers["aws.backup"]) != backup):
            yield f"{region}: providers {providers}"
        if not (KUBERNETES / "overlays" / "three-regions" / region / "kustomization.yaml").is_file():
            yield f"{region} has no overlay"


def _secrets(root: Module, text: str) -> Iterator[str]:
    outputs = {name: each for block in root["output"] for name, each in block.items()}
    for name, table in SECRETS.items():
        if not table.get("terraform"):
            continue
        found = re.search(rf'"{name}" = {{(.*?)}}\n', text, re.DOTALL)
        keys = set(re.findall(r"^\s*([A-Z_]+)\s*=", found[1], re.MULTILINE)) if found else set()
        if keys != set(table["keys"]):
            yield f"secret {name} has {sorted(keys)}"
    if outputs["secrets"].get("sensitive") is not True:
        yield "secrets are shown"
    balancers = {
        name for block in root["data"] for each in block.values() for name in [v["name"] for v in each.values()]
    }
    overlays = {
        match[1]
        for path in (KUBERNETES / "overlays" / "three-regions").glob("*/region.yaml")
        if (match := re.search(r"load-balancer-name: (\S+)", path.read_text()))
    }
    if balancers != overlays:
        yield f"looks for load balancers {sorted(balancers)}, the overlays make {sorted(overlays)}"


def _resources(module: Module) -> dict[tuple[str, str], Any]:
    return {
        (kind, name): each
        for block in module["resource"]
        for kind, names in block.items()
        for name, each in names.items()
    }


def _world(module: Module) -> Iterator[str]:
    """What is above the regions: health asked of the edge, and no answer kept longer than the app allows."""
    resources = _resources(module)
    health = resources[("aws_route53_health_check", "region")]
    if health["type"] != "HTTPS" or health["port"] != 443 or not components()["edge"].answers(health["resource_path"]):
        yield f"health: {health['type']} {health['port']} {health['resource_path']}"
    if not resources[("aws_route53_record", "origin")].get("latency_routing_policy"):
        yield "viewers are not led to the nearest region"
    policy = resources[("aws_cloudfront_cache_policy", "answers")]
    if (policy["min_ttl"], policy["default_ttl"], policy["max_ttl"]) != (0, 0, LONGEST_S_MAXAGE_SECONDS):
        yield "the CDN keeps answers longer than the app allows"
    key = policy["parameters_in_cache_key_and_forwarded_to_origin"][0]
    headers = set(key["headers_config"][0]["headers"][0]["items"])
    if not {"authorization", "x-last-write", "x-region"} <= headers:
        yield f"the CDN's key has the headers {sorted(headers)}"
    if key["cookies_config"][0]["cookies"][0]["items"] != ["x-last-write"]:
        yield "the CDN gives who has just written another's answer"
    if key["query_strings_config"][0]["query_string_behavior"] != "all":
        yield "the CDN takes different questions for one"


def _database(region: Module) -> Iterator[str]:
    resources = _resources(region)
    primary = resources[("aws_db_instance", "primary")]
    if primary["multi_az"] is not True or primary["storage_encrypted"] is not True:
        yield "the primary is in one zone, or in the clear"
    caches = resources[("aws_elasticache_replication_group", "caches")]
    if caches["num_node_groups"] != 3 or caches["automatic_failover_enabled"] is not True:
        yield "the caches are no cluster of three"
