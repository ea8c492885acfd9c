"""The JSON Schema of tidegauge.yaml says of every file what the reader says of it."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import collector
from collector.catalog import CatalogError, parse_catalog
from collector.catalog.schema import config_schema
from collector.commands import mount

WHOLE = """\
version: 1
services:
  shop:
    description: Sells.
    source: prometheus
    timezone: Europe/Berlin
    slos:
      - {name: a, kind: availability, target: 0.999, window: month, timezone: UTC}
      - {name: b, kind: latency, target: 0.95, window: 30d, threshold: 2s, route: /a, region: eu, version: v1}
    classic_rule: {window: 24h, mean_response: 2000ms, error_ratio: 0.1}
    scaling:
      target: {kind: local, name: shop}
      mode: observe
      min_replicas: 2
      max_replicas: 20
      capacity_rps: [12, 14.5]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      change_budget: 50
      paced: true
      bounds: [{cron: "0 8 * * 1-5", length: 10h, timezone: UTC, min_replicas: 3, max_replicas: 9, name: office}]
      reactive: {target_rps_per_replica: 11, sync: 15s, tolerance: 0.1, scale_down_stabilization: 300s}
    cost: {replica_hour: 0.10, currency: EUR, monthly_budget: 500}
    depends_on: [{service: other, calls_per_request: 2.5}]
    calendar: {country: DE, events: []}
    prometheus: {url: "http://p:9090", requests_metric: r, duration_metric: d, match: {job: x}, scrape_interval: 15s}
  other:
    source: events
    scaling:
      target: {kind: keda, name: other, namespace: prod, context: east}
      mode: act
      min_replicas: 1
      max_replicas: 9
      capacity_rps: [1, 2]
      risk: {violation_cost: 2, budget_pacing: true}
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {target_rps_per_replica: 1}
    cost: {replica_hour: 0.10, currency: EUR}
alerts:
  repeat: 4h
  least_requests: 20
  least_bad: 3
  missing_after: 10m
  silence_after: 10m
  spool_age: 5m
  replica_lag: 30s
  burn_pairs: [{severity: page, long: 1h, short: 5m, factor: 14.4}]
  heartbeat: {url: "https://x.example/y", secret_env: S, allow_networks: [10.0.0.0/8], interval: 1m}
  receivers:
    - {name: a, kind: pagerduty, routing_key_env: K, severities: [page], services: ["*"]}
    - {name: b, kind: slack, url_env: U}
    - {name: c, kind: template, url: "https://x.example/", template: '{"text": "$summary"}', secret_env: S}
    - {name: d, kind: alertmanager, url: "http://10.1.2.3:9093", allow_networks: [10.1.0.0/16]}
exporters:
  - {kind: prometheus, most_routes: 5}
  - {kind: otlp, url: "http://x:4318", headers_env: H}
  - {kind: datadog, url: "https://api.datadoghq.eu", api_key_env: K}
  - {kind: cloudwatch, url: "https://x.example", region: eu-west-1, namespace: N, access_key_id_env: A,
     secret_access_key_env: B, session_token_env: C}
reports:
  - {name: a, service: shop, kind: capacity, horizon: 90d, cron: "0 7 * * 1", timezone: UTC, format: pdf,
     to: {file: r/}}
  - {name: b, service: shop, kind: sla, cron: "0 7 1 * *", to: {email: [a@x.example]}}
  - {name: c, service: shop, cron: "0 7 1 * *", to: {webhook: {url: "https://x.example/y", url_env: null, secret_env: S,
     allow_networks: [10.0.0.0/8]}}}
"""
# What a value is replaced by. Texts that only the reader can judge (a zone, a template) are left to its own tests.
OTHERS: list[Any] = [None, "", 0, -1, 1.5, True, [], {}, "30d", "0s", "1.5h", "never", [1, 2], {"a": "b"}]
# Texts of which the schema knows less than the reader: a word there is no mistake to it.
READERS_OWN = ("timezone", "template", "allow_networks", "cron")
# A relation of two keys, which no schema here states.
RELATIONS = (
    "at least min_replicas",
    "[low, high]",
    "a name of its own",
    "longer than `short`",
    "whole minutes",
    "each kind of exporter once",
    "another service of this file",
    "a service of this file",
    "more than cost.replica_hour",
    "bounds within the service's own",
)


def judged_by_reader(document: Any) -> str | None:
    try:
        parse_catalog(yaml.safe_dump(document, sort_keys=False), name="t.yaml")
    except CatalogError as error:
        return str(error)
    return None


VALIDATOR = Draft202012Validator(config_schema())


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """The document with another value there; `...` takes the key away."""
    if not at:
        return value
    new = copy.deepcopy(document)
    holder = new
    for key in at[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[at[-1]]
    else:
        holder[at[-1]] = value
    return new


def alone(document: Any, at: tuple[Any, ...]) -> Any:
    """The document without the sections and services that were not changed: quicker to judge."""
    if not isinstance(document, dict) or at[0] == "version":
        return document
    if at[0] != "services":
        return {key: each for key, each in document.items() if key in ("version", at[0])} | {
            "services": {"shop": {"source": "events"}}
        }
    services = document.get("services")
    if len(at) > 1 and isinstance(services, dict):
        services = {name: each if name == at[1] else {"source": "events"} for name, each in services.items()}
    return {
        key: services if key == "services" else each for key, each in document.items() if key in ("version", "services")
    }


def variants() -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    whole = yaml.safe_load(WHOLE)
    for at in paths(whole):
        if at:
            yield at, ..., alone(changed(whole, at, ...), at)
        value: Any = whole
        for key in at:
            value = value[key]
        if isinstance(value, dict):
            document = changed(whole, (*at, "unknown"), 1)
            yield (*at, "unknown"), 1, alone(document, at) if at else document
        for other in OTHERS:
            yield at, other, alone(changed(whole, at, other), at) if at else other


def test_a_whole_file_is_accepted_by_both() -> None:
    Draft202012Validator.check_schema(config_schema())
    assert judged_by_reader(yaml.safe_load(WHOLE)) is None
    assert not list(VALIDATOR.iter_errors(yaml.safe_load(WHOLE)))


def test_every_change_of_a_file_is_judged_alike_by_both() -> None:
    different = []
    for at, value, document in variants():
        refusal = judged_by_reader(document)
        if refusal is not None and any(relation in refusal for relation in RELATIONS):
            continue
        if any(name in at for name in READERS_OWN) and isinstance(value, (str, float, int)):
            continue
        if (refusal is None) != VALIDATOR.is_valid(document):
            different.append(f"{'.'.join(map(str, at))} = {value!r}: the reader says {refusal or 'yes'}")
    assert different == []


def test_the_shipped_file_is_accepted() -> None:
    shipped = Path(collector.__file__).parent.parent / "tidegauge.yaml"
    assert not list(VALIDATOR.iter_errors(yaml.safe_load(shipped.read_text())))


@pytest.mark.parametrize(
    "module",
    [
        "catalog/__init__.py",
        "catalog/scaling.py",
        "catalog/slo.py",
        "alerts/settings.py",
        "alerts/receivers.py",
        "exporters/settings.py",
    ],
)
def test_the_schema_and_the_whole_file_know_every_key_of_the_readers(module: str) -> None:
    tree = ast.parse((Path(collector.__file__).parent / module).read_text())
    keys = {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("only", "required", "optional")
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }  # fmt: skip
    assert keys
    described = json.dumps(config_schema())
    whole = {part for at in paths(yaml.safe_load(WHOLE)) for part in at}
    assert [key for key in sorted(keys) if f'"{key}":' not in described or key not in whole] == []


def test_config_is_checked_and_its_schema_printed_by_command(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    mount(app)
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(WHOLE)
    bad.write_text(WHOLE.replace("target: 0.999", "target: 99.9"))
    accepted = CliRunner().invoke(app, ["config", "check", str(good)])
    assert (accepted.exit_code, accepted.stdout) == (0, f"{good}: services 2, SLOs 2, receivers 4\n")
    refused = CliRunner().invoke(app, ["config", "check", str(bad)])
    assert refused.exit_code == 1
    assert f"{bad}:8: services.shop.slos[0].target: expected a ratio" in refused.stderr
    assert json.loads(CliRunner().invoke(app, ["config", "schema"]).stdout)["properties"]["version"] == {"const": 1}
