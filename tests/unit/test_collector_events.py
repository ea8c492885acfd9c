import gzip
import json
import uuid
from typing import Any

import pytest

from collector.instrument import Event
from collector.sources.events import BatchRefusedError, decompressed, parse_batch
from collector.sources.writer import event_columns

NOW = 1_700_000_000.0


def batch(**changes: Any) -> dict[str, Any]:
    event = Event(ts_us=int(NOW * 1e6), route="/a", method="GET", status=200, duration_us=5)
    return {
        "schema": 1,
        "batch_id": str(uuid.UUID(int=7)),
        "client": {"id": "i@1", "service": "s", "generated_total": 1, "dropped_total": 0},
        "columns": {name: [value] for name, value in event._asdict().items()},
        **changes,
    }


def with_column(name: str, values: Any) -> dict[str, Any]:
    whole = batch()
    whole["columns"][name] = values
    return whole


def parsed(document: Any) -> Any:
    return parse_batch(json.dumps(document).encode(), now_seconds=NOW)


def test_a_good_batch_is_accepted_whole() -> None:
    accepted = parsed(batch())
    assert (accepted.batch_id, accepted.service, accepted.events) == (str(uuid.UUID(int=7)), "s", 1)


def test_a_client_that_knows_no_countries_is_accepted() -> None:
    document = batch()
    del document["columns"]["country"]
    assert parsed(document).columns["country"] == [""]


def test_a_batch_that_was_spooled_before_there_were_countries_is_stored_without() -> None:
    old, new = batch(), batch()
    del old["columns"]["country"]
    new["columns"]["country"] = ["DE"]
    assert event_columns([old, new])["country"] == ["", "DE"]


def test_a_report_without_events_is_accepted() -> None:
    assert parsed(batch(columns={name: [] for name in Event._fields})).events == 0


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (with_column("status", ["200"]), "columns.status[0]: expected whole numbers from 100 to 599, got '200'"),
        (with_column("status", [True]), "columns.status[0]"),
        (with_column("duration_us", [-1]), "columns.duration_us[0]"),
        (with_column("duration_us", [2**32]), "columns.duration_us[0]"),
        (with_column("route", [7]), "columns.route[0]: expected texts"),
        (with_column("route", ["x" * 513]), "columns.route[0]: expected texts"),
        (with_column("route", ["\ud800"]), "columns.route[0]: expected texts"),
        (with_column("route", ["/a", "/b"]), "columns: expected one length"),
        (with_column("route", "/a"), "columns.route: expected a list"),
        (with_column("extra", [1]), "columns: expected ts_us, route"),
        (with_column("ts_us", [int((NOW - 8 * 86400) * 1e6)]), "columns.ts_us[0]: expected epoch microseconds"),
        (with_column("ts_us", [int((NOW + 2 * 86400) * 1e6)]), "columns.ts_us[0]: expected epoch microseconds"),
        (batch(schema=2), "schema: expected 1, got 2"),
        (batch(batch_id="../../etc/passwd"), "batch_id: expected a UUID"),
        (batch(client={"id": "", "service": "s", "generated_total": 0, "dropped_total": 0}), "client.id: expected"),
        (
            batch(client={"id": "i", "service": "s", "generated_total": -1, "dropped_total": 0}),
            "client.generated_total",
        ),
        ([], "body: expected an object, got list"),
    ],
)
def test_a_refusal_names_the_column_and_what_was_expected(document: Any, expected: str) -> None:
    with pytest.raises(BatchRefusedError) as refusal:
        parsed(document)
    assert expected in str(refusal.value)
    assert refusal.value.status == 400


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(BatchRefusedError, match="expected JSON"):
        parse_batch(b"{", now_seconds=NOW)


def test_gzip_is_read_and_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    assert decompressed(gzip.compress(b"abc"), "gzip") == decompressed(gzip.compress(b"abc"), "GZip") == b"abc"
    with pytest.raises(BatchRefusedError) as refusal:
        decompressed(gzip.compress(bytes(64 * 1024 * 1024)), "gzip")
    assert refusal.value.status == 413
    with pytest.raises(BatchRefusedError, match="ends early"):
        decompressed(gzip.compress(b"abc")[:-4], "gzip")
    with pytest.raises(BatchRefusedError, match="gzip, zstd or none"):
        decompressed(b"abc", "br")
