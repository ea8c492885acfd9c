"""A record brought back whole by `tidegauge backup` and `tidegauge restore`, and what they refuse."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from collector.backup import PARTS, BackupError, check_files, make_backup, read_manifest, restore_backup
from collector.clickhouse import ClickHouseSettings, connect, migrate
from collector.commands import mount
from collector.commands.backup import backup_statement
from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER
from collector.sources.spool import Spool
from tests.integration.store_fixtures import running_store
from tests.integration.store_schema import START_US

TABLES = (
    "SELECT (SELECT count() FROM request_events), (SELECT sum(requests) FROM red_1m),"
    " (SELECT sum(value) FROM demand_recorded)"
)


def run(arguments: list[str], data: Path) -> Any:
    app = typer.Typer()
    mount(app)
    environment = {"TIDEGAUGE_DATA": str(data), "TIDEGAUGE_CLICKHOUSE_MEMORY_BYTES": str(1 << 30)}
    return CliRunner().invoke(app, arguments, env=environment)


def fill_store(data: Path, *, token: str, events: int) -> None:
    with running_store(data) as url:
        client = connect(ClickHouseSettings(url=url))
        migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
        columns = {
            "ts": [START_US + number for number in range(events)],
            "service": ["shop"] * events,
            "route": ["/a"] * events,
            "status": [200] * events,
            "duration_us": [1000] * events,
        }
        client.insert_columns("request_events", columns, token=token)
        client.close()


@pytest.mark.server
def test_a_record_is_brought_back_whole_with_its_spool_and_outbox_and_its_memory_of_batches(tmp_path: Path) -> None:
    data, kept, back = tmp_path / "data", tmp_path / "kept", tmp_path / "back"
    fill_store(data, token="one", events=500)
    spool = Spool(data / "spool")
    spool.accept(str(uuid.UUID(int=7)), b'{"waits": 1}', received_us=7)
    refused = run(["backup", str(kept)], data)
    assert refused.exit_code == 1
    assert "stop its collector" in refused.stderr
    assert not kept.exists()
    spool.close()
    (data / "outbox").mkdir()
    (data / "outbox" / "outbox.sqlite3").write_bytes(b"messages")
    made = run(["backup", str(kept), "--json"], data)
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["rows"]["request_events"] == 500
    assert "expected a name that is not taken" in run(["backup", str(kept)], data).stderr
    shutil.rmtree(data)  # nothing of the first may be needed

    restored = run(["restore", str(kept)], back)
    assert restored.exit_code == 0, restored.stderr
    assert "found clickhouse, spool, outbox" in run(["restore", str(kept)], back).stderr
    assert (back / "outbox" / "outbox.sqlite3").read_bytes() == b"messages"
    spool = Spool(back / "spool")
    assert spool.state().batches == 1
    assert not spool.accept(str(uuid.UUID(int=7)), b"", received_us=8)
    spool.close()
    fill_store(back, token="one", events=500)  # the store knows the batch that it had before the backup
    with running_store(back) as url:
        client = connect(ClickHouseSettings(url=url))
        assert client.query_rows(TABLES) == [(500, 500, 500.0)]
        client.close()


def small_record(data: Path) -> None:
    for part in PARTS:
        (data / part / "deep").mkdir(parents=True)
        (data / part / "deep" / "file").write_text(part)
    (data / "clickhouse" / "link").symlink_to("deep")


def backed_up(tmp_path: Path) -> Path:
    small_record(tmp_path / "data")
    make_backup(tmp_path / "data", tmp_path / "kept", created_at="now", rows={"t": 3})
    return tmp_path / "kept"


def test_a_changed_a_missing_and_a_new_file_of_a_backup_are_found_before_anything_is_restored(tmp_path: Path) -> None:
    kept, back = backed_up(tmp_path), tmp_path / "back"
    file = kept / "spool" / "deep" / "file"
    for change, told in (
        (lambda: file.write_text("other"), "expected the content of the backup"),
        (file.unlink, "missing or new"),
        (lambda: (file.write_text("spool"), file.with_name("new").write_text("x")), "missing or new"),
    ):
        change()
        with pytest.raises(BackupError, match=told):
            restore_backup(kept, back, count_rows=lambda _: {"t": 3})
        assert not any((back / part).exists() for part in PARTS)


def test_fewer_rows_are_told_and_more_or_no_table_are_refused(tmp_path: Path) -> None:
    kept = backed_up(tmp_path)
    for found in ({"t": 4}, {}):
        with pytest.raises(BackupError, match="do not have the rows"):
            restore_backup(kept, tmp_path / "back", count_rows=lambda _, found=found: found)
    assert restore_backup(kept, tmp_path / "back", count_rows=lambda _: {"t": 1}) == {"t": (3, 1)}
    assert (tmp_path / "back" / "clickhouse" / "link").readlink() == Path("deep")


def test_a_restore_that_was_killed_between_two_renames_goes_on(tmp_path: Path) -> None:
    kept, back = backed_up(tmp_path), tmp_path / "back"
    shutil.copytree(kept, back / ".restore", symlinks=True)
    (back / ".restore" / "checked").write_text("{}")
    (back / ".restore" / "clickhouse").rename(back / "clickhouse")
    assert restore_backup(kept, back, count_rows=lambda _: {}) == {}
    assert sorted(path.name for path in back.iterdir()) == sorted(PARTS)


def test_what_a_killed_backup_left_is_no_backup_and_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".kept.partial" / "spool").mkdir(parents=True)
    (tmp_path / ".kept.partial" / "spool" / "torn").write_text("x")
    with pytest.raises(BackupError, match=r"expected a backup with its manifest\.json"):
        read_manifest(tmp_path / ".kept.partial")
    kept = backed_up(tmp_path)
    check_files(kept, read_manifest(kept))
    assert not (kept / "spool" / "torn").exists()


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackupError, match="expected a record"):
        make_backup(tmp_path / "empty", tmp_path / "kept", created_at="now", rows={})


@pytest.mark.server
def test_the_statements_for_a_server_are_taken_by_clickhouses_parser(tmp_path: Path) -> None:
    statements = [
        backup_statement("tidegauge", cluster, "Disk('backups', 'a.zip')", restores=restores)
        for cluster in (None, "main")
        for restores in (False, True)
    ]
    assert statements[0] == "BACKUP DATABASE tidegauge TO Disk('backups', 'a.zip')"
    assert statements[3] == "RESTORE DATABASE tidegauge ON CLUSTER 'main' FROM Disk('backups', 'a.zip')"
    with running_store(tmp_path) as url:
        client = connect(ClickHouseSettings(url=url, database="default"))
        for statement in statements:
            assert client.query_rows("SELECT formatQuery({statement:String})", {"statement": statement})[0][0]
        client.close()
