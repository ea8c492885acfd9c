"""The arithmetic of sizes, by hand."""

import pytest

from benchmarks.scale import Measured, Prices, Size, needs, without_a_shard

MEASURED = Measured(
    acknowledged_per_second=1000, stored_per_second=500, bytes_per_event=10, bytes_per_rollup_row=20,
    refresh_seconds_per_service=0.3, train_seconds_per_service=0.0, spool_bytes_per_event=100,
)  # fmt: skip
SIZE = Size(
    requests_per_second=1200, services=100, regions=2, combinations=10, raw_days=1, rollup_days=1, copies=2,
    refresh_every_seconds=300, spool_bytes=1_000_000,
)  # fmt: skip


def test_the_parts_disk_and_bill_of_a_size() -> None:
    found = needs(SIZE, MEASURED, Prices(two_cores_hour=1.0, disk_tb_month=0.0))
    # 600/s in each region at 60 % of 1000: one collector each. 1200 / (60 % of 500) = 4 shards.
    assert (found.collectors, found.shards, found.forecasters) == (2, 4, 1)
    # 1200/s x 86,400 s x 10 B x 2 copies; 100 services x 10 rows x 1,440 minutes x 20 B x 2.
    assert found.raw_tb == pytest.approx(1200 * 86_400 * 10 * 2 / 1e12)
    assert found.rollup_tb == pytest.approx(100 * 10 * 1440 * 20 * 2 / 1e12)
    # 2 collectors, 4 x 2 shards, a forecaster and one that stands by: 12 machines of 730 hours.
    assert found.bill_per_month == pytest.approx(12 * 730)
    # 100 services x 0.3 s every 300 s are a tenth of a CPU, of two.
    assert found.used["forecaster: CPU"] == pytest.approx(0.05)


def test_an_outage_fills_the_spools_and_they_empty_with_what_is_left_of_the_shards_speed() -> None:
    found = needs(SIZE, MEASURED, Prices())
    # The shard's share is 300/s; two spools hold 20,000 events. Away for 50 s: 15,000 wait, three quarters.
    outage = without_a_shard(SIZE, MEASURED, found, away_seconds=50)
    assert outage.fullest_spool_share == pytest.approx(0.75)
    assert outage.refused_share == 0
    # Then 500 - 300 = 200/s are left for the 15,000: 75 s.
    assert outage.empty_after_seconds == 75


def test_beyond_the_quota_events_are_refused_and_counted() -> None:
    found = needs(SIZE, MEASURED, Prices())
    # 100 s of 300/s are 30,000; 20,000 fit. When it is back 300 come and 500 go each second, and until the first have
    # gone the spool has no room for the 300 of that second.
    outage = without_a_shard(SIZE, MEASURED, found, away_seconds=100)
    assert outage.fullest_spool_share == 1.0
    assert outage.refused_share == pytest.approx((10_000 + 300) / 120_000, rel=0.01)
