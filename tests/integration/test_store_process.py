"""The store as a process: who owns the directory, how it stops, what survives a SIGKILL."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from tests.integration.store_fixtures import StoreProcess, running_store, start_store
from tests.integration.store_schema import COLUMNS, START_US, create_record, event_columns

pytestmark = pytest.mark.server


def connect(url: str) -> Any:
    return clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    store = start_store(tmp_path)
    try:
        store.wait_until_ready()
        yield store
    finally:
        if store.process.poll() is None:
            store.kill()


def insert_batch(client: Any, number: int) -> None:
    client.insert(
        "record.request_events",
        event_columns(100, first=number * 100),
        column_names=COLUMNS,
        column_oriented=True,
        settings={"insert_deduplication_token": f"batch-{number}"},
    )


def test_acknowledged_rows_are_there_after_a_sigkill_and_a_repeated_batch_is_still_stored_once(
    store: StoreProcess, tmp_path: Path
) -> None:
    client = connect(store.url)
    create_record(client, "record")
    acknowledged: list[int] = []
    enough = threading.Event()

    def write() -> None:
        try:
            for number in range(10_000):
                insert_batch(client, number)
                acknowledged.append(number)
                if number == 20:
                    enough.set()
        except Exception:  # noqa: BLE001  # the store was killed under it: the unacknowledged batch is not ours to judge
            enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(30)
    store.kill()
    writer.join()
    assert len(acknowledged) > 20
    with running_store(tmp_path) as url:
        again = connect(url)
        last = max(acknowledged)
        first_unknown = START_US + (last + 1) * 100 * 1000  # events are 1,000 us apart
        read = f"SELECT count() FROM record.request_events WHERE ts < fromUnixTimestamp64Micro({first_unknown})"
        assert again.command(read) == (last + 1) * 100
        insert_batch(again, last)
        assert again.command(read) == (last + 1) * 100
        again.close()


def test_a_second_process_on_the_same_directory_is_told_so_in_one_line(store: StoreProcess, tmp_path: Path) -> None:
    second = start_store(tmp_path)
    assert second.process.wait(30) == 1
    (line,) = [line for line in store.log.read_text().splitlines() if "another process" in line]
    assert str(tmp_path / "clickhouse") in line
    assert "Traceback" not in store.log.read_text()
    assert connect(store.url).command("SELECT 1") == 1


def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        store = start_store(tmp_path, port=port)
        assert store.process.wait(30) == 1
    (line,) = store.log.read_text().splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "TIDEGAUGE_CLICKHOUSE_PORT" in line


def test_sigterm_finishes_what_was_accepted_and_ends_with_zero(store: StoreProcess, tmp_path: Path) -> None:
    client = connect(store.url)
    client.command("CREATE DATABASE t ENGINE = Atomic")
    client.command("CREATE TABLE t.slow (n UInt64) ENGINE = MergeTree ORDER BY n")
    errors: list[Exception] = []

    def work() -> None:
        try:
            connect(store.url).command("INSERT INTO t.slow SELECT number + sleepEachRow(0.1) FROM numbers(15)")
        except Exception as error:  # noqa: BLE001  # told by the main thread
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 10
    while not client.command("SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(0.1)%'") > 1:
        assert time.monotonic() < deadline
    assert store.stop() == 0
    thread.join()
    assert errors == []
    with running_store(tmp_path) as url:
        assert connect(url).command("SELECT count() FROM t.slow") == 15


def test_sigterm_does_not_wait_for_a_statement_without_an_end(store: StoreProcess) -> None:
    client = connect(store.url)

    def work() -> None:
        with pytest.raises(Exception):  # noqa: B017, PT011  # however the client words a lost server
            connect(store.url).command("SELECT sum(sin(number)) FROM numbers(1000000000000)")

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 10
    while not client.command("SELECT count() FROM system.processes WHERE query LIKE '%sum(sin%'") > 1:
        assert time.monotonic() < deadline
    assert store.stop() == 0  # the fixture gives it 15 s
    thread.join()


def test_the_zone_of_the_machine_does_not_matter(tmp_path: Path) -> None:
    with running_store(tmp_path, environment={"TZ": "America/New_York"}) as url:
        assert connect(url).command("SELECT timezone()") == "UTC"
