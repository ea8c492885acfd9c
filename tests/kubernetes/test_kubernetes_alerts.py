"""What decisions have to tell people, over the wire: forecaster, collector and a receiver are processes and servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector.clickhouse import ClickHouseSettings, connect
from forecaster import store
from forecaster.store import StoredBacktest
from tests.integration.collector_fixtures import start_collector
from tests.integration.receiver_fixtures import ScriptedReceiver, scripted_receiver
from tests.integration.store_fixtures import store_url
from tests.integration.wave_fixtures import SERVICE, import_wave
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.cluster_fixtures import Shop, deployed
from tests.kubernetes.forecaster_fixtures import CONFIG, ForecasterProcess, forecaster_of, starting_pods, until
from tidegauge.clock import clock_from_environment

__all__ = ["store_url"]
pytestmark = [pytest.mark.server, pytest.mark.timeout(1500)]

SPEED = 20  # a minute is three seconds: the collector looks every five, the forecaster decides every six
RECEIVER = """\
alerts:
  receivers:
    - {{name: own, kind: webhook, url: "{url}", secret_env: HOOK_SECRET, allow_networks: [127.0.0.0/8]}}
"""


@dataclass
class Watched:
    """An app under watch, and what people are told of it."""

    shop: Shop
    forecaster: ForecasterProcess
    collector: httpx.Client
    hook: ScriptedReceiver

    def phase(self, name: str) -> str | None:
        """The phase of an alert of the service, None when there is none."""
        alerts = self.collector.get("/v1/alerts").json()["alerts"]
        return next((one["phase"] for one in alerts if (one["service"], one["name"]) == (SERVICE, name)), None)

    def received(self, name: str) -> list[str]:
        """What the receiver was told of an alert: firing, resolved."""
        bodies = [json.loads(each.body) for each in self.hook.received]
        alerts: list[dict[str, Any]] = [alert for body in bodies for alert in body["alerts"]]
        return [alert["status"] for alert in alerts if alert["labels"]["alertname"] == name]

    def until_told(self, name: str, *statuses: str) -> None:
        """Wait until the receiver was told this of an alert, in this order, and the collector says the same."""
        until(lambda: self.received(name) == [*statuses], what=f"{name} {statuses}", log=self.forecaster.log)
        assert self.phase(name) == statuses[-1]

    def decision(self) -> dict[str, Any]:
        answer = self.forecaster.ask("GET", f"/v1/services/{SERVICE}/decisions?limit=1")
        assert answer is not None
        found: dict[str, Any] = answer.json()["decisions"][0]
        return found


@pytest.fixture
def watched(memory_cluster: Cluster, store_url: str, tmp_path: Path) -> Iterator[Watched]:
    folder, real = tmp_path, time.time()  # nothing is shared, so that a second run of a test begins anew
    clock = f"{real - 6 * 3600}:{real}:{SPEED}"  # outlasts the test, and the store keeps conditions a week
    told = {"TIDEGAUGE_CLICKHOUSE_URL": store_url, "TIDEGAUGE_CLOCK": clock}
    client = connect(ClickHouseSettings(url=store_url))
    now = clock_from_environment(told).now()
    began = import_wave(client, now=now, speed=SPEED)
    store.write_backtest(client, StoredBacktest(SERVICE, now, True, began, now, {"reason": "better"}))
    client.close()
    with scripted_receiver() as hook:
        shop = deployed(memory_cluster)
        shop.edit({"spec": {"maxReplicas": 4}})  # the wave needs six
        shop.hand_over()
        config = CONFIG.format(service=SERVICE, namespace=shop.namespace) + RECEIVER.format(url=hook.url)
        secret = {"HOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}
        collector = start_collector(folder / "collector", store_url, environment={**told, **secret}, config_text=config)
        more = {"TIDEGAUGE_COLLECTOR_URL": collector.url, "TIDEGAUGE_FORECAST_REFRESH": "2m"}
        try:
            with (
                starting_pods(shop),
                forecaster_of(shop, folder / "forecaster", store=told, clock=clock, **more) as forecaster,
                httpx.Client(base_url=collector.url, timeout=30) as http,
            ):
                collector.wait_until_alive()
                forecaster.start()
                yield Watched(shop, forecaster, http, hook)
        finally:
            collector.kill()


def test_a_peak_beyond_the_ceiling_is_told_ahead_and_is_over_when_the_operator_makes_room(watched: Watched) -> None:
    watched.until_told("scaling-ceiling-breach", "firing")
    [alert] = [one for one in watched.collector.get("/v1/alerts").json()["alerts"] if "ceiling" in one["name"]]
    assert "demand passes the 4 replicas of the ceiling from" in alert["summary"]

    watched.shop.edit({"spec": {"maxReplicas": 20}})

    watched.until_told("scaling-ceiling-breach", "firing", "resolved")


def test_a_floor_set_back_twice_is_left_alone_and_people_are_told(watched: Watched) -> None:
    shop = watched.shop
    body = {"who": "ann", "reason": "it was right", "mode": "act"}

    def ordered() -> bool:
        answer = watched.forecaster.ask("POST", f"/v1/services/{SERVICE}/mode", body)
        return answer is not None and answer.status_code == 200

    until(ordered, what="an order taken", log=watched.forecaster.log)
    for _ in range(2):
        until(lambda: shop.floor() > 3, what="a raised floor", log=watched.forecaster.log)
        until(lambda: watched.phase("scaling-blocked") != "firing", what="it is not held", log=watched.forecaster.log)
        shop.edit({"spec": {"minReplicas": 3}}, manager="argocd-controller")
        told = watched.received("scaling-blocked").count("firing")
        until(lambda told=told: watched.received("scaling-blocked").count("firing") > told, what="seen it held")
        shop.hand_over()

    watched.until_told("scaling-reverted", "firing")
    until(lambda: "observing, nothing is applied" in str(watched.decision()["reasons"]), what="a decision without us")

    assert shop.floor() == 3
    assert shop.hpa()["metadata"]["annotations"]["tidegauge.dev/operator-floor"] == "3"
