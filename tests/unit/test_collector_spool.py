import json
import os
import resource
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest

from collector.__main__ import SettingsError, read_settings
from collector.clickhouse import StoreRefusedError, StoreUnavailableError
from collector.instrument import Event
from collector.sources.spool import Spool, SpoolFullError, SpoolLockedError
from collector.sources.writer import flush_once

LIMITS = {"most_bytes": 10**6, "most_batches": 100}


class StoreInMemory:
    """Takes inserts as the store does: the same token twice is stored once. `fail` is raised by the next inserts."""

    def __init__(self) -> None:
        self.by_token: dict[str, dict[str, list[Any]]] = {}
        self.sent: list[tuple[str, str, dict[str, list[Any]]]] = []
        self.fail: list[Exception | None] = []
        self.poison: str | None = None

    def insert_columns(self, table: str, columns: dict[str, list[Any]], *, token: str) -> int:
        self.sent.append((table, token, columns))
        failure = self.fail.pop(0) if self.fail else None
        if failure is not None:
            raise failure
        if self.poison is not None and self.poison in columns.get("route", []):
            raise StoreRefusedError("poison", code=53)
        self.by_token.setdefault(token, {"table": [table], **columns})
        return len(next(iter(columns.values())))

    def routes(self) -> list[str]:
        return [route for columns in self.by_token.values() for route in columns.get("route", [])]


def body(route: str) -> bytes:
    event = Event(ts_us=1, route=route, method="GET", status=200, duration_us=5)
    client = {"id": "i", "service": "s", "generated_total": 1, "dropped_total": 0}
    return json.dumps(
        {"client": client, "columns": {name: [value] for name, value in event._asdict().items()}}
    ).encode()


def accept(spool: Spool, number: int) -> bool:
    return spool.accept(str(uuid.UUID(int=number)), body(f"/{number}"), received_us=1_000_000 + number)


def reopened(spool: Spool, folder: Path) -> Spool:
    spool.close()  # what a killed process leaves is what lies on disk
    return Spool(folder)


def test_waiting_batches_become_one_insert_and_are_settled(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    for number in (1, 2, 3):
        assert accept(spool, number)
    assert flush_once(spool, store).stored_events == 3  # type: ignore[arg-type]  # a fake of Client
    assert store.routes() == ["/1", "/2", "/3"]
    assert [table for table, _, _ in store.sent] == ["request_events", "event_batches"]
    assert spool.state().batches == 0
    assert spool.state().size_bytes == 0


def test_the_same_batch_is_known_while_it_waits_after_it_is_settled_and_after_a_restart(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    assert accept(spool, 1)
    assert not accept(spool, 1)
    flush_once(spool, store)  # type: ignore[arg-type]
    assert not accept(spool, 1)
    spool = reopened(spool, tmp_path)
    assert not accept(spool, 1)
    flush_once(spool, store)  # type: ignore[arg-type]
    assert store.routes() == ["/1"]


def test_a_block_whose_answer_was_lost_is_sent_again_identically_after_a_kill(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    accept(spool, 1)
    accept(spool, 2)
    store.fail = [None, StoreUnavailableError("killed between the two inserts")]
    with pytest.raises(StoreUnavailableError):
        flush_once(spool, store)  # type: ignore[arg-type]
    spool = reopened(spool, tmp_path)
    accept(spool, 3)  # must not slip into the block that was already sent
    flush_once(spool, store)  # type: ignore[arg-type]
    flush_once(spool, store)  # type: ignore[arg-type]
    first, again = (sent for sent in store.sent if sent[0] == "request_events" and "/1" in sent[2]["route"])
    assert first == again
    assert sorted(store.routes()) == ["/1", "/2", "/3"]


def test_a_kill_after_settling_and_before_the_files_are_gone_stores_nothing_twice(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    accept(spool, 1)
    pending = next((tmp_path / "pending").iterdir())
    content = pending.read_bytes()
    flush_once(spool, store)  # type: ignore[arg-type]
    pending.write_bytes(content)
    (tmp_path / "blocks.json").unlink()
    spool = reopened(spool, tmp_path)
    assert spool.state().batches == 0
    flush_once(spool, store)  # type: ignore[arg-type]
    assert store.routes() == ["/1"]


def test_half_written_files_are_removed_at_the_start(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "pending" / f"{1:020d}-{uuid.UUID(int=9)}.json.tmp").write_bytes(b"{")
    spool = reopened(spool, tmp_path)
    assert spool.state().batches == 0
    assert not list(tmp_path.glob("*/*.tmp"))


def test_a_torn_line_of_the_settled_log_does_not_hide_the_next(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    (tmp_path / "settled-current.log").write_text("0000-torn")
    accept(spool, 1)
    flush_once(spool, store)  # type: ignore[arg-type]
    assert not accept(reopened(spool, tmp_path), 1)


def test_only_the_batch_that_the_store_refuses_for_good_goes_to_dead_letter_with_its_reason(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    for number in (1, 2, 3):
        accept(spool, number)
    store.poison = "/2"
    dead = []
    while (flushed := flush_once(spool, store)).more_waits:  # type: ignore[arg-type]  # the block is refused, then split
        dead.append(flushed.dead_batches)
    assert [*dead, flushed.dead_batches] == [0, 0, 1]  # three; the second and third; the second alone
    assert store.routes() == ["/1", "/3"]
    assert spool.state().dead_letters == 1
    assert [path.read_text() for path in (tmp_path / "dead-letter").glob("*.reason")] == ["poison"]
    assert not accept(spool, 2)


def test_one_torn_file_among_many_costs_a_few_inserts_and_nothing_else(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    for number in range(64):
        accept(spool, number)
    torn = sorted((tmp_path / "pending").iterdir())[40]
    torn.write_bytes(torn.read_bytes()[:-5])
    while flush_once(spool, store).more_waits:  # type: ignore[arg-type]
        pass
    assert sorted(store.routes()) == sorted(f"/{number}" for number in range(64) if number != 40)
    assert [path.name for path in (tmp_path / "dead-letter").glob("*.json")] == [torn.name]
    # Halves of 64: one whole half is stored at each of the six splits.
    assert sum(table == "request_events" for table, _, _ in store.sent) == 6


def test_a_store_that_is_away_costs_nothing_but_time(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    accept(spool, 1)
    store.fail = [StoreUnavailableError("away"), StoreUnavailableError("away")]
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            flush_once(spool, store)  # type: ignore[arg-type]
    flush_once(spool, store)  # type: ignore[arg-type]
    assert store.routes() == ["/1"]
    assert len({token for table, token, _ in store.sent if table == "request_events"}) == 1


def test_a_full_spool_refuses_until_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, quota_bytes=len(body("/1")) + 10)
    assert accept(spool, 1)
    with pytest.raises(SpoolFullError):
        accept(spool, 2)
    flush_once(spool, StoreInMemory())  # type: ignore[arg-type]
    assert accept(spool, 2)


def test_a_block_is_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 6):
        accept(spool, number)
    assert [len(block.names) for block in spool.next_blocks(most_bytes=10**6, most_batches=2)] == [2]


def test_a_disk_that_takes_no_more_refuses_and_leaves_nothing_and_what_was_taken_is_stored(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    accept(spool, 1)
    most, unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, unlimited))  # a body of 400 bytes cannot be written whole
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(SpoolFullError, match="cannot be written"):
            spool.accept(str(uuid.UUID(int=2)), body("/2") + b" " * 400, received_us=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, unlimited))
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(list((tmp_path / "pending").iterdir())) == 1
    assert accept(spool, 2)
    flush_once(spool, store)  # type: ignore[arg-type]
    assert store.routes() == ["/1", "/2"]


def test_the_last_of_a_disk_is_kept_for_the_writer(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    spool = Spool(tmp_path, reserved_bytes=disk.f_blocks * disk.f_frsize)
    with pytest.raises(SpoolFullError, match="bytes left"):
        accept(spool, 1)


def test_two_files_of_one_batch_are_stored_once(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    accept(spool, 1)
    written = next((tmp_path / "pending").iterdir())
    written.with_name(written.name.replace("1000001", "1000002")).write_bytes(written.read_bytes())
    spool = reopened(spool, tmp_path)
    flush_once(spool, store)  # type: ignore[arg-type]
    assert store.routes() == ["/1"]


def test_a_clock_that_is_set_back_changes_neither_what_is_stored_nor_that_it_is_stored_once(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    for number, received_us in ((1, 5_000_000), (2, 1_000_000), (3, 9_000_000)):
        spool.accept(str(uuid.UUID(int=number)), body(f"/{number}"), received_us=received_us)
    store.fail = [StoreUnavailableError("killed")]
    with pytest.raises(StoreUnavailableError):
        flush_once(spool, store)  # type: ignore[arg-type]
    spool = reopened(spool, tmp_path)  # reads the names in the order of the clock, the plan in its own
    flush_once(spool, store)  # type: ignore[arg-type]
    assert store.routes() == ["/1", "/2", "/3"]
    assert store.sent[0] == store.sent[1]


def test_a_tick_says_that_more_waits_while_a_whole_block_does(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path), StoreInMemory()
    for number in (1, 2):  # each fills a block of 4 MiB by itself
        spool.accept(str(uuid.UUID(int=number)), body(f"/{number}") + b" " * 2**22, received_us=number)
    assert [flush_once(spool, store).more_waits for _ in range(2)] == [True, False]  # type: ignore[arg-type]
    assert store.routes() == ["/1", "/2"]


def test_a_second_owner_of_the_folder_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(SpoolLockedError, match="TIDEGAUGE_DATA"):
        Spool(tmp_path)
    spool.close()


def test_the_quota_is_a_setting_and_one_that_holds_no_batch_is_refused() -> None:
    assert read_settings({"TIDEGAUGE_SPOOL_MB": "64"}).spool_bytes == 64 * 1024 * 1024
    for text in ("8", "-1", "64MB"):
        with pytest.raises(SettingsError, match="TIDEGAUGE_SPOOL_MB: expected a whole number from 16"):
            read_settings({"TIDEGAUGE_SPOOL_MB": text})
