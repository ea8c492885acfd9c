"""The DDL of one store and of a cluster against golden files; TIDEGAUGE_UPDATE_GOLDEN=1 writes them anew."""

import os
from pathlib import Path

import pytest

import forecaster.store
from collector.clickhouse import StoreSettingsError, settings_from_environment
from collector.ddl import DdlError, changed_ttl, cluster_statements, kept_by, sharding_keys, statements_of
from collector.migrations import statements_for
from collector.record.store import READER_ROLE, SCHEMA_FOLDER

GOLDEN = Path(__file__).parent / "golden" / "schema"
FOLDERS = {"collector": SCHEMA_FOLDER, "forecaster": forecaster.store.SCHEMA_FOLDER}
MIGRATIONS = [(owner, path.name) for owner, folder in FOLDERS.items() for path in sorted(folder.glob("*.sql"))]


def check(name: str, statements: list[str]) -> None:
    path, text = GOLDEN / name, "".join(f"{statement};\n\n" for statement in statements)
    if os.environ.get("TIDEGAUGE_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path}: look at the DDL that TIDEGAUGE_UPDATE_GOLDEN=1 writes, and commit it"
    assert text == path.read_text()


@pytest.mark.parametrize(("owner", "name"), MIGRATIONS)
@pytest.mark.parametrize("cluster", [None, "main"])
def test_every_migration_makes_the_golden_statements(owner: str, name: str, cluster: str | None) -> None:
    folder = FOLDERS[owner]
    texts = [path.read_text() for path in sorted(folder.glob("*.sql")) if path.name <= name]
    kind = "cluster" if cluster else "one"
    statements = statements_for("tidegauge", cluster, texts[-1], keys_from=texts)
    check(f"{owner}/{name.removesuffix('.sql')}.{kind}.sql", statements)


def test_the_dashboards_role_is_the_golden_one() -> None:
    check("reader.sql", statements_of(READER_ROLE.read_text(), database="tidegauge"))


SERIES = "CREATE TABLE {database}.a (\n  x String, t DateTime\n) ENGINE = MergeTree ORDER BY (x, t);\n"


def test_a_view_on_a_cluster_reads_and_writes_the_tables_of_its_own_shard() -> None:
    text = "CREATE MATERIALIZED VIEW {database}.v TO {database}.b AS SELECT 1 FROM {database}.a;"
    assert cluster_statements(text, database="d", cluster="c", keys={}) == [
        "CREATE MATERIALIZED VIEW IF NOT EXISTS d.v ON CLUSTER 'c' TO d.b_local AS SELECT 1 FROM d.a_local"
    ]


def test_a_series_decides_the_shard_and_never_the_time_of_a_row() -> None:
    assert sharding_keys([SERIES]) == {"a": "cityHash64(x)"}
    assert sharding_keys([SERIES.replace("(x, t)", "(x, y, z, t)")]) == {"a": "cityHash64(x, y)"}
    assert sharding_keys(["-- shard by fingerprint\n" + SERIES]) == {"a": "cityHash64(fingerprint)"}
    with pytest.raises(DdlError, match="a: expected a sorting key that starts with a series"):
        sharding_keys([SERIES.replace("(x, t)", "t")])


def test_an_altered_table_is_distributed_anew() -> None:
    text = "ALTER TABLE {database}.a ADD COLUMN y String;"
    local, distributed = cluster_statements(text, database="d", cluster="c", keys=sharding_keys([SERIES]))
    assert local == "ALTER TABLE d.a_local ON CLUSTER 'c' ADD COLUMN y String"
    assert distributed.startswith("CREATE OR REPLACE TABLE d.a ON CLUSTER 'c' AS d.a_local ENGINE = Distributed('c',")


def test_a_statement_without_a_form_for_a_cluster_is_refused() -> None:
    with pytest.raises(DdlError, match="expected CREATE TABLE"):
        cluster_statements("INSERT INTO {database}.a VALUES (1);", database="d", cluster="c", keys={})


def test_the_retention_of_the_migrations_is_read_and_the_last_one_counts() -> None:
    kept = SERIES.replace(";\n", "\nTTL t + INTERVAL 8 DAY\nSETTINGS ttl_only_drop_parts = 1;\n")
    assert kept_by([kept, SERIES]) == {"a": (8, "Day")}
    assert kept_by([kept, "ALTER TABLE {database}.a MODIFY TTL t + INTERVAL 2 YEAR;"]) == {"a": (2, "Year")}


def test_a_ttl_changes_in_its_interval_only() -> None:
    made = "CREATE TABLE d.a (t DateTime) ENGINE = M ORDER BY x TTL toDateTime(t) + toIntervalDay(8) SETTINGS a = 1"
    assert changed_ttl(made, (8, "Day")) is None
    assert changed_ttl(made, (30, "Day")) == "toDateTime(t) + toIntervalDay(30)"
    assert changed_ttl(made, (3, "Year")) == "toDateTime(t) + toIntervalYear(3)"


def test_retention_and_cluster_are_settings() -> None:
    environ = {"TIDEGAUGE_RETENTION": "request_events=14d, red_1m=400d", "TIDEGAUGE_CLICKHOUSE_CLUSTER": "main"}
    settings = settings_from_environment(environ)
    assert (dict(settings.retention_days), settings.cluster) == ({"request_events": 14, "red_1m": 400}, "main")
    for text in ("request_events", "request_events=7d", "request_events=2w", "x=9d,"):
        with pytest.raises(StoreSettingsError, match="TIDEGAUGE_RETENTION: expected table=days"):
            settings_from_environment({"TIDEGAUGE_RETENTION": text})
    with pytest.raises(StoreSettingsError, match="TIDEGAUGE_CLICKHOUSE_CLUSTER"):
        settings_from_environment({"TIDEGAUGE_CLICKHOUSE_CLUSTER": "a'b"})
