"""Comparing runs, and listing and showing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from loadgen.commands import mount
from loadgen.runs.comparison import compare, two_proportions


def run_of(name: str, histogram: dict[str, int], failed: int = 0) -> dict[str, Any]:
    sent = sum(histogram.values())
    return {
        "run_id": name, "scenario": "s", "status": "finished", "started_at": f"2026-01-01T00:00:0{name[-1]}Z",
        "sent": sent, "failed": failed, "unsent": 0, "rps": 1.0, "response_histogram": histogram,
        "response_ms": {"p50": 1.0, "p95": None, "p99": None}, "verdict": {"status": "pass", "reasons": []},
    }  # fmt: skip


def test_the_z_test_is_the_textbooks() -> None:
    # 10 of 100 against 20 of 100: pooled 0.15, deviation sqrt(0.1275 * 0.02) = 0.0505, z = 1.980, two-sided p = 0.0477.
    assert two_proportions((10, 20), (100, 100)) == pytest.approx(0.0477, abs=1e-4)
    assert two_proportions((0, 0), (100, 100)) == 1.0
    assert two_proportions((0, 0), (0, 100)) is None


def test_a_slower_run_is_told_from_an_equal_one() -> None:
    fast, slow = {"80": 950, "160": 50}, {"80": 800, "160": 200}
    assert not any(one.significant for one in compare(run_of("a1", fast), run_of("a2", fast)))
    assert any(one.significant for one in compare(run_of("a1", fast), run_of("a2", slow)))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("TIDEGAUGE_DATA", str(tmp_path))
    for name, failed in (("a1", 0), ("a2", 100)):
        folder = tmp_path / "load" / name
        folder.mkdir(parents=True)
        (folder / "load.json").write_text(json.dumps(run_of(name, {"80": 1000}, failed)))
    made = typer.Typer()
    mount(made)
    return made


def test_runs_are_listed_shown_and_compared_by_name(app: typer.Typer) -> None:
    listed = CliRunner().invoke(app, ["load", "list"])
    assert listed.exit_code == 0
    assert listed.stdout.index("a2") < listed.stdout.index("a1")  # the newest first
    assert json.loads(CliRunner().invoke(app, ["load", "show", "a1"]).stdout)["run_id"] == "a1"
    compared = CliRunner().invoke(app, ["load", "compare", "a1", "a2"])
    assert "share failed" in compared.stdout
    assert "significant" in compared.stdout


def test_a_run_that_is_not_there_is_misuse(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["load", "show", "nothing"])
    assert result.exit_code == 2
    assert "expected a run" in result.stderr
