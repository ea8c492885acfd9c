"""What exporters say, read back by others' readers: Prometheus's parser, OTLP's messages, a signature made by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from collector.catalog import CatalogError, Slo, parse_catalog
from collector.exporters.cloudwatch import MOST_METRICS, cloudwatch_requests, signed_headers
from collector.exporters.datadog import datadog_requests
from collector.exporters.exposition import record_exposition
from collector.exporters.measures import OTHER_ROUTES, Gauge, Series, bound_counts, folded, slo_gauges
from collector.exporters.otlp import otlp_headers, otlp_request
from collector.exporters.push import PushFailedError, push_once, read_watermark_file, write_watermark_file
from collector.exporters.settings import ExporterSettingsError, resolve_exporters
from collector.slo.objectives import BURN_WINDOWS, Counts, status_of

SINCE, AT = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
# bucket 80 ends at 2^10 us (the first bound), 88 at 2^11 us, 300 lies beyond 2^26 us
SERIES = [
    Series("shop", "/a", "2xx", 4, 7_000_000, {80: 1, 81: 2, 300: 1}),
    Series("shop", "/a", "5xx", 1, 1000, {80: 1}),
]
GAUGES = [Gauge("tidegauge_slo_sli", {"service": "shop", "slo": "a"}, 0.75, "The share.")]


def test_routes_beyond_the_kept_ones_become_one() -> None:
    busy = Series("shop", "/a", "2xx", 1, 10, {8: 1})
    rare = [Series("shop", f"/{number}", "2xx", 1, 10, {8: 1, number: 1}) for number in range(3)]
    assert folded([*rare, busy], {"/a"}) == [
        Series("shop", OTHER_ROUTES, "2xx", 3, 30, {8: 3, 0: 1, 1: 1, 2: 1}),
        busy,
    ]


def test_durations_fall_between_the_bounds_that_hold_them() -> None:
    # up to 2^10 us, up to 2^11 us (buckets 81 to 88), and beyond 2^26 us
    counts = bound_counts({0: 1, 80: 1, 81: 1, 88: 1, 89: 1, 208: 1, 209: 1})
    assert (counts[0], counts[1], counts[2], counts[16], counts[17]) == (2, 2, 1, 1, 1)
    assert sum(counts) == 7


def test_the_exposition_is_read_by_prometheus_own_parser() -> None:
    text = record_exposition(SERIES, GAUGES, counted_since=SINCE).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    requests = {
        sample.labels["status_class"]: sample.value
        for sample in families["tidegauge_requests"].samples
        if sample.name == "tidegauge_requests_total"
    }
    assert requests == {"2xx": 4, "5xx": 1}
    durations = families["tidegauge_request_duration_seconds"].samples
    buckets = {
        sample.labels["le"]: sample.value
        for sample in durations
        if sample.name.endswith("_bucket") and sample.labels["status_class"] == "2xx"
    }
    assert (buckets["0.001024"], buckets["0.002048"], buckets["67.108864"], buckets["+Inf"]) == (1, 3, 3, 4)
    sums = [sample.value for sample in durations if sample.name.endswith("_sum")]
    assert sums == [7.0, 0.001]
    (gauge,) = families["tidegauge_slo_sli"].samples
    assert (gauge.labels, gauge.value) == ({"service": "shop", "slo": "a"}, 0.75)


def test_an_otlp_request_is_read_by_its_own_messages() -> None:
    request = ExportMetricsServiceRequest.FromString(otlp_request(SERIES, GAUGES, since=SINCE, at=AT))
    metrics = {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}
    points = metrics["tidegauge.requests"].sum.data_points
    assert [point.as_int for point in points] == [4, 1]
    assert metrics["tidegauge.requests"].sum.is_monotonic
    assert metrics["tidegauge.requests"].sum.aggregation_temporality == 2  # cumulative
    assert (points[0].start_time_unix_nano, points[0].time_unix_nano) == (
        int(SINCE.timestamp()) * 10**9,
        int(AT.timestamp()) * 10**9,
    )
    assert {each.key: each.value.string_value for each in points[1].attributes} == {
        "service": "shop",
        "route": "/a",
        "status_class": "5xx",
    }
    histogram = metrics["tidegauge.request.duration"].histogram.data_points[0]
    assert (histogram.count, histogram.sum) == (4, 7.0)
    assert len(histogram.bucket_counts) == len(histogram.explicit_bounds) + 1
    assert metrics["tidegauge.slo.sli"].gauge.data_points[0].as_double == 0.75


def test_datadog_gets_counts_of_the_minute_quantiles_and_gauges_in_chunks() -> None:
    (body,) = datadog_requests(SERIES, GAUGES, minute=AT)
    series = json.loads(body)["series"]
    counts = {
        tuple(each["tags"]): each["points"][0]["value"] for each in series if each["metric"] == "tidegauge.requests"
    }
    assert counts[("route:/a", "service:shop", "status_class:2xx")] == 4
    first = series[0]
    assert (first["type"], first["interval"]) == (1, 60)
    assert first["points"] == [{"timestamp": int(AT.timestamp()), "value": 4}]
    by_name = {each["metric"]: each for each in series}
    # of 5 requests three took more than 2^10 us; the third is in bucket 81, up to 2^(81/8) us = 1116.68 us
    assert by_name["tidegauge.request.duration.p50"]["points"][0]["value"] == pytest.approx(0.00111668, abs=1e-6)
    assert (by_name["tidegauge.slo.sli"]["type"], by_name["tidegauge.slo.sli"]["points"][0]["value"]) == (3, 0.75)
    many = [Series("shop", f"/{number}", "2xx", 1, 10, {8: 1}) for number in range(300)]
    bodies = datadog_requests(many, [], minute=AT)
    assert [len(json.loads(body)["series"]) for body in bodies] == [1000, 500]  # 2 counts and 3 quantiles each


def test_cloudwatch_gets_the_query_form_with_values_and_their_counts() -> None:
    (body,) = cloudwatch_requests(SERIES, GAUGES, minute=AT, namespace="Tidegauge")
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    assert (form["Action"], form["Version"], form["Namespace"]) == ("PutMetricData", "2010-08-01", "Tidegauge")
    assert (form["MetricData.member.1.MetricName"], form["MetricData.member.1.Value"]) == ("Requests", "4")
    assert form["MetricData.member.1.Timestamp"] == "2026-05-04T12:00:00Z"
    assert form["MetricData.member.1.Dimensions.member.1.Name"] == "route"
    assert form["MetricData.member.1.Dimensions.member.1.Value"] == "/a"
    assert (form["MetricData.member.2.Values.member.1"], form["MetricData.member.2.Counts.member.1"]) == (
        "0.001024",
        "1",
    )
    # what lies beyond the last bound is counted with it
    assert (form["MetricData.member.2.Values.member.3"], form["MetricData.member.2.Counts.member.3"]) == (
        "67.108864",
        "1",
    )
    assert form["MetricData.member.5.MetricName"] == "SloSli"
    many = [Series("shop", f"/{number}", "2xx", 1, 10, {}) for number in range(MOST_METRICS + 1)]
    assert len(cloudwatch_requests(many, [], minute=AT, namespace="T")) == 2


def signature_by_hand(headers: dict[str, str], body: bytes, *, host: str, region: str, secret: str) -> str:
    """Signature Version 4 after AWS's description of it, for a POST to / with the headers that were signed."""
    names = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    values = {**{name.lower(): value for name, value in headers.items()}, "host": host}
    canonical = "\n".join(
        ["POST", "/", "", *(f"{name}:{values[name].strip()}" for name in names), "", ";".join(names),
         hashlib.sha256(body).hexdigest()]
    )  # fmt: skip
    day = values["x-amz-date"][:8]
    scope = f"{day}/{region}/monitoring/aws4_request"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", values["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = f"AWS4{secret}".encode()
    for part in (day, region, "monitoring", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def test_cloudwatch_requests_are_signed_after_version_4() -> None:
    secrets = {"access_key_id_env": "AKID", "secret_access_key_env": "hush", "session_token_env": "token"}
    url, body = "https://monitoring.eu-west-1.amazonaws.com/", b"Action=PutMetricData"
    headers = signed_headers(url, body, region="eu-west-1", secrets=secrets)
    by_hand = signature_by_hand(
        headers, body, host="monitoring.eu-west-1.amazonaws.com", region="eu-west-1", secret="hush"
    )
    assert headers["Authorization"].endswith(f"Signature={by_hand}")
    assert "Credential=AKID/" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "token"
    assert "hush" not in str(headers)


def test_what_is_not_known_of_an_slo_is_no_gauge() -> None:
    slo = Slo("a", "availability", 0.9, timedelta(days=30))
    nothing = status_of(slo, {window: Counts(0, 0) for window in (*BURN_WINDOWS, slo.window)})
    assert [gauge.name for gauge in slo_gauges("shop", [nothing])] == ["tidegauge_slo_target"]
    burning = status_of(slo, {window: Counts(10, 8) for window in (*BURN_WINDOWS, slo.window)})
    gauges = {(gauge.name, gauge.labels.get("window")): gauge.value for gauge in slo_gauges("shop", [burning])}
    assert gauges["tidegauge_slo_burn_rate", "1h"] == pytest.approx(2.0)  # 20 % bad where 10 % is allowed
    assert gauges["tidegauge_slo_error_budget_left", None] == pytest.approx(-1.0)


def exporters_of(block: str) -> Any:
    return parse_catalog(f"version: 1\nservices: {{}}\nexporters:\n{block}", name="t.yaml").exporters


def test_exporters_are_off_until_configured_and_their_secrets_come_from_the_environment_alone() -> None:
    assert parse_catalog("version: 1\nservices: {}\n", name="t.yaml").exporters == ()
    settings = exporters_of("  - {kind: datadog, api_key_env: DD_KEY}\n  - {kind: prometheus, most_routes: 5}\n")
    assert [(each.kind, each.most_routes, each.url) for each in settings] == [
        ("datadog", 50, "https://api.datadoghq.com"),
        ("prometheus", 5, ""),
    ]
    with pytest.raises(ExporterSettingsError, match="expected DD_KEY in the environment"):
        resolve_exporters(settings, {})
    datadog, _ = resolve_exporters(settings, {"DD_KEY": "hush"})
    assert datadog.secrets == {"api_key_env": "hush"}
    assert "hush" not in repr(datadog)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("  - {kind: statsd}\n", "t.yaml:4: exporters[0].kind: expected prometheus or otlp"),
        ("  - {kind: otlp}\n", "expected the key 'url'"),
        ("  - {kind: otlp, url: ftp://x}\n", "expected http(s)://host"),
        ("  - {kind: datadog}\n", "expected the key 'api_key_env'"),
        ("  - {kind: datadog, api_key: x, api_key_env: y}\n", "the unknown key 'api_key'"),
        ("  - {kind: cloudwatch, access_key_id_env: a, secret_access_key_env: b}\n", "expected the key 'region'"),
        ("  - {kind: prometheus}\n  - {kind: prometheus}\n", "expected each kind of exporter once"),
    ],
)
def test_an_exporter_that_is_not_as_expected_is_refused_with_its_place(block: str, expected: str) -> None:
    with pytest.raises(CatalogError) as refused:
        exporters_of(block)
    assert expected in str(refused.value)


def test_otlp_headers_are_pairs_and_a_wrong_one_is_not_shown() -> None:
    assert otlp_headers("authorization=Bearer x=, tenant=a")["authorization"] == "Bearer x="
    with pytest.raises(ValueError, match="expected name=value") as refused:
        otlp_headers("hush")
    assert "hush" not in str(refused.value)


def test_a_watermark_is_read_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "exporters" / "datadog.json"
    assert read_watermark_file(path) is None
    write_watermark_file(path, AT)
    assert read_watermark_file(path) == AT
    path.write_text("half")
    assert read_watermark_file(path) is None


def pushed(kind: str, *, behind: timedelta, status: int = 200) -> tuple[Any, list[datetime]]:
    """Push to an exporter that answers with this status, of no services; what came of it, and the noted watermarks."""
    secrets = {"datadog": "api_key_env: K", "otlp": 'url: "http://x"'}[kind]
    (exporter,) = resolve_exporters(exporters_of(f"  - {{kind: {kind}, {secrets}}}\n"), {"K": "key"})
    noted: list[datetime] = []
    try:
        result: Any = push_once(
            None,  # type: ignore[arg-type]  # there is no service to read anything of
            [],
            exporter,
            newest=AT,
            watermark=AT - behind,
            post=lambda *_: status,
            note=noted.append,
        )
    except PushFailedError as error:
        result = str(error)
    return result, noted


def test_minutes_too_old_for_their_receiver_are_passed_over_and_counted() -> None:
    result, noted = pushed("datadog", behind=timedelta(minutes=57))
    assert (result.minutes, result.passed_over, result.watermark) == (55, 2, AT)
    assert (noted[0], noted[-1]) == (AT - timedelta(minutes=54), AT)
    assert pushed("datadog", behind=timedelta()) == (None, [])


def test_what_was_not_taken_is_told_again_and_what_was_refused_for_good_is_not() -> None:
    for status in (401, 429, 503):
        assert pushed("otlp", behind=timedelta(minutes=1), status=status) == (f"otlp answered {status}", [])
    for status in (200, 400):
        assert pushed("otlp", behind=timedelta(minutes=1), status=status)[1] == [AT]
