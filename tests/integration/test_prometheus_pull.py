"""Pull from a real Prometheus into a real store."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from collector.sources.prometheus import PrometheusError, PrometheusSettings, pull_once, read_counters
from tests.integration.prometheus_fixtures import need, running_prometheus, write_past
from tests.integration.store_fixtures import free_port
from tests.integration.store_fixtures import store_url as store_url
from tests.integration.store_schema import START_US, create_record

pytestmark = pytest.mark.server

BEGIN = START_US // 1_000_000  # on an hour's border
LABELS = 'job="shop",instance="i1",service="shop"'


def settings(url: str, **changed: Any) -> PrometheusSettings:
    return PrometheusSettings(
        **{
            "service": "shop",
            "url": url,
            "requests_metric": "http_request_duration_seconds_count",
            "duration_metric": "http_request_duration_seconds",
            "match": (("service", "shop"),),
            "timeout": timedelta(seconds=10),
            **changed,
        }
    )


def past() -> str:
    """Ten minutes of scrapes every 15 s: 2 requests/s, a restart at 120 s, no scrapes from 300 to 420 s.

    Half of the requests take at most 0.1 s, all take at most 1 s, and 0.3 s on average.
    """
    lines: dict[str, list[str]] = {"bucket": [], "count": [], "sum": []}
    for at in range(-60, 601, 15):
        if 300 < at < 420:
            continue
        served = 2 * (at + 60) if at <= 120 else 2 * (at - 120)
        labels = f'{LABELS},route="/pay",method="POST",status="200"'
        for le, share in (("0.1", 0.5), ("1.0", 1.0), ("+Inf", 1.0)):
            lines["bucket"].append(
                f'http_request_duration_seconds_bucket{{{labels},le="{le}"}} {served * share} {BEGIN + at}'
            )
        lines["count"].append(f"http_request_duration_seconds_count{{{labels}}} {served} {BEGIN + at}")
        lines["sum"].append(f"http_request_duration_seconds_sum{{{labels}}} {served * 0.3:.3f} {BEGIN + at}")
    body = "\n".join(line for kind in lines.values() for line in kind)
    return f"# TYPE http_request_duration_seconds histogram\n{body}\n# EOF\n"


def writer(client: Any) -> Any:
    def write(columns: dict[str, list[Any]], token: str) -> None:
        client.insert(
            "tidegauge.red_1m",
            list(columns.values()),
            column_names=list(columns),
            column_oriented=True,
            settings={"insert_deduplication_token": token},
        )

    return write


def test_a_pull_repeated_stores_every_minute_once_and_leaves_gaps(tmp_path: Path, store_url: str) -> None:
    write_past(tmp_path / "data", past())
    client = clickhouse_connect.get_client(dsn=store_url, autogenerate_session_id=False)
    create_record(client, "tidegauge")
    since, until = datetime.fromtimestamp(BEGIN, UTC), datetime.fromtimestamp(BEGIN + 570, UTC)
    with running_prometheus(tmp_path) as url:
        first = pull_once(settings(url), since=since, until=until, write=writer(client))
        again = pull_once(settings(url), since=since - timedelta(minutes=3), until=until, write=writer(client))
    assert first.watermark == again.watermark == datetime.fromtimestamp(BEGIN + 540, UTC)
    # the minutes 0..8 but for 5 and 6, which have no scrapes (minute 4 ends with the scrape at 300 s)
    assert (first.minutes, first.gap_minutes, first.requests) == (7, 2, 7 * 120)
    # what the counter gained from 300 s to 420 s: 2 * 120
    assert first.unplaced_requests == 240
    assert again.gap_minutes == 2 + 2  # before the first scrape at -60 s there is nothing
    per_minute = client.query("SELECT ts, value FROM tidegauge.demand_recorded FINAL ORDER BY ts").result_rows
    seen = [(int((ts.replace(tzinfo=UTC) - since).total_seconds()) // 60, value) for ts, value in per_minute]
    assert seen == [(minute, 120.0) for minute in (-1, 0, 1, 2, 3, 4, 7, 8)]
    row = client.query(
        "SELECT any(route), any(method), any(status), sum(requests), sum(duration_us_sum), "
        "sumMap(histogram) FROM tidegauge.red_1h"
    ).result_rows[0]
    assert row[:5] == ("/pay", "POST", 200, 960, 960 * 300_000)
    # ceil(log2(100000) * 8) = 133: half of the requests are in the buckets up to it
    assert sum(count for bucket, count in row[5].items() if bucket <= 133) == 480
    assert sum(row[5].values()) == 960
    client.close()


def test_ranges_longer_than_the_server_gives_at_once_are_read_in_parts(tmp_path: Path) -> None:
    write_past(tmp_path / "data", past())
    with running_prometheus(tmp_path) as url:
        # at a step of 1 s four hours are 14,400 points: more than the server gives at once
        fine = settings(url, scrape_interval=timedelta(seconds=1))
        samples = read_counters(fine, since=BEGIN - 4 * 3600, until=BEGIN + 600)
    (requests,) = samples.requests
    assert len(requests.times) >= 38  # 45 scrapes without the seven of the gap
    assert requests.times[0] - BEGIN in {-60, -59}
    assert list(requests.times) == sorted(requests.times)


def test_a_server_that_refuses_or_is_away_is_told_with_the_query(tmp_path: Path) -> None:
    need("prometheus")
    away = settings(f"http://127.0.0.1:{free_port()}", timeout=timedelta(seconds=1))
    with pytest.raises(PrometheusError, match="last_over_time"):
        read_counters(away, since=BEGIN, until=BEGIN + 60)


class _Answering(http.server.BaseHTTPRequestHandler):
    """Answers every GET with what `answer` makes, and says nothing to the console."""

    def answer(self) -> bytes:
        raise NotImplementedError

    def do_GET(self) -> None:
        body = self.answer()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Say nothing."""


class _Counter(_Answering):
    served = 0

    def answer(self) -> bytes:
        _Counter.served += 1
        return f'http_requests_total{{route="/a",status="2xx"}} {self.served}\n'.encode()


class _Warning(_Answering):
    def answer(self) -> bytes:
        found: dict[str, Any] = {"metric": {}, "histograms": []}
        data = {"resultType": "matrix", "result": [found]}
        return json.dumps({"status": "success", "data": data, "warnings": ["remote read: only part"]}).encode()


@contextmanager
def serving(answering: type[_Answering]) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_warnings_of_the_server_are_told() -> None:
    with serving(_Warning) as port:
        samples = read_counters(
            settings(f"http://127.0.0.1:{port}", duration_metric=None), since=BEGIN, until=BEGIN + 60
        )
    assert samples.warnings == ("remote read: only part",)
    assert samples.requests == ()


def test_a_scraped_target_is_seen_with_its_labels(tmp_path: Path) -> None:
    with serving(_Counter) as port, running_prometheus(tmp_path, target_port=port) as url:
        live = settings(
            url,
            requests_metric="http_requests_total",
            duration_metric=None,
            match=(("job", "shop"),),
            scrape_interval=timedelta(seconds=1),
        )
        deadline = time.monotonic() + 30
        while True:
            now = int(time.time())
            samples = read_counters(live, since=now - 60, until=now)
            if samples.requests and len(samples.requests[0].values) >= 4:
                break
            assert time.monotonic() < deadline, "Prometheus has not scraped the target"
            time.sleep(0.2)  # polling with a deadline
    (requests,) = samples.requests
    assert requests.target == ("shop", f"127.0.0.1:{port}")
    assert (requests.key.route, requests.key.status) == ("/a", 200)
    assert list(requests.values) == sorted(requests.values)
