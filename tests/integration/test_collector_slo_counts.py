"""Counts of SLOs on a real store, held against the same requests counted one by one."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collector.catalog import Calendar, Service, Slo
from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.commands import mount
from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER, Marker, write_marker
from collector.slo.counts import read_counts_between, read_recorded_minutes
from collector.slo.history import read_budget_history
from collector.slo.minutes import read_slo_minutes
from collector.slo.objectives import Counts
from collector.slo.store import read_sli_series, read_slo_statuses
from collector.slo.windows import Spans, merged
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server
MONTH = timedelta(days=30)
NOW = datetime.fromtimestamp(time.time() // 60 * 60 + 17, UTC)
END = int(NOW.timestamp()) // 60 * 60 + 60
HALF = timedelta(milliseconds=500)  # inside the bucket from 480,774 to 524,288 us


@dataclass(frozen=True)
class Asked:
    """One request of the record."""

    second: int
    route: str
    region: str
    version: str
    status: int
    duration_us: int


@pytest.fixture(scope="module")
def requests() -> list[Asked]:
    draw = random.Random(7)  # the same requests at every run, save for when they were
    return [
        Asked(
            END - 1 - draw.randrange(6 * 86400),
            draw.choice(["/a", "/b"]),
            draw.choice(["eu", "us"]),
            draw.choice(["v1", "v2"]),
            draw.choice([200, 200, 200, 404, 503]),
            draw.choice([1000, 480_774, 480_775, 499_999, 500_000, 500_001, 524_288, 524_289, 3_000_000]),
        )
        for _ in range(4000)
    ]


@pytest.fixture(scope="module")
def client(shared_store_url: str, requests: list[Asked]) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=shared_store_url, database=f"slo_{uuid.uuid4().hex}"))
    migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
    client.insert_columns(
        "request_events",
        {
            "ts": [each.second * 1_000_000 for each in requests],
            "service": ["shop"] * len(requests),
            **{
                name: [getattr(each, name) for each in requests]
                for name in ("route", "region", "version", "status", "duration_us")
            },
        },
        token="all",
    )
    yield client
    client.close()


def counted(requests: list[Asked], slo: Slo, start: int, end: int, exclusions: Spans = ()) -> Counts:
    """What the record must say, one request at a time."""
    valid = good = 0
    for each in requests:
        minute = each.second // 60 * 60
        inside = start <= each.second < end and not any(first <= minute < last for first, last in exclusions)
        named = (slo.route, slo.region, slo.version)
        if not inside or any(
            want not in (None, have) for want, have in zip(named, (each.route, each.region, each.version), strict=True)
        ):
            continue
        if slo.threshold is None:
            valid, good = valid + 1, good + (each.status < 500)
        elif each.status < 500:
            valid, good = valid + 1, good + (each.duration_us <= slo.threshold / timedelta(microseconds=1))
    return Counts(valid, good)


SLOS = [
    Slo("all", "availability", 0.99, MONTH),
    Slo("a", "availability", 0.99, MONTH, route="/a"),
    Slo("us-v2", "availability", 0.99, MONTH, region="us", version="v2"),
    Slo("fast", "latency", 0.95, MONTH, threshold=HALF),
    Slo("fast-b", "latency", 0.95, MONTH, threshold=HALF, route="/b", region="eu"),
    Slo("on-edge", "latency", 0.95, MONTH, threshold=timedelta(microseconds=524_288), version="v1"),
]
SPANS = [(END - 300, END), (END - 3600, END), (END - 86400 - 1260, END - 7200), (END - 7 * 86400, END)]


@pytest.mark.parametrize("names", [["all"], ["fast-b"], [slo.name for slo in SLOS]])
def test_any_span_of_any_scope_is_counted_exactly(client: Client, requests: list[Asked], names: list[str]) -> None:
    slos = [slo for slo in SLOS if slo.name in names]
    answers = read_counts_between(client, "shop", slos, [SPANS] * len(slos))
    assert answers == [[counted(requests, slo, *span) for span in SPANS] for slo in slos]


def test_excluded_minutes_count_for_nothing(client: Client, requests: list[Asked]) -> None:
    exclusions = merged([(END - 5400, END - 600), (END - 3 * 86400 - 100, END - 2 * 86400 + 50)])
    answers = read_counts_between(client, "shop", SLOS, [SPANS] * len(SLOS), exclusions=exclusions)
    assert answers == [[counted(requests, slo, *span, exclusions) for span in SPANS] for slo in SLOS]
    (minutes,) = read_recorded_minutes(client, "shop", [(END - 86400, END)], exclusions=exclusions)
    recorded = {each.second // 60 for each in requests if END - 86400 <= each.second < END}
    assert minutes == len({minute for minute in recorded if not END - 5400 <= minute * 60 < END - 600})


def test_a_maintenance_marker_takes_its_time_out_of_the_status(client: Client, requests: list[Asked]) -> None:
    starts, ends = END - 86400, END - 80000  # within its last minute: that minute does not count at all
    marker = Marker(
        "marked", "maintenance", datetime.fromtimestamp(starts, UTC), datetime.fromtimestamp(ends, UTC), "",
        excludes_slo=True,
    )  # fmt: skip
    write_marker(client, marker)
    client.insert_columns(
        "request_events",
        {
            "ts": [(starts - 60) * 1_000_000, starts * 1_000_000, ends * 1_000_000, (ends + 60) * 1_000_000],
            "service": ["marked"] * 4,
            "status": [200, 500, 500, 200],
        },
        token="marked",
    )
    service = Service("marked", "", "events", "UTC", (SLOS[0],), None, None, None, None)
    (status,) = read_slo_statuses(client, service, now=NOW)
    assert status.counts == Counts(2, 2)
    assert status.measured is not None
    whole_minutes = -(-ends // 60) * 60 - starts
    assert status.measured.excluded == timedelta(seconds=whole_minutes)
    assert status.measured.expected == 30 * 1440 - whole_minutes // 60


def test_minutes_add_up_to_the_counts_of_their_span(client: Client, requests: list[Asked]) -> None:
    since, until = datetime.fromtimestamp(END - 3 * 86400, UTC), datetime.fromtimestamp(END, UTC)
    for slo in SLOS:
        _, valid, good = read_slo_minutes(client, "shop", slo, since=since, until=until)
        assert Counts(sum(valid), sum(good)) == counted(requests, slo, END - 3 * 86400, END)
        series = read_sli_series(client, "shop", slo, since=since, until=until, step=timedelta(hours=6))
        assert (int(series["valid"].sum()), int(series["good"].sum())) == (sum(valid), sum(good))


def test_beyond_the_raw_events_a_threshold_inside_a_bucket_snaps_to_its_edge_and_says_since_when(
    client: Client,
) -> None:
    old, new = END - 20 * 86400, END - 86400
    client.insert_columns(
        "red_1m",  # what is left of requests whose events are gone
        {
            "minute": [old],
            "service": ["old-shop"],
            "status": [200],
            "requests": [30],
            "histogram": [{151: 10, 152: 20}],  # up to 480,774 us, and up to 524,288 us
        },
        token="old",
    )
    client.insert_columns(
        "request_events",
        {
            "ts": [new * 1_000_000] * 3,
            "service": ["old-shop"] * 3,
            "status": [200] * 3,
            "duration_us": [480_000, 499_000, 501_000],
        },
        token="new",
    )
    service = Service("old-shop", "", "events", "UTC", (SLOS[3],), None, None, None, None)
    (status,) = read_slo_statuses(client, service, now=NOW)
    assert (status.counts.valid, status.counts.good) == (33, 12)  # the 10 sure ones, and 2 of the 3 known exactly
    assert status.measured is not None
    assert status.measured.exact_since == datetime.fromtimestamp(END - 7 * 86400, UTC)
    assert status.measured.recorded == 2
    assert status.measured.coverage == pytest.approx(2 / (30 * 1440))


def test_where_minutes_are_kept_for_less_an_edge_goes_back_to_its_hour(shared_store_url: str, client: Client) -> None:
    hour = (END - 20 * 86400) // 3600 * 3600
    client.insert_columns(
        "red_1m",
        {"minute": [hour + 600], "service": ["kept-shop"], "status": [200], "requests": [5]},
        token="kept",
    )
    span = [(hour + 1800, END)]
    assert read_counts_between(client, "kept-shop", [SLOS[0]], [span]) == [[Counts(0, 0)]]
    shorter = ClickHouseSettings(url=shared_store_url, database=client.database, retention_days={"red_1m": 8})
    eight_days = connect(shorter)
    assert read_counts_between(eight_days, "kept-shop", [SLOS[0]], [span]) == [[Counts(5, 5)]]
    eight_days.close()


def test_the_history_says_what_the_status_said_then(client: Client, requests: list[Asked]) -> None:
    since, until = datetime.fromtimestamp(END - 2 * 86400, UTC), datetime.fromtimestamp(END, UTC)
    slo = Slo("week", "availability", 0.5, timedelta(days=7), calendar=Calendar("week", "Asia/Kolkata"))
    points = read_budget_history(client, "shop", slo, since=since, until=until, step=timedelta(hours=12))
    assert [point.at for point in points] == [until - timedelta(hours=12 * back) for back in (3, 2, 1, 0)]
    service = Service("shop", "", "events", "UTC", (slo,), None, None, None, None)
    for point in points:
        (status,) = read_slo_statuses(client, service, now=point.at - timedelta(seconds=1))
        assert (point.window, point.budget_left) == (status.counts, status.budget_left)
        end = int(point.at.timestamp())
        assert point.step == counted(requests, slo, end - 43200, end)


def test_status_and_history_are_told_by_command(shared_store_url: str, client: Client, tmp_path: Path) -> None:
    config = tmp_path / "tidegauge.yaml"
    config.write_text(
        "version: 1\nservices:\n  shop:\n    source: events\n    timezone: Europe/Berlin\n    slos:\n"
        "      - {name: all, kind: availability, target: 0.5, window: month}\n"
        "      - {name: fast, kind: latency, target: 0.5, threshold: 500ms, window: 30d, version: v1}\n"
    )
    environment = {
        "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url,
        "TIDEGAUGE_CLICKHOUSE_DATABASE": client.database,
    }
    app = typer.Typer()
    mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["slo", *arguments], env=environment)
        return result.exit_code, result.stdout

    code, text = run("status", "shop")
    assert code == 0
    assert "over the month in Europe/Berlin" in text
    assert "exact since" in text
    assert "coverage" in text
    document = json.loads(run("status", "shop", "--json")[1])
    assert [slo["calendar"] for slo in document["slos"]] == [{"period": "month", "timezone": "Europe/Berlin"}, None]
    code, text = run("history", "shop", "--slo", "all", "--days", "2", "--step", "6h", "--json")
    assert (code, len(json.loads(text)[0]["points"])) == (0, 8)
    assert run("history", "shop", "--days", "300", "--step", "1m")[0] == 2
    assert run("history", "shop", "--days", "2")[1].startswith("all: budget left")
