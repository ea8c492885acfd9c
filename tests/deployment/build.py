"""What `kubectl kustomize` makes of a folder, in process: of the parts of kustomize that deploy/kubernetes uses.

A test holds it to kubectl where that is installed. It exists because a mutation test builds hundreds of times.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

Sources = Mapping[Path, list[Any]]
Documents = list[dict[str, Any]]
_MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath",
    "ports": "containerPort", "topologySpreadConstraints": "topologyKey",
}  # fmt: skip
_OF_KUSTOMIZE = frozenset(
    {"apiVersion", "kind", "namespace", "resources", "components", "patches", "configMapGenerator"}
)


class BuildError(ValueError):
    """A file that is not there, a patch without its target, or something that this does not know."""


def read_sources(folder: Path) -> dict[Path, list[Any]]:
    """Return every YAML document beneath a folder, by file."""
    return {
        path: [each for each in yaml.safe_load_all(path.read_text()) if each] for path in sorted(folder.rglob("*.yaml"))
    }


def build(folder: Path, sources: Sources, *, into: Documents | None = None) -> Documents:
    """Return the documents of a kustomization. into: what a component is applied to. Raises BuildError."""
    settings = sources[folder / "kustomization.yaml"][0]
    if unknown := set(settings) - _OF_KUSTOMIZE:
        raise BuildError(f"{folder}: {unknown} are not known here")
    made = into if into is not None else []
    for name in settings.get("resources", []):
        path = (folder / name).resolve()
        if path.suffix != ".yaml":
            made += build(path, sources)
        elif path in sources:
            made += copy.deepcopy(sources[path])
        else:
            raise BuildError(f"{folder}: {name} is not there")
    made += [_config_map(folder, each) for each in settings.get("configMapGenerator", [])]
    for name in settings.get("components", []):
        build((folder / name).resolve(), sources, into=made)
    for patch in settings.get("patches", []):
        for document in sources[(folder / patch["path"]).resolve()]:
            _patch(made, document)
    return made


def _config_map(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    data = {name: (folder / name).read_text() for name in settings["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": settings["name"]}, "data": data}


def _patch(made: Documents, patch: Mapping[str, Any]) -> None:
    name = (patch["kind"], patch["metadata"]["name"])
    for index, document in enumerate(made):
        if (document["kind"], document["metadata"]["name"]) == name:
            made[index] = merged(document, patch)
            return
    raise BuildError(f"a patch of {name}, which is not there")


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a strategic merge: mappings merge, lists with a known key merge by it, other lists are replaced.

    null takes a key away.
    """
    result = dict(old)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged_value(old.get(key), value, _MERGE_KEYS.get(key))
    return result


def _merged_value(old: Any, new: Any, by: str | None) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return merged(old, new)
    if isinstance(old, list) and isinstance(new, list) and by is not None:
        known = {each.get(by): each for each in old}
        patched = [merged(known.pop(each.get(by)), each) if each.get(by) in known else each for each in new]
        return [*patched, *known.values()]  # kustomize puts the patch's first
    return copy.deepcopy(new)


def by_name(documents: Documents, text: Callable[[str], str] = str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return documents by kind and name; text: what is made of a name."""
    return {(each["kind"], text(each["metadata"]["name"])): each for each in documents}
