"""What a sample costs on disk in the real store, whole tables, after their parts were merged."""

from __future__ import annotations

import time

import numpy as np
import pytest

from collector.clickhouse import ClickHouseSettings, connect, migrate
from collector.record.decimals import to_decimals
from collector.record.store import SCHEMA_FOLDER
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


def test_a_sample_costs_at_most_two_bytes(shared_store_url: str) -> None:
    """Scrapes every 15 s with +-8 ms of jitter for two days: 20 counters of requests, 20 gauges with two decimals."""
    client = connect(ClickHouseSettings(url=shared_store_url))
    migrate(client, SCHEMA_FOLDER, owner="collector")
    random, scrapes = np.random.default_rng(7), 2 * 86400 // 15
    end_ms = int(time.time()) * 1000
    try:
        for number in range(40):
            ts = end_ms - np.arange(scrapes, 0, -1) * 15_000 + random.integers(-8, 9, scrapes)
            if number % 2:
                values = np.cumsum(random.poisson(30, scrapes)).astype(float)
            else:
                values = np.round(50 + np.cumsum(random.normal(0, 0.3, scrapes)), 2)
            series = [int(random.integers(0, 2**63))] * scrapes
            decimals = to_decimals(series, values.tolist(), {})
            columns = {
                "series_id": series,
                "ts": ts.tolist(),
                "digits": decimals.digits,
                "scaled": decimals.scaled,
                "raw": decimals.raw,
            }
            client.insert_columns("samples", columns, token=f"cost/{number}")
        client.command("OPTIMIZE TABLE samples FINAL")
        sql = "SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE table = 'samples' AND active"
        size_bytes, rows = client.query_rows(sql)[0]
    finally:
        client.close()
    assert rows == 40 * scrapes
    print(f"{size_bytes / rows:.2f} bytes per sample")
    assert size_bytes / rows <= 2.0


def test_every_float_comes_back_as_it_was(shared_store_url: str) -> None:
    client = connect(ClickHouseSettings(url=shared_store_url))
    migrate(client, SCHEMA_FOLDER, owner="collector")
    values = [0.0, 0.1, 50.1, 50.12, -3.25, 1e-9, 1 / 3, 2.0**60, 2.0**53, 1e300, -1e-300, float("inf"), 1790000000.123]
    decimals = to_decimals([1] * len(values), values, {})
    columns = {
        "series_id": [1] * len(values),
        "ts": [int(time.time()) * 1000 + at for at in range(len(values))],
        "digits": decimals.digits,
        "scaled": decimals.scaled,
        "raw": decimals.raw,
    }
    try:
        client.insert_columns("samples", columns, token="floats")
        rows = client.query_rows("SELECT value FROM samples FINAL WHERE series_id = 1 ORDER BY ts")
    finally:
        client.close()
    assert [row[0] for row in rows] == values
