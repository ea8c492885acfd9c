"""`tidegauge import` and `tidegauge slo status` as a user runs them, on a real store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collector.commands import mount
from tests.integration.collector_fixtures import CATALOG
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


def invoke(arguments: list[str], url: str, config: Path) -> tuple[int, str, str]:
    app = typer.Typer()
    mount(app)
    config.write_text(CATALOG)
    environment = {
        "TIDEGAUGE_CLICKHOUSE_URL": url,
        "TIDEGAUGE_CLICKHOUSE_DATABASE": "commands",
        "TIDEGAUGE_CONFIG": str(config),
    }
    result = CliRunner().invoke(app, arguments, env=environment)
    return result.exit_code, result.stdout, result.stderr


def test_a_file_is_imported_told_and_shifted(shared_store_url: str, tmp_path: Path) -> None:
    file, config = tmp_path / "old.csv", tmp_path / "tidegauge.yaml"
    file.write_text("timestamp,value\n1998-05-01T00:00:00Z,60\n1998-05-01T00:01:00Z,120\n1998-05-01T00:04:00Z,60\n")
    code, _, errors = invoke(["import", str(file), "--service", "shop"], shared_store_url, config)
    assert code == 1
    assert "--shift-to-end-at" in errors
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    arguments = ["import", str(file), "--service", "shop", "--shift-to-end-at", end.isoformat(), "--json"]
    code, output, _ = invoke(arguments, shared_store_url, config)
    told = json.loads(output)
    assert code == 0
    assert (told["rows"], told["step_seconds"], told["gaps"], told["missing_steps"], told["duplicates"]) == (
        3,
        60,
        1,
        2,
        0,
    )
    assert told["to"] == end.isoformat()


def test_a_malformed_line_ends_with_1_and_its_number(shared_store_url: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("timestamp,value\n2026-05-01T00:00:00Z,60\n2026-05-01T00:01:00Z,x\n")
    code, _, errors = invoke(["import", str(file), "--service", "shop"], shared_store_url, tmp_path / "t.yaml")
    assert code == 1
    assert "line 3: expected a number of at least 0, got 'x'" in errors


def test_slo_status_says_that_there_were_no_requests(shared_store_url: str, tmp_path: Path) -> None:
    code, output, _ = invoke(["slo", "status", "shop", "--json"], shared_store_url, tmp_path / "t.yaml")
    assert code == 0
    assert [(slo["name"], slo["sli"]) for slo in json.loads(output)["slos"]] == [("availability", None), ("fast", None)]
    code, output, _ = invoke(["slo", "status"], shared_store_url, tmp_path / "t.yaml")
    assert "availability: no valid requests; promised 0.99 over 30d" in output
    assert "measured at 1.92 s" in output


def test_an_unknown_service_is_refused(shared_store_url: str, tmp_path: Path) -> None:
    code, _, errors = invoke(["slo", "status", "nope"], shared_store_url, tmp_path / "t.yaml")
    assert code == 1
    assert "known: shop" in errors
