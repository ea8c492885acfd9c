"""The forecaster's own process scales a cluster by its own forecast, is killed again and again, and is followed.

One course of events, watched from its beginning by the API server: it runs on the real one where its programs are, else
on the one in memory. The clock is fast; leases, kills and the cluster itself are of real time.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import httpx
import pytest

from collector.clickhouse import ClickHouseSettings, Client, connect
from collector.record import store as record
from forecaster import store
from forecaster.loop.kube_lease import LEASE_SECONDS, NAME
from forecaster.store import StoredBacktest
from tests.integration.store_fixtures import shared_store_url
from tests.integration.wave_fixtures import REPLICA_RPS, SERVICE, SPEED, import_wave
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.cluster_fixtures import Shop, cluster_at_hand, deployed
from tests.kubernetes.forecaster_fixtures import ForecasterProcess, forecaster_of, starting_pods, until
from tidegauge.clock import clock_from_environment

__all__ = ["cluster_at_hand", "shared_store_url"]
pytestmark = [pytest.mark.server, pytest.mark.timeout(1500)]

OPERATORS_FLOOR = 3  # of the shipped HPA
KILLS = 2
FOLLOWED_WITHIN_SECONDS = 4 * LEASE_SECONDS  # it takes one and a little; the rest is for a machine that is busy
DATABASE = "t_kubernetes"


@dataclass(frozen=True)
class Seen:
    """Every version that the autoscaler had, and what else there is to say of a course that is over.

    replicas: that the Deployment was told to have when the first floor was raised.
    """

    versions: dict[str, dict[str, Any]]
    refused_without_backtest: str
    replicas: int
    followed_after_seconds: float
    followers_decisions: int
    exit_code: int
    lease_after: str
    client: Client

    @property
    def floors(self) -> list[int]:
        return [hpa["spec"]["minReplicas"] for hpa in self.versions.values()]


@pytest.fixture(scope="module")
def seen(cluster_at_hand: Cluster, shared_store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("scaled")
    client = connect(ClickHouseSettings(url=shared_store_url, database=DATABASE))
    real = time.time()
    clock = f"{real - 60 * 86_400}:{real}:{SPEED}"  # a window that outlasts the test
    told = {"TIDEGAUGE_CLICKHOUSE_URL": shared_store_url, "TIDEGAUGE_CLICKHOUSE_DATABASE": DATABASE}
    shop = deployed(cluster_at_hand)
    shop.hand_over()
    with (
        starting_pods(shop),
        forecaster_of(shop, folder / "first", store=told, clock=clock) as first,
        forecaster_of(shop, folder / "second", store=told, clock=clock) as second,
    ):
        now = clock_from_environment({"TIDEGAUGE_CLOCK": clock}).now()
        began = import_wave(client, now=now)
        record.write_capacity(
            client, record.Capacity(SERVICE, now, "", "load-test", REPLICA_RPS, REPLICA_RPS + 2.0, {})
        )
        yield course(shop, first, second, client, passed=StoredBacktest(SERVICE, now, True, began, now, {}))
    client.close()


def course(
    shop: Shop, first: ForecasterProcess, second: ForecasterProcess, client: Client, *, passed: StoredBacktest
) -> Seen:
    """Let the first act and be killed again and again, and then whoever leads be killed for good."""
    draw = random.Random(7)
    origin = version_of(shop)
    first.start()
    until(first.leads, what="the first leads", log=first.log)
    refused = order_act(first)
    store.write_backtest(client, passed)
    assert order_act(first).status_code == 200
    until(lambda: shop.floor() > OPERATORS_FLOOR, what="a raised floor", log=first.log)
    until(lambda: shop.replicas() > OPERATORS_FLOOR, what="a Deployment that follows")
    replicas = shop.replicas()
    second.start()
    for _ in range(KILLS):
        time.sleep(draw.uniform(0, 1.0))  # the point of the kill: anywhere in a tick
        first.kill()
        first.start()
        made = decisions(client)
        until(lambda made=made: decisions(client) > made, what="another decision", log=first.log)
    leader, follower = leader_and_follower(first, second)
    time.sleep(draw.uniform(0, 1.0))  # as above
    leader.kill()
    killed_at, made = time.monotonic(), decisions(client)
    holder = lease(shop)["holderIdentity"]
    until(lambda: lease(shop)["holderIdentity"] != holder, what="another holder", log=follower.log)
    after = time.monotonic() - killed_at
    until(lambda: decisions(client) > made, what="a decision by the follower", log=follower.log)
    exit_code = follower.stop()
    return Seen(
        versions=versions_since(shop, origin),
        refused_without_backtest=refused.json()["error"],
        replicas=replicas,
        followed_after_seconds=after,
        followers_decisions=decisions(client) - made,
        exit_code=exit_code,
        lease_after=lease(shop).get("holderIdentity") or "",
        client=client,
    )


def order_act(forecaster: ForecasterProcess) -> httpx.Response:
    """What `tidegauge scale mode reference-app act` asks."""
    body = {"who": "ann", "reason": "a month of recommendations was right", "mode": "act"}
    answer = forecaster.ask("POST", f"/v1/services/{SERVICE}/mode", body)
    assert answer is not None
    return answer


def leader_and_follower(*both: ForecasterProcess) -> tuple[ForecasterProcess, ForecasterProcess]:
    """Wait until both have their store, and one of them leads: who was slow to rise may have been followed already."""
    for each in both:
        until(lambda each=each: each.ask("GET", "/readyz") is not None, what="ready", log=each.log)
    until(lambda: any(each.leads() for each in both), what="a leader")
    first, second = both
    return (first, second) if first.leads() else (second, first)


def version_of(shop: Shop) -> str:
    return str(shop.hpa()["metadata"]["resourceVersion"])


def lease(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop.cluster.ask("GET", f"/apis/coordination.k8s.io/v1/namespaces/tidegauge/leases/{NAME}")[
        "spec"
    ]
    return found


def versions_since(shop: Shop, version: str) -> dict[str, dict[str, Any]]:
    """Return every version that the autoscaler has had since one, in order: what a watch tells."""
    collection = shop.hpa_path.rpartition("/")[0]
    query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "5"}
    with shop.cluster._http.stream("GET", collection, params=query, headers=shop.cluster.known_by) as lines:
        told = [json.loads(line)["object"] for line in lines.iter_lines() if line]
    return {each["metadata"]["resourceVersion"]: each for each in told}


def decisions(client: Client) -> int:
    """Return how many decisions are stored; on a machine so busy that its forecasts are stale they say just that."""
    [(count,)] = client.query_rows("SELECT count() FROM decisions")
    return int(count)


def test_act_is_refused_until_the_policy_has_passed_its_backtest(seen: Seen) -> None:
    why = "expected a passed `tidegauge backtest policy reference-app`, but none was run"
    assert why in seen.refused_without_backtest


def test_its_own_forecast_raises_the_floor_and_the_deployment_follows(seen: Seen) -> None:
    print("floors:", [floor for floor, _ in groupby(seen.floors)])
    assert max(seen.floors) > OPERATORS_FLOOR  # with which it began
    assert seen.replicas > OPERATORS_FLOOR


def test_killed_at_any_moment_it_never_leaves_a_floor_under_the_operators(seen: Seen) -> None:
    assert min(seen.floors) >= OPERATORS_FLOOR
    annotations = [hpa["metadata"].get("annotations") or {} for hpa in seen.versions.values()]
    assert {said.get("tidegauge.dev/operator-floor") for said in annotations} <= {None, str(OPERATORS_FLOOR)}


def test_whoever_leads_is_followed_when_its_lease_has_run_out_and_the_follower_acts(seen: Seen) -> None:
    print(f"followed {seen.followed_after_seconds:.1f} s after the kill; the lease is of {LEASE_SECONDS} s")
    assert seen.followed_after_seconds < FOLLOWED_WITHIN_SECONDS
    assert seen.followers_decisions > 0


def test_a_forecaster_that_is_told_to_stop_gives_the_lease_away(seen: Seen) -> None:
    assert (seen.exit_code, seen.lease_after) == (0, "")


AUDITED = ("forecast_id", "forecast_origin", "model", "quantile", "capacity_id", "capacity_source", "floor_before",
           "floor_after", "floor_wanted", "guardrails", "reasons", "actor", "mode", "operator_floor", "lead_seconds",
           "resource_version")  # fmt: skip


def test_the_row_of_a_change_says_what_it_rested_on_and_the_version_that_it_made(seen: Seen) -> None:
    rows = seen.client.query_rows(
        f"SELECT id, {', '.join(AUDITED)} FROM decisions WHERE applied = 1 ORDER BY decided_at"
    )
    forecasts = {id_ for (id_,) in seen.client.query_rows("SELECT DISTINCT id FROM forecasts")}
    assert rows
    print("a change:", dict(zip(AUDITED, rows[0][1:], strict=True)))
    for id_, *values in rows:
        row = dict(zip(AUDITED, values, strict=True))
        version = seen.versions[row["resource_version"]]
        assert version["spec"]["minReplicas"] == row["floor_after"], row
        assert row["forecast_id"] in forecasts
        assert (row["actor"], row["mode"], row["operator_floor"]) == ("tidegauge", "act", OPERATORS_FLOOR)
        assert row["capacity_id"].startswith("load-test/@")
        assert row["reasons"]
        assert row["guardrails"] or row["floor_after"] == row["floor_wanted"], row
        patches = seen.client.query_rows(
            "SELECT floor_before, floor_after, resource_version, applied, actor FROM floor_patches"
            " WHERE decision_id = {id:String}", {"id": id_},
        )  # fmt: skip
        assert patches == [(row["floor_before"], row["floor_after"], row["resource_version"], 1, "tidegauge")]


def test_what_came_at_the_lead_is_written_beside_the_change(seen: Seen) -> None:
    outcomes = seen.client.query_rows(
        "SELECT demand_rps, replicas_needed, floor_enough FROM decision_outcomes"
        " WHERE decision_id IN (SELECT id FROM decisions WHERE applied = 1) AND demand_rps IS NOT NULL"
    )
    assert outcomes
    for demand_rps, needed, enough in outcomes:  # how many were ready nobody knows while it was dead
        assert needed == math.ceil(demand_rps * SPEED / REPLICA_RPS - 1e-6)
        assert enough in (0, 1)
