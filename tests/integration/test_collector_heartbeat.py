"""The dead man's switch of a real collector: told while alerts are evaluated, and left alone when they are not."""

from __future__ import annotations

import base64
import json
import signal
import time
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.integration.collector_fixtures import CATALOG, CollectorProcess, start_collector, until
from tests.integration.receiver_fixtures import Received, ScriptedReceiver, scripted_receiver
from tests.integration.store_fixtures import shared_store_url as shared_store_url
from tests.integration.store_fixtures import start_store
from tests.integration.test_collector_webhooks import KEY, is_signed
from tidegauge.clock import Clock

pytestmark = pytest.mark.server


def collector_with_switch(tmp_path: Path, store_url: str, switch: ScriptedReceiver) -> tuple[CollectorProcess, Clock]:
    """A collector of its own database, 60 times as fast as real time, that tells `switch` five times a second."""
    real = time.time()
    clock = Clock(start=real - 36000, real_start=real, speed=60)
    keys = "url_env: SWITCH, secret_env: SECRET, interval: 200ms, allow_networks: [127.0.0.0/8]"
    environment = {
        **clock.to_environment(),
        "TIDEGAUGE_CLICKHOUSE_DATABASE": "heartbeat",
        "SWITCH": switch.url,
        "SECRET": "whsec_" + base64.b64encode(KEY).decode(),
    }
    config = CATALOG + f"alerts:\n  heartbeat: {{{keys}}}\n"
    return start_collector(tmp_path, store_url, environment=environment, config_text=config), clock


def evaluated_at(beat: Received) -> datetime:
    return datetime.fromisoformat(json.loads(beat.body)["evaluated_at"])


def test_a_heartbeat_is_sent_signed_while_alerts_are_evaluated(shared_store_url: str, tmp_path: Path) -> None:
    with scripted_receiver(["500"]) as switch:
        collector, _ = collector_with_switch(tmp_path, shared_store_url, switch)
        try:
            until(lambda: len(switch.received) >= 3, why="heartbeats, also after one that was refused")
            assert all(is_signed(each) for each in switch.received)
            assert json.loads(switch.received[-1].body)["type"] == "tidegauge.heartbeat"
        finally:
            collector.kill()


def test_the_heartbeat_stops_when_a_store_that_hangs_lets_nothing_be_evaluated_and_comes_back_with_it(
    tmp_path: Path,
) -> None:
    store = start_store(tmp_path / "store")
    with scripted_receiver() as switch:
        collector, clock = collector_with_switch(tmp_path / "collector", store.url, switch)
        try:
            until(lambda: switch.received, why="a first heartbeat")
            store.process.send_signal(signal.SIGSTOP)
            stopped_at = clock.now()
            # It may beat for two minutes of the clock (2 s) and three looks (15 s) longer, and then no more: a pause of
            # 4 s is twenty beats that did not come.
            heard = [(len(switch.received), time.monotonic())]

            def is_silent() -> bool:
                if len(switch.received) != heard[-1][0]:
                    heard.append((len(switch.received), time.monotonic()))
                return time.monotonic() - heard[-1][1] > 4

            until(is_silent, why="the heartbeat has stopped")
            assert max(evaluated_at(beat) for beat in switch.received) <= stopped_at  # no beat claims what was not
            assert httpx.get(collector.url + "/healthz", timeout=5).status_code == 200  # it lives, and says nothing
            before = len(switch.received)
            store.process.send_signal(signal.SIGCONT)
            until(lambda: len(switch.received) > before, why="the heartbeat is back")
            assert evaluated_at(switch.received[-1]) > stopped_at
        finally:
            collector.kill()
            store.kill()
