"""The record's reads and writes against a real store."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from collector.catalog import ClassicRule, Slo
from collector.clickhouse import (
    ClickHouseSettings,
    Client,
    MigrationError,
    StoreRefusedError,
    StoreUnavailableError,
    connect,
    migrate,
)
from collector.record.store import (
    SCHEMA_FOLDER,
    SCHEMA_OWNER,
    DemandExtent,
    Marker,
    bucket_of,
    count_requests,
    quantile_from_histogram,
    read_demand,
    read_demand_extent,
    read_ingest_counts,
    read_load_runs,
    read_markers,
    read_red,
    read_watermark,
    write_imported_demand,
    write_marker,
)
from collector.slo.store import read_classic, read_slo_counts
from collector.sources.files import ImportRefusedError, import_series, parse_csv
from tests.integration.store_fixtures import shared_store_url  # noqa: F401 - a fixture

pytestmark = pytest.mark.server
MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


@pytest.fixture
def client(shared_store_url: str) -> Iterator[Client]:  # noqa: F811 - the fixture above
    database = f"t_{uuid.uuid4().hex[:12]}"
    client = connect(ClickHouseSettings(url=shared_store_url, database=database))
    migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
    yield client
    client.command(f"DROP DATABASE {database}")
    client.close()


def store_requests(client: Client, starts: list[datetime], *, token: str, **values: object) -> None:
    row = {
        "service": "shop", "route": "/a", "method": "GET", "status": 200, "duration_us": 1000, "response_bytes": 1,
        "region": "eu", "instance": "i", "version": "v", "cache_level": "", "database_target": "",
        "user_agent_family": "", "trace_id": "", **values,
    }  # fmt: skip
    columns = {name: [value] * len(starts) for name, value in row.items()}
    client.insert_columns(
        "request_events", {"ts": [int(start.timestamp() * 1e6) for start in starts], **columns}, token=token
    )


def minutes(count: int, *, first: int = 0) -> list[datetime]:
    return [NOW + MINUTE * number for number in range(first, first + count)]


def demand(client: Client, step: timedelta, *, hours: int = 1) -> dict[datetime, float]:
    frame = read_demand(client, "shop", since=NOW, until=NOW + timedelta(hours=hours), step=step)
    assert str(frame["ds"].dt.tz) == "UTC"
    return dict(zip(frame["ds"].dt.to_pydatetime(), frame["rps"], strict=True))


def write_import(client: Client, starts: list[datetime], value: float, *, content: str, age: int = 0) -> None:
    frame = pd.DataFrame({"ds": pd.to_datetime(pd.Series(starts), utc=True), "value": [value] * len(starts)})
    write_imported_demand(
        client, "shop", frame, step=MINUTE, source="f.csv", content_id=content, imported_at=NOW - timedelta(hours=age)
    )


def test_migrating_again_does_nothing_and_a_changed_file_is_refused(client: Client, tmp_path: Path) -> None:
    assert migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER) == []
    own = tmp_path / "0001_own.sql"
    own.write_text("CREATE TABLE {database}.own (x String) ENGINE = MergeTree ORDER BY x;\n")
    assert migrate(client, tmp_path, owner="other") == ["0001_own.sql"]
    assert migrate(client, tmp_path, owner="other") == []
    own.write_text("CREATE TABLE {database}.own (x UInt8) ENGINE = MergeTree ORDER BY x;\n")
    with pytest.raises(MigrationError, match="changed after it was applied"):
        migrate(client, tmp_path, owner="other")


def test_a_migration_killed_in_the_middle_goes_on(client: Client, tmp_path: Path) -> None:
    client.command("CREATE TABLE half (x String) ENGINE = MergeTree ORDER BY x")
    (tmp_path / "0001_half.sql").write_text(
        "CREATE TABLE {database}.half (x String) ENGINE = MergeTree ORDER BY x;\n"
        "CREATE TABLE {database}.rest (x String) ENGINE = MergeTree ORDER BY x;\n"
    )
    assert migrate(client, tmp_path, owner="half") == ["0001_half.sql"]
    assert client.query_rows("SELECT count() FROM rest") == [(0,)]


def test_one_insert_sent_three_times_is_stored_once_through_all_the_views(client: Client) -> None:
    for _ in range(3):
        store_requests(client, [NOW] * 7, token="one")
    counts = client.query_rows(
        "SELECT (SELECT count() FROM request_events), (SELECT sum(requests) FROM red_1m),"
        " (SELECT sum(requests) FROM red_1h), (SELECT sum(value) FROM demand_recorded)"
    )
    assert counts == [(7, 7, 7, 7.0)]


def test_requests_are_counted_to_the_millisecond_the_end_left_out(client: Client) -> None:
    tenth = timedelta(milliseconds=100)
    store_requests(client, [NOW + tenth * number for number in range(10)], token="a")  # 0, .1, ... .9 s
    assert count_requests(client, "shop", since=NOW + tenth * 3, until=NOW + tenth * 7) == 4  # .3 .4 .5 .6
    assert count_requests(client, "shop", since=NOW + timedelta(milliseconds=301), until=NOW + tenth * 7) == 3
    assert count_requests(client, "shop", since=NOW + MINUTE, until=NOW + 2 * MINUTE) == 0
    assert count_requests(client, "else", since=NOW, until=NOW + MINUTE) == 0


def test_a_step_is_scaled_by_coverage_from_half_on_and_absent_below(client: Client) -> None:
    # 12 requests in each of minutes 0, 1, 2 and 5: of the first five minutes three are there (60 %), of the next one.
    store_requests(client, [start for start in (*minutes(3), NOW + 5 * MINUTE) for _ in range(12)], token="a")
    assert demand(client, timedelta(minutes=5)) == {NOW: pytest.approx(0.2)}  # 36 requests in 180 covered seconds
    assert set(demand(client, MINUTE)) == {*minutes(3), NOW + 5 * MINUTE}  # and nothing was filled in


def test_recorded_demand_wins_over_imported_at_the_same_instant(client: Client) -> None:
    store_requests(client, [NOW] * 60, token="a")  # 1 rps in the first minute
    write_import(client, minutes(2), 600.0, content="x")  # 10 rps in the first two
    assert demand(client, MINUTE) == {NOW: pytest.approx(1.0), NOW + MINUTE: pytest.approx(10.0)}
    assert demand(client, timedelta(minutes=2)) == {NOW: pytest.approx(5.5)}  # 660 requests in 120 s


def test_coarser_rows_are_left_out_rather_than_spread(client: Client) -> None:
    frame = pd.DataFrame({"ds": pd.to_datetime(pd.Series([NOW]), utc=True), "value": [3600.0]})
    write_imported_demand(client, "shop", frame, step=timedelta(hours=1), source="f", content_id="h", imported_at=NOW)
    assert demand(client, MINUTE) == {}
    assert demand(client, timedelta(hours=1)) == {NOW: pytest.approx(1.0)}
    assert read_demand_extent(client, "shop") == DemandExtent(NOW, NOW + timedelta(hours=1), timedelta(hours=1))


def test_a_later_import_replaces_the_same_instants_and_a_repeated_one_changes_nothing(client: Client) -> None:
    write_import(client, minutes(2), 60.0, content="a" * 64, age=3)
    write_import(client, minutes(2), 60.0, content="a" * 64, age=3)
    assert client.query_rows("SELECT count() FROM demand_imported") == [(2,)]
    write_import(client, minutes(1), 120.0, content="b" * 64, age=2)
    assert demand(client, MINUTE)[NOW] == pytest.approx(2.0)
    write_import(client, minutes(2), 60.0, content="a" * 64, age=1)  # back to the first file
    assert demand(client, MINUTE)[NOW] == pytest.approx(1.0)


def test_the_watermark_is_the_end_of_the_newest_recorded_minute(client: Client) -> None:
    assert read_watermark(client, "shop") is None
    assert read_demand_extent(client, "shop") is None
    store_requests(client, [NOW + timedelta(seconds=90)], token="a")
    assert read_watermark(client, "shop") == NOW + 2 * MINUTE
    assert read_demand_extent(client, "shop") == DemandExtent(NOW + MINUTE, NOW + 2 * MINUTE, MINUTE)


def test_red_counts_by_dimension_and_reads_quantiles_from_buckets(client: Client) -> None:
    store_requests(client, [NOW] * 98, token="a", duration_us=1024)
    store_requests(client, [NOW] * 2, token="b", duration_us=4096, status=500, region="us")
    whole = read_red(client, "shop", since=NOW, until=NOW + MINUTE, step=MINUTE).iloc[0]
    assert (whole["requests"], whole["errors"]) == (100, 2)
    assert whole["rps"] == pytest.approx(100 / 60)
    # 98 of 100 are 2^10 us, an edge; the 99th is 2^12 us, an edge too
    assert (whole["p50_seconds"], whole["p95_seconds"], whole["p99_seconds"]) == (0.001024, 0.001024, 0.004096)
    by_region = read_red(
        client, "shop", since=NOW, until=NOW + timedelta(hours=1), step=timedelta(hours=1), by="region"
    )
    assert dict(zip(by_region["region"], by_region["requests"], strict=True)) == {"eu": 98, "us": 2}


def test_quantiles_made_in_the_store_are_those_of_the_histogram(client: Client) -> None:
    source = random.Random(5)
    durations = [int(source.lognormvariate(10, 2)) for _ in range(137)]
    for number, duration in enumerate(durations):
        store_requests(client, [NOW], token=str(number), duration_us=duration)
    buckets = Counter(bucket_of(duration) for duration in durations)
    row = read_red(client, "shop", since=NOW, until=NOW + MINUTE, step=MINUTE).iloc[0]
    for name, quantile in (("p50_seconds", 0.5), ("p95_seconds", 0.95), ("p99_seconds", 0.99)):
        expected = quantile_from_histogram(buckets, quantile)
        assert expected is not None
        assert row[name] == pytest.approx(expected.total_seconds())


def test_requests_whose_durations_nobody_told_have_no_quantiles(client: Client) -> None:
    client.insert_columns(
        "red_1m", {"minute": [int(NOW.timestamp())], "service": ["shop"], "requests": [5], "histogram": [{}]}, token="t"
    )
    row = read_red(client, "shop", since=NOW, until=NOW + MINUTE, step=MINUTE).iloc[0]
    assert row["requests"] == 5
    assert pd.isna(row["p95_seconds"])


def test_slo_counts_come_from_hours_and_minutes_without_overlap(client: Client) -> None:
    old = NOW - timedelta(days=5)
    store_requests(client, [old] * 40, token="old")
    store_requests(client, [NOW] * 90, token="good", duration_us=1_000_000)
    store_requests(client, [NOW] * 6, token="slow", duration_us=3_000_000)
    store_requests(client, [NOW] * 4, token="bad", status=503)
    slos = [
        Slo("availability", "availability", 0.99, timedelta(days=30)),
        Slo("fast", "latency", 0.95, timedelta(days=30), threshold=timedelta(seconds=2), route="/a"),
        Slo("elsewhere", "availability", 0.99, timedelta(days=30), region="mars"),
    ]
    availability, fast, elsewhere = read_slo_counts(client, "shop", slos, now=NOW + timedelta(seconds=30))
    month, five_minutes = timedelta(days=30), timedelta(minutes=5)
    assert (availability[month].valid, availability[month].good) == (140, 136)
    assert (availability[five_minutes].valid, availability[five_minutes].good) == (100, 96)
    assert (fast[month].valid, fast[month].good) == (136, 130)  # the refused ones were not answered
    assert (elsewhere[month].valid, elsewhere[month].good) == (0, 0)
    rule = ClassicRule(timedelta(hours=24), timedelta(seconds=2), 0.1)
    (route,) = read_classic(client, "shop", rule, now=NOW)
    # the 6 slow ones of 3 s are in the mean of the 96 answers: (90 + 18) / 96 = 1.125 s
    assert [(each.status, each.requests) for each in route.statuses] == [(200, 96), (503, 4)]
    assert route.statuses[0].mean_response == timedelta(seconds=1.125)
    assert (route.requests, route.exceeded) == (100, ())


def test_an_import_with_one_bad_line_or_an_old_row_leaves_nothing(client: Client) -> None:
    good = f"timestamp,value\n{(NOW - MINUTE):%Y-%m-%dT%H:%M:%SZ},5\n{NOW:%Y-%m-%dT%H:%M:%SZ},5\n"
    with pytest.raises(ImportRefusedError, match="line 4"):
        import_series(client, "shop", parse_csv(good + "nonsense\n"), source="f", now=NOW + MINUTE)
    with pytest.raises(ImportRefusedError, match="three years"):
        import_series(client, "shop", parse_csv(good), source="f", now=NOW + timedelta(days=2000))
    assert client.query_rows("SELECT count() FROM demand_imported") == [(0,)]


def test_ten_years_of_days_are_refused_and_three_years_of_hours_are_stored_whole(client: Client) -> None:
    hours = 3 * 365 * 24 - 2
    first = NOW - timedelta(hours=hours)
    lines = "".join(f"{first + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ},{n}\n" for n in range(hours))
    progress: list[tuple[int, int]] = []
    rows = import_series(
        client, "shop", parse_csv("timestamp,value\n" + lines), source="f", now=NOW,
        on_progress=lambda done, total: progress.append((done, total)),
    )  # fmt: skip
    assert rows == hours
    assert client.query_rows("SELECT count(), uniqExact(ts) FROM demand_imported") == [(hours, hours)]
    assert progress[-1] == (hours, hours)


def test_markers_that_overlap_are_read_and_stored_once(client: Client) -> None:
    marker = Marker("shop", "deploy", NOW, NOW + MINUTE, "v2", masks_history=True)
    write_marker(client, marker)
    write_marker(client, marker)
    assert read_markers(client, "shop", since=NOW + timedelta(seconds=30), until=NOW + MINUTE) == [marker]
    assert read_markers(client, "shop", since=NOW + 2 * MINUTE, until=NOW + 3 * MINUTE) == []


@pytest.mark.parametrize("name", ["x' OR 1=1 --", "{service:String}", "back\\slash", "'; DROP TABLE markers; --", "%s"])
def test_a_name_is_a_value_and_never_part_of_a_statement(client: Client, name: str) -> None:
    store_requests(client, [NOW], token="a")
    marker = Marker(name, "deploy", NOW, NOW + MINUTE, name)
    write_marker(client, marker)
    assert read_markers(client, name, since=NOW, until=NOW + MINUTE) == [marker]
    assert read_demand(client, name, since=NOW, until=NOW + MINUTE, step=MINUTE).empty
    assert read_red(client, name, since=NOW, until=NOW + MINUTE, step=MINUTE).empty
    assert read_watermark(client, name) is None
    assert read_load_runs(client, name) == []


def test_the_books_count_nothing_as_zero_and_no_error(client: Client) -> None:
    counts = read_ingest_counts(client, since=NOW, until=NOW + MINUTE)
    assert (counts.generated, counts.acknowledged, counts.stored, counts.dropped, counts.duplicates) == (0, 0, 0, 0, 0)


def test_foreign_errors_become_ours() -> None:
    with pytest.raises(StoreUnavailableError):
        connect(ClickHouseSettings(url="http://127.0.0.1:9"))


def test_a_refusal_keeps_the_code(client: Client) -> None:
    with pytest.raises(StoreRefusedError) as refusal:
        client.query_rows("SELECT nope")
    assert refusal.value.code == 47
    with pytest.raises(StoreRefusedError):
        client.insert_columns("markers", {"id": ["x"], "masks_history": ["many"]}, token="t")
