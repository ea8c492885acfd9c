"""Settings, secrets, and who gets to know what."""

from __future__ import annotations

import stat

import pytest

from tidegauge.clock import Clock
from tidegauge.part import StackError
from tidegauge.settings import StackSettings, common_environment, read_secrets, read_settings
from tidegauge.stack import StackOf


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch):
    for name in StackSettings.model_fields:
        monkeypatch.delenv(f"TIDEGAUGE_{name.upper()}", raising=False)


def test_the_ports_are_those_that_the_architecture_names():
    ports = {name: value for name, value in StackSettings().model_dump().items() if name.endswith("_port")}
    assert ports == {
        "clickhouse_port": 8123, "postgres_port": 15432, "valkey_port": 16379, "collector_port": 9400,
        "forecaster_port": 9401, "loadgen_port": 9402, "app_port": 8000, "edge_port": 8001, "cluster_port": 8010,
        "jobs_port": 8020,
        "dashboard_port": 8501,
    }  # fmt: skip
    assert StackSettings().replica.port == 15433


def test_the_command_line_stands_above_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TIDEGAUGE_DATA", "/elsewhere")
    monkeypatch.setenv("TIDEGAUGE_APP_PORT", "8080")
    settings = read_settings(data=tmp_path)
    assert (settings.data, settings.app_port) == (tmp_path.resolve(), 8080)


def test_every_bad_setting_is_named_with_what_came(monkeypatch):
    monkeypatch.setenv("TIDEGAUGE_APP_PORT", "eighty")
    monkeypatch.setenv("TIDEGAUGE_VALKEY_PORT", "70000")
    with pytest.raises(StackError) as raised:
        read_settings()
    assert "TIDEGAUGE_APP_PORT: " in str(raised.value)
    assert "got 'eighty'" in str(raised.value)
    assert "TIDEGAUGE_VALKEY_PORT: " in str(raised.value)


def test_secrets_are_made_once_differ_and_are_their_owners_alone(tmp_path):
    made = read_secrets(tmp_path)
    assert read_secrets(tmp_path) == made
    values = [made.postgres, made.replication, made.reference_app, made.valkey]
    assert len(set(values)) == 4
    assert min(len(value) for value in values) >= 32
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert not [value for value in values if value in repr(made)]


@pytest.mark.parametrize("text", ["", "[]", '{"postgres": "x"}'])
def test_a_file_that_holds_no_secrets_of_ours_is_refused_by_name(tmp_path, text):
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(StackError, match=r"secrets\.json: expected a JSON object with postgres, replication"):
        read_secrets(tmp_path)


def test_only_parts_that_need_a_secret_get_it(tmp_path):
    known = read_secrets(tmp_path)
    stack = StackOf(StackSettings(data=tmp_path), known, Clock())
    knows = {
        part.name: {
            name for name in ("postgres", "replication", "reference_app", "valkey")
            if any(getattr(known, name) in value for value in part.environment.values())
        }
        for part in stack.everything()
    }  # fmt: skip
    databases = {"postgres", "replication", "reference_app"}
    assert {name: names for name, names in knows.items() if names} == {
        "postgres-primary": databases,
        **{f"postgres-{name}": databases for name in ("replica", "analytics", "profiles", "standby")},
        "valkey": {"valkey"},
        "collector": {"replication", "valkey"},  # its samplers
        "prepare": {"reference_app", "valkey"},
        "cluster": {"reference_app", "valkey"},
        "jobs": {"reference_app", "valkey"},
        "edge": {"valkey"},
    }
    values = {getattr(known, name) for name in ("postgres", "replication", "reference_app", "valkey")}
    assert not [word for part in stack.everything() for word in part.argv if word in values]


def test_a_part_gets_the_clock_and_the_wall_clock_clears_an_inherited_one():
    clock = Clock(start=10, real_start=20, speed=60)
    assert common_environment(StackSettings(), clock)["TIDEGAUGE_CLOCK"] == "10:20:60"
    assert common_environment(StackSettings(), Clock())["TIDEGAUGE_CLOCK"] == ""
