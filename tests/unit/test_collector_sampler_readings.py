"""What samplers read out of answers, and which settings they refuse without telling secrets."""

from __future__ import annotations

import pytest

from collector.samplers.process import (
    readings_of_databases,
    readings_of_metrics,
    readings_of_queries,
    readings_of_worker,
)
from collector.samplers.redis import readings_of
from collector.samplers.settings import read_sampler_settings


def test_a_replica_tells_only_what_it_knows() -> None:
    text = "process_cpu_seconds_total 3.5\nprocess_start_time_seconds 100\nother_total 9\n"
    (cpu,) = readings_of_metrics(text, "a")
    assert (cpu.name, cpu.value, cpu.kind, cpu.started_at) == ("process_cpu_seconds_total", 3.5, "counter", 100)
    known = {"target": "primary", "in_use": True, "lag_seconds": None, "lag_bytes": 7}
    found = list(readings_of_databases({"targets": [known], "missing_quarters": 1}, "a"))
    assert {each.name: each.value for each in found} == {
        "app_database_in_use": 1,
        "app_database_lag_bytes": 7,
        "app_partitions_missing": 1,
    }


def test_a_replica_tells_how_long_its_cache_took_to_forget_and_how_full_its_pools_are() -> None:
    name = "reference_app_invalidation_seconds"
    text = f'{name}_sum{{tier="l1"}} 0.5\n{name}_count{{tier="l1"}} 10\n'
    found = [(each.name, each.value, each.labels, each.kind) for each in readings_of_metrics(text, "a")]
    labels = {"tier": "l1", "instance": "a"}
    assert found == [
        (f"{name}_sum", 0.5, labels, "counter"),
        (f"{name}_count", 10, labels, "counter"),
    ]
    pool = {"pool_size": 8, "pool_available": 3, "requests_waiting": 2, "usage_ms": 9}
    known = {"target": "primary", "in_use": True, "lag_seconds": None, "lag_bytes": None, "pool": pool}
    told = {
        each.name: each.value for each in readings_of_databases({"targets": [known], "missing_quarters": None}, "a")
    }
    assert told == {"app_database_in_use": 1, "app_pool_size": 8, "app_pool_available": 3, "app_pool_waiting": 2}


def test_a_worker_tells_its_queues_and_nothing_of_its_cpu() -> None:
    text = (
        'reference_app_jobs{queue="mail",state="waiting"} 4\nreference_app_jobs_retried_total{queue="mail"} 2\n'
        "process_cpu_seconds_total 3.5\n"
    )
    found = [(each.name, each.value, each.labels, each.kind) for each in readings_of_worker(text, "w")]
    assert found == [
        ("reference_app_jobs", 4, {"queue": "mail", "state": "waiting"}, "gauge"),
        ("reference_app_jobs_retried_total", 2, {"queue": "mail", "instance": "w"}, "counter"),
    ]


def test_statements_come_from_the_driver_alone_and_in_seconds() -> None:
    statement = {"statement": "SELECT 1", "calls": 4, "mean_ms": 500, "total_ms": 2000.0, "max_ms": 900, "rows": 8}
    targets = [
        {"target": "primary", "source": "driver", "statements": [statement]},
        {"target": "replica", "source": "pg_stat_statements", "statements": [statement]},
    ]
    found = {each.name: each.value for each in readings_of_queries({"targets": targets}, "a")}
    assert found == {
        "app_statement_calls_total": 4,
        "app_statement_seconds_total": 2.0,
        "app_statement_rows_total": 8,
    }


def test_a_cache_without_a_field_gives_no_reading_of_it() -> None:
    found = {each.name: each.value for each in readings_of({"used_memory": 5, "db0": {"keys": 3}, "role": "x"}, {})}
    assert found == {"redis_used_memory_bytes": 5, "redis_keys": 3}


def test_nothing_is_sampled_unless_it_is_set() -> None:
    assert not read_sampler_settings({}).wanted
    found = read_sampler_settings({"TIDEGAUGE_SAMPLE_POSTGRES_URLS": "postgresql://u:secret@h/a  postgresql://h/b"})
    assert (found.wanted, len(found.postgres)) == (True, 2)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TIDEGAUGE_SAMPLE_REDIS_URLS", "redis://ok http://u:secret@h", "URL 2 is none"),
        ("TIDEGAUGE_SAMPLE_EVERY_SECONDS", "0.1", "from 1 to 3600, got '0.1'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_without_its_secret(name: str, value: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        read_sampler_settings({name: value})
    assert name in str(refused.value)
    assert "secret" not in str(refused.value)
