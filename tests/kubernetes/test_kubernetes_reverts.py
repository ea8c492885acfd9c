"""Somebody sets our floor back twice, and the forecaster is restarted in between: on a store and a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.record import store as record
from forecaster import store
from forecaster.actuators.chosen import ByAddress
from forecaster.loop.look import look
from forecaster.loop.tick import decide_once
from forecaster.loop.world import Memory, World
from forecaster.scaling.policy import may_apply
from forecaster.scaling.types import Decision, Situation
from forecaster.settings import Settings
from tests.integration.store_fixtures import shared_store_url
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop
from tests.unit.forecaster_fakes import SCALING, SERVICE, a_decision
from tidegauge.clock import Clock

__all__ = ["cluster", "shared_store_url", "shop"]
pytestmark = pytest.mark.server


@pytest.fixture
def client(shared_store_url: str, shop: Shop) -> Iterator[Client]:
    database = "reverts_" + shop.namespace.replace("-", "_")
    client = connect(ClickHouseSettings(url=shared_store_url, database=database))
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    yield client
    client.close()


def to_nine(situation: Situation) -> Decision:
    assert situation.hpa is not None
    return a_decision(9, at=situation.now, floor_before=situation.hpa.floor)


def test_two_reverts_are_two_over_a_restart_and_one_that_is_seen_and_stored_is_one(client: Client, shop: Shop) -> None:
    scaling = replace(SCALING, kind="kubernetes", namespace=shop.namespace, name=shop.name)
    service = replace(SERVICE, scaling=scaling)

    def started() -> tuple[World, Memory]:
        actuator = shop.actuator()
        by_address = ByAddress({scaling.address: (actuator, shop.name)}, actuator)
        return World(client, Clock(), by_address, Settings()), Memory()

    def reverts(world: World, memory: Memory) -> int:
        found = look(world, service, memory).hpa
        assert found is not None
        return found.reverts

    world, memory = started()
    shop.hand_over()
    assert decide_once(world, service, memory, decide=to_nine).stored.applied
    shop.edit({"spec": {"minReplicas": 3}}, manager="argocd-controller")
    assert not decide_once(world, service, memory, decide=to_nine).stored.applied  # held: a patch that tells of it
    assert reverts(world, memory) == 1
    world, memory = started()
    decide_once(world, service, memory, decide=to_nine)
    assert reverts(world, memory) == 1  # the same one, seen on the object and told by the patches
    shop.hand_over()
    again = decide_once(world, service, memory, decide=to_nine).stored
    assert again.applied
    # The API server tells whole seconds: what comes in the same one cannot be told from what came before.
    shop.cluster.until(lambda: int(time.time()) > again.decision.at.timestamp())

    world, memory = started()
    decide_once(world, service, memory, decide=lambda seen: replace(to_nine(seen), apply=False))
    shop.edit({"spec": {"minReplicas": 3}}, manager="argocd-controller")

    assert reverts(world, memory) == 2
    said = may_apply(replace(look(world, service, memory), mode="act", backtest_passed=True))
    assert said == "another field manager has set our floor back 2 times: observing, nothing is applied"
