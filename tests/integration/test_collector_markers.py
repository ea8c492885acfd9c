"""`tidegauge mark` on a running collector: what is said there is what the record's readers are told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collector.clickhouse import ClickHouseSettings, connect
from collector.commands import mount
from collector.record.store import excluded_spans
from tests.integration.collector_fixtures import start_collector
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


def test_marks_are_listed_replaced_and_exclude_time(shared_store_url: str, tmp_path: Path) -> None:
    collector = start_collector(tmp_path, shared_store_url)
    client = connect(ClickHouseSettings(url=shared_store_url))
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    end = start + timedelta(hours=1)

    def run(*arguments: str) -> tuple[int, str]:
        app = typer.Typer()
        mount(app)
        result = CliRunner().invoke(app, ["mark", *arguments], env={"TIDEGAUGE_COLLECTOR_URL": collector.url})
        return result.exit_code, result.output

    def excluded() -> list[tuple[datetime, datetime]]:
        return excluded_spans(client, "shop", since=start - timedelta(days=1), until=end + timedelta(days=1))

    work = ["maintenance", "--service", "shop", "--text", "database", "--start", start.isoformat()]
    try:
        collector.wait_until_alive("/readyz")
        assert run("deploy", "--service", "shop", "--text", "v7")[0] == 0
        assert run(*work, "--end", end.isoformat(), "--excludes-slo", "--masks-history")[0] == 0
        assert excluded() == [(start, end)]
        listed = json.loads(run("list", "--service", "shop", "--json")[1])
        assert [(each["kind"], each["excludes_slo"], each["masks_history"]) for each in listed] == [
            ("maintenance", True, True),
            ("deploy", False, False),
        ]
        assert run(*work, "--end", end.isoformat())[0] == 0  # the same again, asking for nothing
        assert excluded() == []
        assert run(*work, "--end", end.isoformat(), "--excludes-slo", "--masks-history")[0] == 0  # and back
        assert excluded() == [(start, end)]
        assert run(*work, "--excludes-slo")[0] == 2  # an instant excludes nothing
        assert run(*work, "--end", "yesterday")[0] == 2
        assert run("list", "--service", "nobody")[1].startswith("no markers of nobody")
    finally:
        client.close()
        collector.kill()
