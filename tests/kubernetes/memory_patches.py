"""Patches of the API server in memory that know no field managers: merge patches and JSON patches. Pure."""

from __future__ import annotations

import copy
from typing import Any

from tests.kubernetes.memory_fields import Refusal


def merged(found: Any, patch: Any) -> Any:
    """Return an object with a merge patch in it (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(found) if isinstance(found, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def stepped(found: Any, steps: list[dict[str, Any]]) -> Any:
    """Return an object after the steps of a JSON patch (RFC 6902), as far as tests and removals. Raises Refusal."""
    result = copy.deepcopy(found)
    for step in steps:
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:])
        at = result
        for part in parents:
            at = at[int(part) if isinstance(at, list) else part]
        if step["op"] == "remove":
            del at[last]
        elif at[last] != step["value"]:
            raise Refusal(422, "Invalid", f"testing path {step['path']} failed")
    return result
