"""Asks everything and judges it: the doctor's composition. The stack's settings are the process'."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.__main__ import read_settings as read_collector_settings
from collector.catalog import Catalog, CatalogError, Service, read_catalog
from collector.clickhouse import ClickHouseSettings, StoreSettingsError
from collector.clickhouse import settings_from_environment as read_store_settings
from collector.security import ROLES, SecuritySettingsError, authorization
from forecaster.actuators.kubernetes import connect
from forecaster.settings import settings_from_environment as read_forecaster_settings
from tidegauge.clock import clock_from_environment
from tidegauge.doctor import checks, probes
from tidegauge.doctor.facts import Answer, Database, Disk, Right, Store, Unreachable
from tidegauge.doctor.findings import Finding
from tidegauge.part import StackError
from tidegauge.settings import Secrets, StackSettings
from tidegauge.settings import read_settings as read_stack_settings
from tidegauge.stack import StackOf
from tidegauge.up import read_status

_RESOURCES = {"kubernetes": ("autoscaling", "horizontalpodautoscalers"), "keda": ("keda.sh", "scaledobjects")}
_ASKED = {"ingest": ("POST", "/v1/events"), "read": ("GET", "/v1/services"), "admin": ("GET", "/v1/services")}
Wanted = Sequence[tuple[str, str, str, str]]


def _rights_by_kubeconfig(context: str | None, in_cluster: bool, wanted: Wanted) -> list[Right] | Unreachable:
    try:
        api = connect(kubeconfig=None, context=context, in_cluster=in_cluster)
    except ValueError as error:
        return Unreachable(str(error).splitlines()[0])
    try:
        return probes.ask_rights(api, wanted)
    finally:
        api.close()


@dataclass(frozen=True, slots=True)
class World:
    """What the doctor asks; a test brings its own."""

    python: Sequence[int] = tuple(sys.version_info[:3])
    now: Callable[[], float] = time.time
    disk: Callable[[Path], Disk] = probes.look_at_disk
    taken: Callable[[int], bool] = probes.is_taken
    zone: Callable[[], str] = probes.local_zone
    store: Callable[[ClickHouseSettings], Store | Unreachable] = probes.ask_store
    database: Callable[[str], Database | Unreachable] = probes.ask_database
    http: Callable[..., Answer | Unreachable] = probes.ask_http
    rights: Callable[[str | None, bool, Wanted], list[Right] | Unreachable] = _rights_by_kubeconfig
    status: Callable[[Path], dict[str, Any]] = read_status


def examine(environ: Mapping[str, str], world: World, *, data: Path | None = None) -> list[Finding]:
    """Return all findings, in the order in which somebody would mend them."""
    stack, catalog, problems = _settings(environ, data)
    found = [checks.check_python(world.python)]
    found += checks.check_settings(problems, configuration=str(stack.config))
    found.append(checks.check_disk(world.disk(stack.data)))
    found += _ports(stack, world)
    found += _store(environ, world)
    url = environ.get("REFERENCE_APP_DATABASE_URL")
    found += checks.check_database(world.database(url) if url else None)
    found += _collector(environ, stack, world)
    services = list(catalog.services.values()) if catalog else []
    for service in services:
        found += _prometheus(service, world)
    found += _kubernetes(environ, services, world)
    found += checks.check_zones(world.zone(), {each.name: each.timezone for each in services}) if services else []
    return found


def _settings(environ: Mapping[str, str], data: Path | None) -> tuple[StackSettings, Catalog | None, dict[str, str]]:
    problems: dict[str, str] = {}
    try:
        stack = read_stack_settings(data=data)
    except StackError as error:
        problems["the stack"] = str(error)
        stack = StackSettings.model_construct(
            **{name: field.default for name, field in StackSettings.model_fields.items()}
        )
    catalog = None
    try:
        catalog = read_catalog(stack.config)
    except (CatalogError, OSError) as error:
        problems["services"] = str(error)
    readers: dict[str, Callable[[Mapping[str, str]], object]] = {
        "the clock": clock_from_environment,
        "the collector": read_collector_settings,
        "the forecaster": read_forecaster_settings,
    }
    for name, read in readers.items():
        try:
            read(environ)
        except (ValueError, StoreSettingsError) as error:
            problems[name] = str(error)
    return stack, catalog, problems


def _ports(stack: StackSettings, world: World) -> list[Finding]:
    runs = world.status(stack.data)["supervisor"] is not None
    parts = StackOf(stack, Secrets("", "", "", "", ""), clock_from_environment({})).everything()
    wanted = {port.number: (port.number, part.name, port.setting) for part in parts for port in part.ports}
    taken = [] if runs else [each for number, each in sorted(wanted.items()) if world.taken(number)]
    return checks.check_ports(taken, runs=runs)


def _store(environ: Mapping[str, str], world: World) -> list[Finding]:
    try:
        settings = read_store_settings(environ)
    except StoreSettingsError:
        return []  # told among the settings
    store, wanted = world.store(settings), bool(environ.get("TIDEGAUGE_CLICKHOUSE_URL"))
    found = checks.check_store(store, wanted=wanted, cluster=settings.cluster)
    if isinstance(store, Store):
        found.append(checks.check_clock("clickhouse", store.clock, world.now()))
    return found


def _collector(environ: Mapping[str, str], stack: StackSettings, world: World) -> list[Finding]:
    url = (environ.get("TIDEGAUGE_COLLECTOR_URL") or stack.url(stack.collector_port)).rstrip("/")
    alive = world.http("GET", f"{url}/healthz", headers={})
    asked: dict[str, Answer | Unreachable | None] = {"health": alive} if isinstance(alive, Unreachable) else {}
    for role in ROLES if not asked else ():
        try:
            headers = authorization(environ, role)
        except SecuritySettingsError:
            continue  # told among the settings
        method, path = _ASKED[role]  # an empty batch is refused with 400, after the token was looked at
        asked[role] = world.http(method, url + path, headers=headers) if headers else None
    found = checks.check_tokens(asked, url=url, wanted=bool(environ.get("TIDEGAUGE_COLLECTOR_URL")))
    if isinstance(alive, Answer):
        found.append(checks.check_clock("collector", alive.clock, world.now()))
    return found


def _prometheus(service: Service, world: World) -> list[Finding]:
    source = service.prometheus
    if source is None:
        return []
    labels = ",".join(f'{name}="{value}"' for name, value in source.match)
    url = source.url.rstrip("/")
    answer = world.http("GET", url, headers={}, query=f"count({source.requests_metric}{{{labels}}})")
    found = [checks.check_prometheus(service.name, url, source.requests_metric, answer)]
    if isinstance(answer, Answer):
        found.append(checks.check_clock(f"prometheus of {service.name}", answer.clock, world.now()))
    return found


def _kubernetes(environ: Mapping[str, str], services: Sequence[Service], world: World) -> list[Finding]:
    scaled = [each.scaling for each in services if each.scaling is not None and each.scaling.kind in _RESOURCES]
    if not scaled:
        return checks.check_rights(None)
    inside = "KUBERNETES_SERVICE_HOST" in environ and not environ.get("KUBECONFIG")
    found: list[Finding] = []
    for context in dict.fromkeys(each.context for each in scaled):
        wanted = [
            (verb, *_RESOURCES[each.kind], each.namespace or "default")
            for each in scaled
            if each.context == context
            for verb in (("get", "patch") if each.mode == "act" else ("get",))
        ]
        found += checks.check_rights(world.rights(context, inside, list(dict.fromkeys(wanted))))
    return found
