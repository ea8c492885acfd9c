"""clickhouse-connect's ordinary HTTP client against a real store process."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import clickhouse_connect
import pandas as pd
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from tests.integration.store_fixtures import running_store
from tests.integration.store_fixtures import shared_store_url as shared_store_url
from tests.integration.store_schema import COLUMNS, START_US, create_record, event_columns

pytestmark = pytest.mark.server


def connect(url: str, **options: Any) -> Any:
    return clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False, **options)


@pytest.fixture
def client(shared_store_url: str) -> Iterator[Any]:
    client = connect(shared_store_url)
    yield client
    client.close()


@pytest.fixture
def numbers_table(client: Any) -> Iterator[str]:
    client.command("CREATE DATABASE IF NOT EXISTS t ENGINE = Atomic")
    client.command("CREATE OR REPLACE TABLE t.numbers (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    yield "t.numbers"
    client.command("DROP TABLE t.numbers")


def test_it_connects_and_speaks_utc(client: Any) -> None:
    assert client.ping()
    assert client.command("SELECT timezone()") == "UTC"
    assert client.command("SELECT 2 + 3") == 5


def test_parameters_keep_quotes_newlines_and_types(client: Any) -> None:
    values = {"text": "it's `a` \\ b\n\tc é", "list": ["x'", "y,"], "number": -3}
    query = "SELECT {text:String}, {list:Array(String)}, {number:Int32}"
    assert client.query(query, parameters=values).result_rows == [(values["text"], values["list"], -3)]


def test_parameters_too_long_for_a_url_come_as_a_form(client: Any) -> None:
    text = "x" * 100_000
    assert client.query("SELECT length({a:String}) AS n", parameters={"a": text}).result_rows == [(100_000,)]


def test_data_frames_go_in_and_come_out_unchanged(client: Any, numbers_table: str) -> None:
    frame = pd.DataFrame({"n": range(200_000), "s": ["é" * (n % 5) for n in range(200_000)]})
    client.insert_df(numbers_table, frame)
    back = client.query_df(f"SELECT n, s FROM {numbers_table} ORDER BY n")
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip", True])
def test_every_compression_of_the_client_works_both_ways(
    shared_store_url: str, numbers_table: str, compress: bool | str
) -> None:
    other = connect(shared_store_url, compress=compress)
    rows = [(n, "x" * 20) for n in range(100_000)]
    summary = other.insert(numbers_table, rows, column_names=["n", "s"])
    assert summary.written_rows == 100_000
    assert other.query(f"SELECT * FROM {numbers_table} ORDER BY n").result_rows == rows
    other.close()


def test_raw_inserts_in_other_formats_work(client: Any, numbers_table: str) -> None:
    client.raw_insert(numbers_table, column_names=["n", "s"], insert_block='1,"a"\n2,"b"\n', fmt="CSV")
    client.command(f"INSERT INTO {numbers_table} VALUES (3, 'FORMAT CSV'), (4, ';')")
    client.command(f"INSERT INTO {numbers_table} SELECT 5, 'e'")
    assert client.query(f"SELECT s FROM {numbers_table} ORDER BY n").result_columns == [
        ["a", "b", "FORMAT CSV", ";", "e"]
    ]


def test_raw_queries_in_formats_with_a_frame_around_them_are_whole(client: Any) -> None:
    assert client.raw_query("SELECT 1 AS a", fmt="CSVWithNames") == b'"a"\n1\n'
    assert client.query_arrow("SELECT number FROM numbers(100000)").num_rows == 100_000


def test_an_error_has_clickhouses_code_name_and_status(client: Any, shared_store_url: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT * FROM nowhere")
    assert (caught.value.code, caught.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(shared_store_url + "/?query=SELECT+FROM+WHERE", timeout=10)
    with refused.value as response:
        assert response.status == 400
        assert response.headers["X-ClickHouse-Exception-Code"] == "62"
        assert response.read().startswith(b"Code: 62. DB::Exception: Syntax error")


def test_an_error_in_the_middle_of_a_result_is_not_taken_for_its_end(client: Any) -> None:
    # 3 million UInt64 are 24 MB: far more than what is held back before the status goes out
    query = "SELECT number, throwIf(number = 3000000, 'boom') FROM numbers(6000000)"
    with pytest.raises(OperationalError, match="boom"):
        _ = client.query(query).result_rows
    with pytest.raises(OperationalError):  # and raw bytes do not look whole either
        client.raw_query(query, fmt="CSV")


def test_settings_count_for_their_request_alone_and_an_unknown_one_is_an_error(
    client: Any, shared_store_url: str
) -> None:
    read = "SELECT toString(getSetting('max_block_size'))"
    assert client.command(read, settings={"max_block_size": 777}) == 777
    assert client.command(read) != 777  # nothing stays behind
    with pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
        client.query("SELECT sum(sin(number)) FROM numbers(100000000000)", settings={"max_execution_time": 1})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(shared_store_url + "/?query=SELECT+1&no_such_setting=1", timeout=10)
    refused.value.close()
    assert refused.value.headers["X-ClickHouse-Exception-Code"] == "115"  # UNKNOWN_SETTING


def test_a_query_cannot_use_more_memory_than_the_store_allows(client: Any) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT groupArray(number) FROM numbers(300000000)", settings={"max_memory_usage": 0})
    assert caught.value.code == 241


def test_the_database_of_the_client_is_used(shared_store_url: str, numbers_table: str) -> None:
    other = connect(shared_store_url, database="t")
    other.insert("numbers", [(1, "a")], column_names=["n", "s"])
    assert other.command("SELECT count() FROM numbers") == 1
    other.close()


def test_a_get_cannot_write(shared_store_url: str) -> None:
    url = shared_store_url + "/?query=CREATE%20DATABASE%20by_get%20ENGINE%3DAtomic"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10)
    refused.value.close()
    assert refused.value.headers["X-ClickHouse-Exception-Code"] == "164"  # READONLY


def test_a_batch_sent_three_times_is_stored_once_through_all_views(client: Any) -> None:
    create_record(client, "thrice")
    for _ in range(3):
        client.insert(
            "thrice.request_events",
            event_columns(1000),
            column_names=COLUMNS,
            column_oriented=True,
            settings={"insert_deduplication_token": "batch-1"},
        )
    client.insert(
        "thrice.request_events",
        event_columns(1000),  # the same rows under another name are another batch
        column_names=COLUMNS,
        column_oriented=True,
        settings={"insert_deduplication_token": "batch-2"},
    )
    counts = [
        client.command(f"SELECT {what} FROM thrice.{table}")
        for what, table in (
            ("count()", "request_events"),
            ("sum(requests)", "red_1m"),
            ("sumIf(requests, status = 500)", "red_1m"),
            ("sum(requests)", "red_1h"),
            ("toUInt64(sum(value))", "demand_recorded"),
        )
    ]
    assert counts == [2000, 2000, 200, 2000, 2000]
    # ceil(log2(1000) * 8) = ceil(79.73) = 80
    assert client.query("SELECT sumMap(histogram) FROM thrice.red_1m").result_rows == [({80: 2000},)]
    assert client.command("SELECT min(toUnixTimestamp64Micro(ts)) FROM thrice.request_events") == START_US


def test_a_large_insert_sent_twice_in_other_pieces_is_stored_once(client: Any, shared_store_url: str) -> None:
    client.command("CREATE DATABASE pieces ENGINE = Atomic")
    client.command(
        "CREATE TABLE pieces.t (n UInt64, s String) ENGINE = MergeTree ORDER BY n "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    data = b"".join(b"%d,%s\n" % (n, b"x" * 30) for n in range(400_000))  # 14 MB: more than one piece

    def send(step: int) -> None:
        url = shared_store_url + "/?query=INSERT+INTO+pieces.t+FORMAT+CSV&insert_deduplication_token=one"
        body = (data[at : at + step] for at in range(0, len(data), step))
        request = urllib.request.Request(url, data=body, method="POST", headers={"Transfer-Encoding": "chunked"})
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.status == 200

    send(1_000_003)
    send(77_777)
    assert client.command("SELECT count() FROM pieces.t") == 400_000


def test_eight_threads_at_once_each_get_their_own_answers(shared_store_url: str, numbers_table: str) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            own = connect(shared_store_url)
            for turn in range(20):
                own.insert(numbers_table, [(number, str(turn))], column_names=["n", "s"])
                answer = own.query(
                    "SELECT {a:UInt32} + number FROM numbers(3)", parameters={"a": number}
                ).result_columns
                if answer != [[number, number + 1, number + 2]]:
                    wrong.append(answer)
            own.close()
        except Exception as error:  # noqa: BLE001  # told by the main thread
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    client = connect(shared_store_url)
    assert client.query(f"SELECT count(), uniq(n) FROM {numbers_table}").result_rows == [(160, 8)]
    client.close()


def test_slow_reads_hold_up_neither_pings_nor_inserts_and_stop_with_their_client(
    client: Any, shared_store_url: str, numbers_table: str
) -> None:
    def running() -> int:
        return str(client.command("SHOW PROCESSLIST")).count("sin(number)")

    def read_slowly(hasty: Any) -> None:
        with pytest.raises(OperationalError):
            hasty.query("SELECT sum(sin(number)) FROM numbers(1000000000000) SETTINGS max_threads = 1")
        hasty.close()

    clients = [connect(shared_store_url, send_receive_timeout=4, query_retries=0) for _ in range(12)]
    threads = [threading.Thread(target=read_slowly, args=(hasty,)) for hasty in clients]
    for thread in threads:
        thread.start()
    _wait_until(lambda: running() == 8)  # every reading thread; the other four wait
    assert client.ping()
    client.insert(numbers_table, [(1, "a")], column_names=["n", "s"])
    assert running() == 8
    for thread in threads:
        thread.join()
    _wait_until(lambda: running() == 0)
    assert client.command(f"SELECT count() FROM {numbers_table}") == 1


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # polling with a deadline


def test_an_insert_cut_off_in_the_middle_stores_nothing(client: Any, shared_store_url: str, numbers_table: str) -> None:
    host, port = shared_store_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        target = f"/?query=INSERT+INTO+{numbers_table}+FORMAT+CSV"
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n"
        raw.sendall(head.encode() + b"1,a\n" * 500_000)
    assert client.command(f"SELECT count() FROM {numbers_table}") == 0
    client.insert(numbers_table, [(1, "a")], column_names=["n", "s"])
    assert client.command(f"SELECT count() FROM {numbers_table}") == 1


def test_credentials_are_asked_for_when_they_are_set(tmp_path: Any) -> None:
    environment = {"TIDEGAUGE_CLICKHOUSE_USER": "tide", "TIDEGAUGE_CLICKHOUSE_PASSWORD": "secret"}
    with running_store(tmp_path, environment=environment) as url:
        allowed = connect(url, username="tide", password="secret")
        assert allowed.command("SELECT 1") == 1
        allowed.close()
        with pytest.raises(DatabaseError) as refused:
            connect(url, username="tide", password="wrong")
        assert refused.value.code == 516
    assert "secret" not in (tmp_path / "store.log").read_text()


def test_a_web_page_cannot_post_statements(shared_store_url: str) -> None:
    request = urllib.request.Request(shared_store_url, data=b"SELECT 1", headers={"Origin": "http://evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    refused.value.close()
    assert refused.value.code == 403
