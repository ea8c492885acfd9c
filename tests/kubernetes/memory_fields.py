"""Field managers of the API server in memory: who owns which field, and who is in whose way. Pure.

A field is the path of a leaf; a list is one leaf, as `metrics` of an HPA really is.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

Path = tuple[str, ...]
_NOBODYS = {
    ("apiVersion",),
    ("kind",),
    *(("metadata", each) for each in (
        "name", "namespace", "resourceVersion", "uid", "generateName", "managedFields", "creationTimestamp"
    )),
}  # fmt: skip


class Refusal(Exception):  # noqa: N818 (the name says what happened)
    """What the API server answers instead: a Status."""

    def __init__(self, status: int, reason: str, message: str, causes: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        details = {"details": {"causes": causes}} if causes else {}
        self.body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}
        self.body.update(details)


def changed_by(manager: str, before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    """Return an object as a create, update or merge patch leaves it: who changed a field owns it, alone."""
    after = copy.deepcopy(after)
    for each in ("annotations", "labels"):
        if after.get("metadata", {}).get(each) == {}:
            del after["metadata"][each]
    old, new = leaves(before or {}), leaves(after)
    said = after.get("metadata", {}).get("managedFields")
    entries = (
        [] if said == [{}] else copy.deepcopy(said or (before or {}).get("metadata", {}).get("managedFields") or [])
    )
    changed = {path for path in new if old.get(path, _MISSING) != new[path]}
    gone = old.keys() - new.keys()
    for entry in entries:
        if (entry["manager"], entry["operation"]) != (manager, "Update"):
            _keep(entry, lambda path: path not in changed and path not in gone)
    _own(entries, manager, "Update", changed, gone)
    after.setdefault("metadata", {})["managedFields"] = [entry for entry in entries if entry["fieldsV1"]]
    return after


def applied(manager: str, before: dict[str, Any] | None, wanted: dict[str, Any], *, force: bool) -> dict[str, Any]:
    """Return an object after a server-side apply. Raises Refusal when others own what it would change."""
    after = copy.deepcopy(before) if before else {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"]}
    metadata = after.setdefault("metadata", {})
    for each in ("name", "namespace"):
        if each in wanted["metadata"]:
            metadata.setdefault(each, wanted["metadata"][each])
    entries = metadata.get("managedFields") or []
    have, want = leaves(after), leaves(wanted)
    in_the_way = [
        (entry, path)
        for entry in entries
        for path in _paths(entry["fieldsV1"])
        if (entry["manager"], entry["operation"]) != (manager, "Apply")
        and path in want
        and have.get(path) != want[path]
    ]
    if in_the_way and not force:
        causes = [
            {"reason": "FieldManagerConflict", "message": f'conflict with "{entry["manager"]}"', "field": _shown(path)}
            for entry, path in in_the_way
        ]
        raise Refusal(409, "Conflict", f"Apply failed with {len(causes)} conflict(s)", causes)
    for entry, path in in_the_way:
        _keep(entry, lambda each, path=path: each != path)
    ours = {p for e in entries if (e["manager"], e["operation"]) == (manager, "Apply") for p in _paths(e["fieldsV1"])}
    others = {p for e in entries if (e["manager"], e["operation"]) != (manager, "Apply") for p in _paths(e["fieldsV1"])}
    for path in ours - want.keys() - others:
        _put(after, path, _MISSING)
    for path, value in want.items():
        _put(after, path, copy.deepcopy(value))
    entries = [e for e in entries if (e["manager"], e["operation"]) != (manager, "Apply")]
    _own(entries, manager, "Apply", set(want), set())
    metadata["managedFields"] = [entry for entry in entries if entry["fieldsV1"]]
    return after


_MISSING: Any = object()


def leaves(found: Any, path: Path = ()) -> dict[Path, Any]:
    """Return every field that a manager can own, by path."""
    if path in _NOBODYS:
        return {}
    if isinstance(found, dict) and (found or not path):
        below = [leaves(value, (*path, key)) for key, value in found.items()]
        return {leaf: value for each in below for leaf, value in each.items()}
    return {path: found}


def _paths(fields: dict[str, Any], path: Path = ()) -> set[Path]:
    if not fields:
        return {path} if path else set()
    return {leaf for key, below in fields.items() for leaf in _paths(below, (*path, key.removeprefix("f:")))}


def _own(entries: list[dict[str, Any]], manager: str, operation: str, more: set[Path], gone: set[Path]) -> None:
    entry = next((e for e in entries if (e["manager"], e["operation"]) == (manager, operation)), None)
    if entry is None:
        entry = {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": {}}
        entries.append(entry)
    before = _paths(entry["fieldsV1"])
    owned = (before | more) - gone
    if owned != before or "time" not in entry:
        entry["time"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry["fieldsV1"] = _fields(owned)


def _keep(entry: dict[str, Any], wanted: Any) -> None:
    entry["fieldsV1"] = _fields({path for path in _paths(entry["fieldsV1"]) if wanted(path)})


def _fields(paths: set[Path]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path in sorted(paths):
        at = fields
        for part in path:
            at = at.setdefault(f"f:{part}", {})
    return fields


def _put(found: dict[str, Any], path: Path, value: Any) -> None:
    at = found
    for part in path[:-1]:
        at = at.setdefault(part, {})
    if value is _MISSING:
        at.pop(path[-1], None)
    else:
        at[path[-1]] = value


def _shown(path: Path) -> str:
    return "".join(f".{part}" for part in path)
