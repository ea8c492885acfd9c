"""The command: what it says and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tidegauge.cli import app
from tidegauge.part import Part, PartEvent
from tidegauge.stack_directory import StackDirectory
from tidegauge.up import Screen


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    for name in [name for name in os.environ if name.startswith("TIDEGAUGE_")]:
        monkeypatch.delenv(name)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_help_has_an_example_for_each_command_of_the_stack(run):
    for words in ((), ("up",), ("status",)):
        result = run(*words, "--help")
        assert result.exit_code == 0
        assert "Example" in result.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys, tidegauge.cli as c; c.mount_packages(c.app); "
        "heavy = {'numpy', 'pandas', 'streamlit', 'clickhouse_connect', 'psycopg', 'fastapi', 'locust', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"


def test_an_unknown_option_is_misuse(run):
    assert run("up", "--fast").exit_code == 2


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_missing_configuration_is_one_line_and_misuse(run, tmp_path, monkeypatch, command):
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(tmp_path / "none.yaml"))
    result = run(command, "--data", str(tmp_path / "data"))
    assert result.exit_code == 2
    assert result.stderr == (
        f"tidegauge: {tmp_path}/none.yaml: no such file: name the configuration with --config or TIDEGAUGE_CONFIG\n"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_wrong_configuration_is_told_before_anything_is_started(run, tmp_path, monkeypatch, command):
    config, data = tmp_path / "tidegauge.yaml", tmp_path / "data"
    config.write_text("version: 2\nservices: {}\n")
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(config))
    result = run(command, "--data", str(data))
    assert (result.exit_code, data.exists()) == (2, False)
    assert result.stderr.startswith(f"tidegauge: {config}:1: version: expected 1")


def test_a_bad_clock_is_misuse(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEGAUGE_CLOCK", "soon")
    result = run("up", "--data", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.startswith("tidegauge: TIDEGAUGE_CLOCK: expected")


def test_status_where_nothing_runs_says_so_and_fails(run, tmp_path):
    result = run("status", "--data", str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, f"No stack runs in {tmp_path}.\n")


def test_status_does_not_believe_a_killed_supervisors_last_words(run, tmp_path):
    part = {"name": "app", "state": "ready", "pid": 4711, "born": 1.0, "ports": [], "url": "", "restarts": 0}
    (tmp_path / "stack.json").write_text(json.dumps({"supervisor": 1, "parts": [part]}))
    (tmp_path / "lock").write_text("1\n")  # nobody holds it
    result = run("status", "--json", "--data", str(tmp_path))
    seen = json.loads(result.stdout)
    assert (result.exit_code, seen["supervisor"], seen["parts"][0]["state"]) == (1, None, "stopped")


def test_status_of_a_running_stack_is_done_when_every_part_is_ready(run, tmp_path):
    part = {"name": "app", "state": "ready", "pid": 1, "ports": [{"number": 8000}], "url": "http://x", "restarts": 2}
    directory = StackDirectory(tmp_path)
    directory.hold()
    try:
        directory.write_state({"parts": [part, {**part, "name": "prepare", "state": "done"}]})
        ready = run("status", "--data", str(tmp_path))
        directory.write_state({"parts": [{**part, "state": "restarting"}]})
        broken = run("status", "--data", str(tmp_path))
    finally:
        directory.release()
    assert (ready.exit_code, broken.exit_code) == (0, 1)
    assert f"supervisor pid {os.getpid()}" in ready.stdout
    assert "port 8000" in ready.stdout


def test_the_version_is_that_of_the_distribution(run):
    assert run("version").stdout.strip()[0].isdigit()


def test_without_a_terminal_each_change_is_one_plain_line():
    lines: list[str] = []
    screen = Screen(write=lines.append, is_terminal=False)
    part = Part("collector", ["x"], url="http://127.0.0.1:9400")
    with screen.of([part]):
        screen.hear(PartEvent(part, "starting", 0))
        screen.hear(PartEvent(part, "starting", 0, "pid 12"))
        screen.hear(PartEvent(part, "ready", 0))
        screen.hear(PartEvent(part, "restarting", 1, "was ended by SIGKILL; again in 0.2 s"))
    assert [" ".join(line.split()) for line in lines] == [
        "collector starting",
        "collector ready http://127.0.0.1:9400",
        "collector restarting (was ended by SIGKILL; again in 0.2 s)",
    ]
