"""How many more replicas the cluster could start: node capacity less what is requested, and quotas. Pure.

A lower bound of what the scheduler knows: node selectors and taints count, affinity and spreading do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from forecaster.actuators.kubernetes import parse_quantity

Pod = Mapping[str, Any]
Resources = dict[str, Decimal]
_SLOT = "pods"


def requests_of(spec: Mapping[str, Any], kind: str = "requests") -> Resources:
    """Return what a pod's spec requests (or is limited to) by resource, a slot for a pod included.

    As the scheduler counts: the containers and sidecars together, or the greediest init container, and the overhead.
    """
    total: Resources = {}
    greediest: Resources = {}
    for container in spec.get("containers") or ():
        _add(total, _of_container(container, kind))
    for container in spec.get("initContainers") or ():
        wanted = _of_container(container, kind)
        if container.get("restartPolicy") == "Always":
            _add(total, wanted)
        else:
            greediest = {name: max(wanted.get(name, Decimal(0)), greediest.get(name, Decimal(0)))
                         for name in wanted.keys() | greediest.keys()}  # fmt: skip
    total = {name: max(total.get(name, Decimal(0)), greediest.get(name, Decimal(0)))
             for name in total.keys() | greediest.keys()}  # fmt: skip
    _add(total, {name: parse_quantity(value) for name, value in (spec.get("overhead") or {}).items()})
    return {**total, _SLOT: Decimal(1)}


def room_on_nodes(template: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]], pods: Iterable[Pod]) -> int:
    """Return how many pods of this spec fit on the ready nodes that would take them, beside the pods that run."""
    taken: dict[str, Resources] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            _add(taken.setdefault(node, {}), requests_of(pod["spec"]))
    wanted = requests_of(template)
    room = 0
    for node in nodes:
        if _takes(node, template):
            has = (node.get("status") or {}).get("allocatable") or {}
            used = taken.get(node["metadata"]["name"], {})
            free = {name: parse_quantity(value) - used.get(name, Decimal(0)) for name, value in has.items()}
            room += _fits(wanted, free)
    return room


def room_in_quotas(template: Mapping[str, Any], quotas: Iterable[Mapping[str, Any]]) -> int | None:
    """Return how many pods of this spec the namespace's quotas still allow, None when none of them limits it.

    Quotas with scopes are left out: they speak of some pods only.
    """
    rooms = []
    for quota in quotas:
        spec, status = quota.get("spec") or {}, quota.get("status") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        hard, used = status.get("hard") or spec.get("hard") or {}, status.get("used") or {}
        free = {name: parse_quantity(value) - parse_quantity(used.get(name, "0")) for name, value in hard.items()}
        wanted = _as_quotas_name_them(template)
        if wanted.keys() & free.keys():
            rooms.append(_fits({name: value for name, value in wanted.items() if name in free}, free))
    return min(rooms, default=None)


def _as_quotas_name_them(template: Mapping[str, Any]) -> Resources:
    requested = requests_of(template)
    slot = requested.pop(_SLOT)
    limited = requests_of(template, "limits")
    limited.pop(_SLOT)
    return {
        **requested,
        **{f"requests.{name}": value for name, value in requested.items()},
        **{f"limits.{name}": value for name, value in limited.items()},
        _SLOT: slot,
        "count/pods": slot,
    }


def _fits(wanted: Resources, free: Resources) -> int:
    counts = [int(free.get(name, Decimal(0)) // value) for name, value in wanted.items() if value > 0]
    return max(0, min(counts, default=0))


def _takes(node: Mapping[str, Any], template: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    spec = node.get("spec") or {}
    labels = (node.get("metadata") or {}).get("labels") or {}
    chosen = all(labels.get(name) == value for name, value in (template.get("nodeSelector") or {}).items())
    repelled = any(
        taint.get("effect") in ("NoSchedule", "NoExecute") and not _tolerated(taint, template.get("tolerations") or ())
        for taint in spec.get("taints") or ()
    )
    return ready and chosen and not spec.get("unschedulable") and not repelled


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        each.get("effect") in (None, "", taint.get("effect"))
        and (
            (each.get("operator") == "Exists" and each.get("key") in (None, "", taint.get("key")))
            or (each.get("key") == taint.get("key") and (each.get("value") or "") == (taint.get("value") or ""))
        )
        for each in tolerations
    )


def _of_container(container: Mapping[str, Any], kind: str) -> Resources:
    resources = container.get("resources") or {}
    wanted = {**(resources.get("limits") or {}), **(resources.get(kind) or {})}  # a request defaults to the limit
    return {name: parse_quantity(value) for name, value in wanted.items()}


def _add(total: Resources, more: Resources) -> None:
    for name, value in more.items():
        total[name] = total.get(name, Decimal(0)) + value
