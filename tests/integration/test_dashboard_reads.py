"""What the dashboard asks the stores beyond what others do, on a real store."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from collector.catalog import Slo
from collector.clickhouse import ClickHouseSettings, Client, connect
from collector.record.store import read_red, read_red_totals
from collector.record.traffic import read_traffic
from collector.slo.store import read_sli_series
from forecaster import store
from forecaster.store import ReplicaState
from tests.integration.dashboard_fixtures import MINUTE, create_tables
from tests.integration.store_fixtures import shared_store_url
from tests.integration.test_collector_store import NOW, store_requests
from tests.unit.forecaster_fakes import HPA, a_decision, a_stored

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server
MONTH = timedelta(days=30)


@pytest.fixture
def client(shared_store_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=shared_store_url, database="t_" + request.node.name[:40]))
    create_tables(client)
    yield client
    client.close()


def test_an_sli_per_step_counts_as_the_slo_does_and_leaves_out_steps_without_requests(client: Client) -> None:
    store_requests(client, [NOW] * 9, token="fast", duration_us=1_000_000)
    store_requests(client, [NOW] * 3, token="slow", duration_us=3_000_000)
    store_requests(client, [NOW] * 4, token="refused", status=503)
    store_requests(client, [NOW] * 5, token="elsewhere", route="/b", duration_us=9_000_000)
    store_requests(client, [NOW + 20 * MINUTE] * 2, token="later", duration_us=1_000_000)
    fast = Slo("fast", "latency", 0.95, MONTH, threshold=timedelta(seconds=2), route="/a")
    available = Slo("available", "availability", 0.99, MONTH)

    def series(slo: Slo, step: timedelta) -> list[list[object]]:
        frame = read_sli_series(client, "shop", slo, since=NOW, until=NOW + timedelta(hours=1), step=step)
        return frame[["ds", "valid", "good"]].to_numpy().tolist()

    # A refusal is no answer; what was slow is valid and not good.
    assert series(fast, 5 * MINUTE) == [[NOW, 12, 9], [NOW + 20 * MINUTE, 2, 2]]
    assert series(fast, timedelta(hours=1)) == [[NOW, 14, 11]]  # from the hours
    assert series(available, timedelta(hours=1)) == [[NOW, 23, 19]]
    with pytest.raises(ValueError, match="whole minutes"):
        series(fast, timedelta(seconds=30))


def test_totals_take_their_quantiles_from_all_requests_of_the_range(client: Client) -> None:
    # 90 of 100 requests are 2^10 us, 10 in another minute 2^12 us: the p95 of all is 2^12, of the first minute 2^10.
    store_requests(client, [NOW] * 90, token="a", duration_us=1024)
    store_requests(client, [NOW + MINUTE] * 10, token="b", duration_us=4096, status=500, region="us")

    whole = read_red_totals(client, "shop", since=NOW, until=NOW + timedelta(hours=1)).iloc[0]
    days = read_red_totals(client, "shop", since=NOW - timedelta(days=5), until=NOW + timedelta(hours=1), by="region")

    assert (whole["requests"], whole["errors"], whole["p95_seconds"]) == (100, 10, 0.004096)
    assert dict(zip(days["region"], days["requests"], strict=True)) == {"eu": 90, "us": 10}
    assert read_red_totals(client, "nobody", since=NOW, until=NOW + MINUTE, by="route").empty


def test_a_page_of_traffic_says_the_same_as_its_four_parts_asked_alone(client: Client) -> None:
    step, wide = 5 * MINUTE, 15 * MINUTE
    since, until = NOW + step, NOW + 30 * MINUTE  # NOW is a multiple of wide, since is not
    store_requests(client, [NOW] * 3, token="before", duration_us=1024)
    store_requests(client, [NOW + step] * 90, token="a", duration_us=1024)
    store_requests(client, [NOW + 21 * MINUTE] * 10, token="b", duration_us=4096, status=500, route="/b", region="us")

    found = read_traffic(client, "shop", since=since, until=until, step=step, band_step=wide, by="route")
    of_us = read_traffic(client, "shop", since=since, until=until, step=step, band_step=wide, by="route", region="us")

    pd.testing.assert_frame_equal(
        found.by_step, read_red(client, "shop", since=since, until=until, step=step, by="route")
    )
    pd.testing.assert_frame_equal(found.whole, read_red(client, "shop", since=since, until=until, step=step))
    pd.testing.assert_frame_equal(found.totals, read_red_totals(client, "shop", since=since, until=until, by="route"))
    assert found.totals[["route", "requests", "errors"]].to_numpy().tolist() == [["/a", 90, 0], ["/b", 10, 10]]
    # 2^10 us ends the band of half a doubling that begins at 2^9.5 us; the first band is whole, from NOW on.
    bands = found.bands[["ds", "high_ms", "requests"]].to_numpy().tolist()
    assert bands == [[NOW, 1.024, 93], [NOW + wide, 4.096, 10]]
    assert found.bands["low_ms"].tolist() == pytest.approx([1.024 / 2**0.5, 4.096 / 2**0.5])
    assert of_us.by_step[["route", "requests"]].to_numpy().tolist() == [["/b", 10]]
    assert read_traffic(client, "nobody", since=since, until=until, step=step, band_step=wide, by="route").bands.empty
    with pytest.raises(ValueError, match="multiples of"):
        read_traffic(client, "shop", since=since + MINUTE, until=until, step=step, band_step=wide, by="route")


def test_only_changes_are_read_when_only_they_are_asked_for(client: Client) -> None:
    for number, floor in enumerate((2, 5, 2)):  # the fakes' floor is 2 before: kept, raised, kept
        at = NOW + number * MINUTE
        store.write_decision(client, a_stored(replace(a_decision(floor), at=at), id=f"d{number}"))

    assert [stored.id for stored in store.read_decisions(client, "shop", changes_only=True)] == ["d1"]
    assert [stored.id for stored in store.read_decisions(client, "shop")] == ["d2", "d1", "d0"]


def test_the_last_state_of_each_step_is_read_in_order(client: Client) -> None:
    states = [ReplicaState("shop", NOW + n * MINUTE, replace(HPA, ready=n + 1), None) for n in range(7)]
    store.write_replica_states(client, states)

    def ready(step: timedelta | None) -> list[int]:
        frame = store.read_replica_states(client, "shop", since=NOW, until=NOW + timedelta(hours=1), step=step)
        return [int(value) for value in frame["ready"]]

    assert ready(None) == [1, 2, 3, 4, 5, 6, 7]
    assert ready(5 * MINUTE) == [5, 7]  # minutes 0..4, and what there is of 5..9
