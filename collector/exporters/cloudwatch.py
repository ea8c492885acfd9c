"""CloudWatch's PutMetricData by the query protocol, signed with Signature Version 4 by botocore's signer.

CloudWatch adds up what it is told twice: a kill between its answer and our note of it doubles the metrics of one
minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from collector.exporters.measures import BOUNDS_SECONDS, Gauge, Series, bound_counts

PATH = "/"
MOST_METRICS = 150  # of the 1,000 allowed: with their values they stay far below the megabyte allowed
_VERSION = "2010-08-01"


def cloudwatch_requests(
    series: Sequence[Series], gauges: Sequence[Gauge], *, minute: datetime, namespace: str
) -> list[bytes]:
    """Return the bodies that tell of one minute (its start), each of at most MOST_METRICS metrics."""
    told = list(_metrics(series, gauges, minute.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
    chunks = (told[start : start + MOST_METRICS] for start in range(0, len(told), MOST_METRICS))
    return [_body(chunk, namespace) for chunk in chunks]


def signed_headers(url: str, body: bytes, *, region: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that sign a request of now (real time)."""
    content_type = "application/x-www-form-urlencoded; charset=utf-8"
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": content_type})
    credentials = Credentials(
        secrets["access_key_id_env"], secrets["secret_access_key_env"], secrets.get("session_token_env")
    )
    SigV4Auth(credentials, "monitoring", region).add_auth(request)
    return dict(request.headers.items())


def _metrics(series: Sequence[Series], gauges: Sequence[Gauge], at: str) -> Iterator[dict[str, Any]]:
    for each in series:
        shared = {"Timestamp": at, **_dimensions(each.labels)}
        yield {"MetricName": "Requests", "Unit": "Count", "Value": each.requests, **shared}
        # Each bucket as its upper bound and a count: percentiles can be asked for. What lies beyond is in the last.
        counts = bound_counts(each.histogram)
        counts[-2:] = [counts[-2] + counts[-1]]
        filled = [(bound, count) for bound, count in zip(BOUNDS_SECONDS, counts, strict=True) if count]
        values = {f"Values.member.{number}": bound for number, (bound, _) in enumerate(filled, 1)}
        tallies = {f"Counts.member.{number}": count for number, (_, count) in enumerate(filled, 1)}
        if filled:
            yield {"MetricName": "RequestDuration", "Unit": "Seconds", **values, **tallies, **shared}
    for gauge in gauges:
        name = "".join(part.capitalize() for part in gauge.name.removeprefix("tidegauge_").split("_"))
        unit = "Seconds" if gauge.name.endswith("_seconds") else "None"
        yield {"MetricName": name, "Unit": unit, "Value": gauge.value, "Timestamp": at, **_dimensions(gauge.labels)}


def _dimensions(labels: Mapping[str, str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for number, (name, value) in enumerate(sorted(labels.items()), 1):
        parts[f"Dimensions.member.{number}.Name"] = name
        parts[f"Dimensions.member.{number}.Value"] = value.encode("ascii", "replace").decode()[:1024]
    return parts


def _body(metrics: Sequence[Mapping[str, Any]], namespace: str) -> bytes:
    form: dict[str, Any] = {"Action": "PutMetricData", "Version": _VERSION, "Namespace": namespace}
    for number, metric in enumerate(metrics, 1):
        form.update({f"MetricData.member.{number}.{key}": value for key, value in metric.items()})
    return urlencode(form).encode()
