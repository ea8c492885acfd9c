"""`tidegauge spool list|retry|drop` on the spool of a running collector."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collector.clickhouse import ClickHouseSettings, connect
from collector.commands import mount
from collector.instrument import Event
from tests.integration.collector_fixtures import start_collector, until
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


def dead_letter(folder: Path) -> str:
    """Put a whole batch among the dead letters and return its name."""
    rows = [Event(ts_us=int(time.time() * 1e6), route="/dead", method="GET", status=200, duration_us=5)] * 3
    columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
    client = {"id": "c", "service": "shop", "generated_total": 3, "dropped_total": 0}
    batch_id = str(uuid.uuid4())
    path = folder / "spool" / "dead-letter" / f"{rows[0].ts_us:020d}-{batch_id}.json"
    path.write_text(json.dumps({"schema": 1, "batch_id": batch_id, "client": client, "columns": columns}))
    path.with_name(path.name + ".reason").write_text("refused by a test")
    return path.name


def test_dead_letters_are_listed_retried_once_and_dropped(shared_store_url: str, tmp_path: Path) -> None:
    collector = start_collector(tmp_path, shared_store_url)
    client = connect(ClickHouseSettings(url=shared_store_url))
    environment = {"TIDEGAUGE_DATA": str(tmp_path), "TIDEGAUGE_COLLECTOR_URL": collector.url}

    def run(*arguments: str) -> tuple[int, str]:
        app = typer.Typer()
        mount(app)
        result = CliRunner().invoke(app, ["spool", *arguments], env=environment)
        return result.exit_code, result.output

    try:
        collector.wait_until_alive("/readyz")
        name, other = dead_letter(tmp_path), dead_letter(tmp_path)
        listed = {each["name"]: each for each in json.loads(run("list", "--json")[1])["dead_letters"]}
        assert set(listed) == {name, other}
        assert (listed[name]["events"], listed[name]["reason"]) == (3, "refused by a test")
        assert run("retry", name)[0] == 0
        sql = "SELECT count() FROM request_events WHERE route = '/dead'"
        until(lambda: client.query_rows(sql) == [(3,)], why="the retried batch is stored")
        assert run("retry", name)[0] == 1  # it is no dead letter any more
        assert run("retry")[0] == 2
        assert run("drop", "--all") == (0, f"{other}: dropped\n")
        assert list((tmp_path / "spool" / "dead-letter").iterdir()) == []
    finally:
        client.close()
        collector.kill()
