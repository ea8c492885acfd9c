from datetime import timedelta
from pathlib import Path

import pytest

from collector.catalog import CatalogError, parse_catalog, read_catalog

SHIPPED = Path(__file__).parents[2] / "tidegauge.yaml"


def test_the_shipped_catalog_is_read_with_its_units() -> None:
    service = read_catalog(SHIPPED).service("reference-app")
    by_name = {slo.name: slo for slo in service.slos}
    assert by_name["search-p95"].threshold == timedelta(seconds=2)
    assert by_name["us-east-p95"].threshold == timedelta(milliseconds=500)
    assert by_name["availability"].window == timedelta(days=30)
    assert service.scaling is not None
    assert service.scaling.capacity_rps == (12.0, 14.0)
    assert service.scaling.reactive.scale_down_stabilization == timedelta(minutes=5)


def test_defaults_stand_in_for_absent_optional_keys() -> None:
    service = parse_catalog("version: 1\nservices: {a: {source: events}}", name="t.yaml").service("a")
    assert (service.timezone, service.slos, service.scaling, service.calendar.country) == ("UTC", (), None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\nservices:\n  a:\n    source: events\n    colour: red\n", "t.yaml:5: services.a.colour: expected"),
        ("version: 2\nservices: {}", "t.yaml:1: version: expected 1"),
        ("version: 1\nservices:\n  a: {source: file}\n", "t.yaml:3: services.a.source: expected events or"),
        (
            "version: 1\nservices:\n  a:\n    source: events\n    slos:\n"
            "      - {name: x, kind: latency, target: 0.9, window: 30d, threshold: 2sec}\n",
            "t.yaml:6: services.a.slos[0].threshold: expected a duration",
        ),
        (
            "version: 1\nservices:\n  a:\n    source: events\n    slos:\n"
            "      - {name: x, kind: latency, target: 0.9, window: 30d}\n",
            "t.yaml:6: services.a.slos[0]: expected a threshold",
        ),
        (
            "version: 1\nservices:\n  a:\n    source: events\n    slos:\n"
            "      - {name: x, kind: availability, target: .nan, window: 30d}\n",
            "target: expected a ratio between 0 and 1",
        ),
        (
            "version: 1\nservices:\n  a: {source: events}\n  a: {source: events}\n",
            "t.yaml:4: services.a: expected each key",
        ),
        ("version: 1\nservices:\n  a: {source: events, timezone: Mars/Base}\n", "expected an IANA time zone"),
        ("", "expected a mapping, got an empty file"),
        ("a: [", "expected YAML"),
        ("- 1", "t.yaml:1: top level: expected a mapping, got a list"),
    ],
)
def test_a_refusal_names_file_line_key_expected_and_got(text: str, expected: str) -> None:
    with pytest.raises(CatalogError) as refusal:
        parse_catalog(text, name="t.yaml")
    assert expected in str(refusal.value)
    assert "got" in str(refusal.value)


def test_the_source_prometheus_says_where_its_counters_are() -> None:
    text = (
        "version: 1\nservices:\n  a:\n    source: prometheus\n"
        "    prometheus: {url: 'http://p:9090', requests_metric: http_requests_total, match: {job: a}}\n"
    )
    source = parse_catalog(text, name="t.yaml").service("a").prometheus
    assert source is not None
    assert (source.match, source.scrape_interval) == ((("job", "a"),), timedelta(seconds=15))
    with pytest.raises(CatalogError, match="a prometheus block"):
        parse_catalog("version: 1\nservices: {a: {source: prometheus}}", name="t.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"none\.yaml: expected a readable file"):
        read_catalog(tmp_path / "none.yaml")


def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CatalogError, match="known: reference-app"):
        read_catalog(SHIPPED).service("other")
