from pathlib import Path

import pytest

from collector.clickhouse import MigrationError, StoreSettingsError, settings_from_environment
from collector.ddl import statements_of
from collector.migrations import migration_files


def test_the_password_is_never_shown() -> None:
    settings = settings_from_environment({"TIDEGAUGE_CLICKHOUSE_PASSWORD": "geheim"})
    assert settings.password == "geheim"
    assert "geheim" not in repr(settings)


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(StoreSettingsError) as refusal:
        settings_from_environment({"TIDEGAUGE_CLICKHOUSE_URL": "http://u:geheim@h:1"})
    assert "geheim" not in str(refusal.value)


def test_the_embedded_store_is_asked_on_the_port_that_was_set_for_it() -> None:
    assert settings_from_environment({}).url == "http://127.0.0.1:8123"
    moved = {"TIDEGAUGE_CLICKHOUSE_PORT": "8124"}
    assert settings_from_environment(moved).url == "http://127.0.0.1:8124"
    assert settings_from_environment({**moved, "TIDEGAUGE_CLICKHOUSE_URL": "http://h:1"}).url == "http://h:1"
    with pytest.raises(StoreSettingsError, match="TIDEGAUGE_CLICKHOUSE_PORT: expected a port, got 'x'"):
        settings_from_environment({"TIDEGAUGE_CLICKHOUSE_PORT": "x"})


@pytest.mark.parametrize("name", ["a-b", "a b", "a;drop", "1a"])
def test_a_database_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(StoreSettingsError, match="TIDEGAUGE_CLICKHOUSE_DATABASE"):
        settings_from_environment({"TIDEGAUGE_CLICKHOUSE_DATABASE": name})


def test_statements_are_split_filled_and_made_repeatable() -> None:
    text = (
        "-- why; not\nCREATE TABLE {database}.a (\n  -- a comment;\n  x String -- kept\n);\n\n"
        "CREATE MATERIALIZED VIEW {database}.b TO c AS SELECT 1;"
    )
    assert statements_of(text, database="d") == [
        "CREATE TABLE IF NOT EXISTS d.a (\n  x String -- kept\n)",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS d.b TO c AS SELECT 1",
    ]


def test_a_migration_without_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "first.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="0001_record"):
        migration_files(tmp_path)
