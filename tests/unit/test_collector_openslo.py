"""OpenSLO v1: what goes out comes back the same, has the published shape, and what cannot be said is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from collector.catalog import CatalogError, Service, parse_catalog
from collector.commands import mount
from collector.slo.openslo import exported
from collector.slo.openslo_import import imported

CATALOG = """\
version: 1
services:
  shop:
    description: Sells.
    source: events
    timezone: Europe/Berlin
    classic_rule: {window: 24h, mean_response: 2s, error_ratio: 0.1}
    slos:
      - {name: availability, kind: availability, target: 0.999, window: 30d}
      - {name: Fast_Search, kind: latency, target: 0.95, window: 90m, threshold: 250.5ms, route: /s, region: eu,
         version: v1}
      - {name: month, kind: availability, target: 0.99, window: month}
      - {name: week, kind: latency, target: 0.9, window: week, timezone: UTC, threshold: 2s}
      - {name: quarter, kind: availability, target: 0.9, window: quarter, timezone: America/New_York}
"""

# The shapes of the specification's v1 for what is written here, in our own words.
NAME = {"type": "string", "pattern": r"^[a-z0-9][a-z0-9.|/\\-]*[a-z0-9]*$", "maxLength": 255}
SOURCE = {
    "type": "object",
    "required": ["metricSource"],
    "properties": {"metricSource": {"required": ["type", "spec"], "properties": {"spec": {"type": "object"}}}},
}
WINDOW = {
    "required": ["duration", "isRolling"],
    "properties": {"duration": {"type": "string", "pattern": "^[1-9][0-9]*[mhdwMQY]$"}},
    "if": {"properties": {"isRolling": {"const": False}}},
    "then": {
        "required": ["calendar"],
        "properties": {
            "calendar": {
                "required": ["startTime", "timeZone"],
                "properties": {
                    "startTime": {"pattern": r"^\d{4}-(0[1-9]|1[0-2])-\d{2} \d{2}:\d{2}:\d{2}$"},
                    "timeZone": {"pattern": r"^[A-Z][a-zA-Z_]+/[A-Z][a-zA-Z_]+"},
                },
            }
        },
    },
    "else": {"not": {"required": ["calendar"]}},
}
SLO_SHAPE = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "openslo/v1"},
        "kind": {"const": "SLO"},
        "metadata": {"required": ["name"], "properties": {"name": NAME}},
        "spec": {
            "required": ["service", "indicator", "timeWindow", "budgetingMethod", "objectives"],
            "additionalProperties": False,
            "properties": {
                "service": NAME,
                "indicator": {
                    "required": ["metadata", "spec"],
                    "properties": {
                        "metadata": {"required": ["name"], "properties": {"name": NAME}},
                        "spec": {
                            "required": ["ratioMetric"],
                            "properties": {
                                "ratioMetric": {
                                    "required": ["counter", "good", "total"],
                                    "properties": {"counter": {"type": "boolean"}, "good": SOURCE, "total": SOURCE},
                                }
                            },
                        },
                    },
                },
                "timeWindow": {"type": "array", "minItems": 1, "maxItems": 1, "items": WINDOW},
                "budgetingMethod": {"enum": ["Occurrences", "Timeslices", "RatioTimeslices"]},
                "objectives": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"required": ["target"], "properties": {"target": {"minimum": 0, "exclusiveMaximum": 1}}},
                },
            },
        },
    },
}
FOREIGN = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: api}
spec:
  service: shop
  indicatorRef: api-good
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{targetPercent: 99.5}, {target: 0.9}]
  alertPolicies: [page]
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: api-good}
spec: {thresholdMetric: {metricSource: {type: Prometheus, spec: {query: up}}}}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: page}
spec: {}
"""


def shop() -> Service:
    return parse_catalog(CATALOG, name="t.yaml").services["shop"]


def test_what_is_exported_comes_back_the_same() -> None:
    service = shop()
    documents, notes = exported(service, service.slos)
    services, left_out = imported(yaml.safe_dump_all(documents), name="slos.yaml")
    again = yaml.safe_dump({"version": 1, "services": {"shop": {"source": "events", "slos": services["shop"]}}})
    assert parse_catalog(again, name="again.yaml").services["shop"].slos == service.slos
    assert left_out == []
    assert "burn-rate alerts over two windows" in notes[0]
    assert "classic rule" in notes[1]


def test_exported_documents_have_the_shape_of_version_1() -> None:
    service = shop()
    documents, _ = exported(service, service.slos)
    assert documents[0]["kind"] == "Service"
    for document in documents[1:]:
        assert [error.message for error in Draft202012Validator(SLO_SHAPE).iter_errors(document)] == []
    windows = [document["spec"]["timeWindow"][0] for document in documents[1:]]
    assert windows[:2] == [{"duration": "30d", "isRolling": True}, {"duration": "90m", "isRolling": True}]
    assert windows[3]["calendar"] == {"startTime": "2024-01-01 00:00:00", "timeZone": "Etc/UTC"}


def test_a_foreign_source_is_taken_where_it_is_said_what_it_measures() -> None:
    services, notes = imported(FOREIGN, name="f.yaml", measure="latency:500ms")
    assert services == {
        "shop": [
            {"name": "api-1", "kind": "latency", "target": 0.995, "window": "28d", "threshold": "500ms"},
            {"name": "api-2", "kind": "latency", "target": 0.9, "window": "28d", "threshold": "500ms"},
        ]
    }
    assert [note.split(":")[0] for note in notes] == ["api", "AlertPolicy page"]
    with pytest.raises(CatalogError, match=r"f.yaml:15: spec: expected a metricSource of type Tidegauge, or --measure"):
        imported(FOREIGN, name="f.yaml")
    with pytest.raises(CatalogError, match="--measure: expected availability or latency"):
        imported(FOREIGN, name="f.yaml", measure="speed")


def changed(path: tuple[Any, ...], value: Any) -> str:
    documents, _ = exported(shop(), shop().slos[2:3])
    holder: Any = documents[1]
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return yaml.safe_dump(documents[1])


WINDOW_PATH = ("spec", "timeWindow", 0)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("apiVersion",), "openslo/v2alpha", "apiVersion: expected openslo/v1"),
        (("kind",), "Chart", "kind: expected SLO or SLI"),
        (("spec", "budgetingMethod"), "Timeslices", "expected Occurrences: time slices are not known here"),
        (WINDOW_PATH, {"duration": "1M", "isRolling": True}, "expected whole minutes, hours, days or weeks"),
        ((*WINDOW_PATH, "duration"), "1Y", "expected 1w, 1M or 1Q"),
        ((*WINDOW_PATH, "calendar", "startTime"), "2024-01-02 00:00:00", "expected the begin of a month at midnight"),
        ((*WINDOW_PATH, "calendar", "timeZone"), "Mars/Base", "expected an IANA time zone"),
        (("spec", "timeWindow"), [], "expected exactly one window"),
        (("spec", "objectives"), [{"target": 1.5}], "expected a ratio between 0 and 1"),
        (("spec", "objectives"), [{"target": 0.5, "indicator": {}}], "composite SLOs are not known here"),
        (("spec", "objectives"), [], "expected at least one objective"),
    ],
)
def test_what_cannot_be_expressed_is_refused_with_its_place(path: tuple[Any, ...], value: Any, expected: str) -> None:
    with pytest.raises(CatalogError) as refused:
        imported(changed(path, value), name="slos.yaml")
    assert expected in str(refused.value)
    assert str(refused.value).startswith("slos.yaml")


def test_slos_go_out_and_in_by_command(tmp_path: Path) -> None:
    config, slos = tmp_path / "tidegauge.yaml", tmp_path / "slos.yaml"
    config.write_text(CATALOG)
    app = typer.Typer()
    mount(app)
    out = CliRunner().invoke(app, ["slo", "export", "shop", "--slo", "month"], env={"TIDEGAUGE_CONFIG": str(config)})
    assert out.exit_code == 0
    slos.write_text(out.stdout)
    back = CliRunner().invoke(app, ["slo", "import", str(slos)])
    assert yaml.safe_load(back.stdout)["services"]["shop"]["slos"] == [
        {"name": "month", "kind": "availability", "target": 0.99, "window": "month", "timezone": "Europe/Berlin"}
    ]
    slos.write_text(FOREIGN)
    assert CliRunner().invoke(app, ["slo", "import", str(slos)]).exit_code == 1
