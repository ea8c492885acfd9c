"""The JSON Schema (draft 2020-12) of tidegauge.yaml, for editors and checks: what collector.catalog accepts.

Kept by hand beside the readers, and held against them by a test that changes every key of a whole file in many ways.
What relates one key to another beyond presence (the smaller of two numbers, names that differ) only the reader knows.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
_TEXT: Schema = {"type": ["string", "number", "boolean"], "minLength": 1}  # YAML's reader takes any scalar for text
_DURATION: Schema = {
    "type": "string",
    "pattern": r"^(?!0+(\.0+)?[a-z])\d+(\.\d+)?(ms|s|m|h|d)$",
    "description": "A span with its unit: 500ms, 2s, 15m, 24h, 30d.",
}
_RATIO: Schema = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_URL: Schema = {"type": "string", "pattern": r"^https?://[^\s/@]+(/[^\s]*)?$"}
_ADDRESS = r"^[^\s@<>,;]+@[^\s@<>,;]+$"
_SEVERITY: Schema = {"enum": ["page", "ticket", "info"]}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_NETWORKS: Schema = {"type": "array", "items": {"type": "string", "pattern": r"^[0-9a-fA-F.:]+(/\d+)?$"}}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **rules: Any) -> Schema:
    """Return a mapping of these keys and no others; an optional one may be null, which is the same as absent."""
    nullable = {key: {"anyOf": [schema, {"type": "null"}]} for key, schema in (optional or {}).items()}
    return {
        "type": "object",
        "properties": {**required, **nullable},
        "required": list(required),
        "additionalProperties": False,
        **rules,
    }


def _if_is(key: str, value: str, then: Schema, otherwise: Schema | None = None) -> Schema:
    condition = {"properties": {key: {"const": value}}, "required": [key]}
    return {"if": condition, "then": then, **({"else": otherwise} if otherwise else {})}


def _with(*keys: str) -> Schema:
    """Demand keys that are not null."""
    return {"required": list(keys), "properties": {key: {"not": {"type": "null"}} for key in keys}}


def _without(*keys: str) -> Schema:
    """Refuse keys, save with null."""
    return {"properties": {key: {"type": "null"} for key in keys}}


_EITHER_URL: Schema = {"oneOf": [{**_with("url"), "not": _with("url_env")}, {**_with("url_env"), "not": _with("url")}]}


def _slo() -> Schema:
    calendar = {"properties": {"window": {"enum": ["week", "month", "quarter"]}}}
    return _object(
        {
            "name": _TEXT,
            "kind": {"enum": ["availability", "latency"]},
            "target": _RATIO,
            "window": {"anyOf": [{"enum": ["week", "month", "quarter"]}, _DURATION]},
        },
        {"threshold": _DURATION, "route": _TEXT, "region": _TEXT, "version": _TEXT, "timezone": _TEXT},
        allOf=[
            _if_is("kind", "latency", _with("threshold"), _without("threshold")),
            {"if": calendar, "else": _without("timezone")},
        ],
    )


def _scaling() -> Schema:
    reactive = _object(
        {"target_rps_per_replica": _POSITIVE},
        {"sync": _DURATION, "tolerance": _RATIO, "scale_down_stabilization": _DURATION},
    )
    target = _object(
        {"kind": {"enum": ["local", "kubernetes", "keda"]}, "name": _TEXT},
        {"namespace": _TEXT, "context": _TEXT},
        allOf=[_if_is("kind", "local", _without("namespace", "context"), _with("namespace"))],
    )
    window = _object(
        {"cron": _TEXT, "length": _DURATION},
        {"timezone": _TEXT, "min_replicas": _COUNT, "max_replicas": _COUNT, "name": _TEXT},
        anyOf=[_with("min_replicas"), _with("max_replicas")],
    )
    return _object(
        {
            "target": target,
            "mode": {"enum": ["observe", "recommend", "act"]},
            "min_replicas": _COUNT,
            "max_replicas": _COUNT,
            "capacity_rps": {"type": "array", "items": _POSITIVE, "minItems": 2, "maxItems": 2},
            "lead": _DURATION,
            "largest_step": _COUNT,
            "cool_down": _DURATION,
            "reactive": reactive,
        },
        {
            "quantile": _RATIO,
            "risk": _object({"violation_cost": _POSITIVE}, {"budget_pacing": {"type": "boolean"}}),
            "bounds": {"type": "array", "items": window},
            "change_budget": _COUNT,
            "paced": {"type": "boolean"},
        },
        oneOf=[_with("quantile"), _with("risk")],
    )


def _service() -> Schema:
    prometheus = _object(
        {"url": _TEXT, "requests_metric": _TEXT},
        {
            "duration_metric": _TEXT,
            "match": {"type": "object", "additionalProperties": _TEXT},
            "scrape_interval": _DURATION,
        },
    )
    priced = {"properties": {"scaling": {"type": "object", **_with("risk")}}, "required": ["scaling"]}
    return _object(
        {"source": {"enum": ["events", "prometheus", "import"]}},
        {
            "description": _TEXT,
            "timezone": _TEXT,
            "slos": {"type": "array", "items": _slo()},
            "classic_rule": _object({"window": _DURATION, "mean_response": _DURATION, "error_ratio": _RATIO}),
            "scaling": _scaling(),
            "cost": _object({"replica_hour": _POSITIVE, "currency": _TEXT}, {"monthly_budget": _POSITIVE}),
            "calendar": _object({}, {"country": _TEXT, "events": {"type": "array", "maxItems": 0}}),
            "prometheus": prometheus,
            "depends_on": {"type": "array", "items": _object({"service": _TEXT, "calls_per_request": _POSITIVE})},
        },
        allOf=[
            _if_is("source", "prometheus", _with("prometheus"), _without("prometheus")),
            {"if": priced, "then": _with("cost")},
        ],
    )


def _receiver() -> Schema:
    return _object(
        {"name": _TEXT, "kind": {"enum": ["webhook", "slack", "pagerduty", "alertmanager", "template"]}},
        {
            "url": _URL,
            "url_env": _TEXT,
            "secret_env": _TEXT,
            "routing_key_env": _TEXT,
            "template": {"type": "string", "minLength": 1},
            "severities": {"type": "array", "items": _SEVERITY},
            "services": _TEXTS,
            "allow_networks": _NETWORKS,
        },
        allOf=[
            _if_is(
                "kind", "pagerduty", _with("routing_key_env"), {"allOf": [_without("routing_key_env"), _EITHER_URL]}
            ),
            _if_is("kind", "template", _with("template"), _without("template")),
            {"not": _with("url", "url_env")},
        ],
    )


def _alerts() -> Schema:
    heartbeat = _object(
        {},
        {"url": _URL, "url_env": _TEXT, "secret_env": _TEXT, "allow_networks": _NETWORKS, "interval": _DURATION},
        allOf=[_EITHER_URL],
    )
    pair = _object({"severity": _SEVERITY, "long": _DURATION, "short": _DURATION, "factor": _POSITIVE})
    return _object(
        {},
        {
            **dict.fromkeys(("repeat", "missing_after", "silence_after", "spool_age", "replica_lag"), _DURATION),
            "least_requests": _COUNT,
            "least_bad": _COUNT,
            "burn_pairs": {"type": "array", "items": pair, "minItems": 1},
            "receivers": {"type": "array", "items": _receiver()},
            "heartbeat": heartbeat,
        },
    )


def _exporter(kind: str, required: dict[str, Schema], optional: dict[str, Schema]) -> Schema:
    return _object({"kind": {"const": kind}, **required}, {"most_routes": _COUNT, **optional})


def _report() -> Schema:
    webhook = _object(
        {}, {"url": _URL, "url_env": _TEXT, "secret_env": _TEXT, "allow_networks": _NETWORKS}, allOf=[_EITHER_URL]
    )
    targets = [
        _object({"file": _TEXT}),
        _object({"webhook": webhook}),
        _object({"email": {"type": "array", "items": {"type": "string", "pattern": _ADDRESS}, "minItems": 1}}),
    ]
    return _object(
        {"name": _TEXT, "service": _TEXT, "cron": _TEXT, "to": {"oneOf": targets}},
        {
            "kind": {"enum": ["capacity", "sla"]},
            "horizon": {"type": "string", "pattern": r"^[1-9]\d{0,2}d$"},
            "format": {"enum": ["html", "pdf", "md", "csv", "json"]},
            "timezone": _TEXT,
        },
        allOf=[_if_is("kind", "sla", _without("horizon"))],
    )


def config_schema() -> Schema:
    """Return the schema of a whole tidegauge.yaml."""
    exporters = [
        _exporter("prometheus", {}, {}),
        _exporter("otlp", {"url": _URL}, {"headers_env": _TEXT}),
        _exporter("datadog", {"api_key_env": _TEXT}, {"url": _URL}),
        _exporter(
            "cloudwatch",
            {"region": _TEXT, "access_key_id_env": _TEXT, "secret_access_key_env": _TEXT},
            {"url": _URL, "namespace": _TEXT, "session_token_env": _TEXT},
        ),
    ]
    root = _object(
        {"version": {"const": 1}, "services": {"type": "object", "additionalProperties": _service()}},
        {
            "alerts": _alerts(),
            "exporters": {"type": "array", "items": {"oneOf": exporters}},
            "reports": {"type": "array", "items": _report()},
        },
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tidegauge.yaml: what Tidegauge watches, what it promises, and what it may scale",
        **root,
    }
