"""Sending to a real HTTP receiver that fails in every way, to a real Alertmanager, and from the collector."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import shutil
import subprocess
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from collector.alerts.bodies import Message, messages_for
from collector.alerts.outbox import OUTBOX_PATH, Outbox
from collector.alerts.receivers import Kind, Receiver, ReceiverSettings
from collector.alerts.state import Alert, Notice
from collector.alerts.webhooks import deliver_once, post
from collector.commands import mount
from collector.instrument import Event
from tests.integration.collector_fixtures import CATALOG, CollectorProcess, start_collector, until, unused_port
from tests.integration.receiver_fixtures import Received, scripted_receiver
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server
KEY = b"0123456789abcdef01234567"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def receiver(url: str, *, kind: Kind = "webhook", allowed: bool = True) -> Receiver:
    networks = LOOPBACK if allowed else ()
    settings = ReceiverSettings("hook", kind, url, None, None, None, None, ("page", "ticket"), ("*",), networks)
    return Receiver(settings, url, (KEY,))


def is_signed(received: Received) -> bool:
    signed = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode() + received.body
    digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return received.headers["webhook-signature"] == f"v1,{digest}"


def test_a_message_survives_every_failure_of_its_receiver_under_one_id(tmp_path: Path) -> None:
    script = ["500", "503 Retry-After=60", "302 Location=http://127.0.0.1/", "429", "reset", "garbage", "hang", "drip"]
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    real = [time.time()]

    def send(*arguments: Any, **options: Any) -> Any:
        return post(*arguments, **options, total_seconds=0.4)

    outbox.put([Message("msg_1", "hook", "shop", b'{"a": 1}')], now=real[0])
    with scripted_receiver(list(script)) as hook:
        outcomes = []
        for _ in range(len(script) + 1):
            outcomes += deliver_once(outbox, receiver(hook.url), read_real=lambda: real[0], send=send)
            real[0] = outbox.deliveries()[0].next_at
        assert outcomes == ["retry"] * len(script) + ["delivered"]
        assert deliver_once(outbox, receiver(hook.url), read_real=lambda: real[0], send=send) == []
        assert len(hook.received) == len(script) + 1
        assert {each.headers["webhook-id"] for each in hook.received} == {"msg_1"}
        assert {each.body for each in hook.received} == {b'{"a": 1}'}
        assert all(is_signed(each) for each in hook.received)


def test_a_receiver_that_is_not_there_is_tried_again_and_410_stops_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    outbox.put([Message("msg_1", "hook", "shop", b"{}")], now=time.time())
    assert deliver_once(outbox, receiver(f"http://127.0.0.1:{unused_port()}/")) == ["retry"]
    outbox.put([Message("msg_2", "hook", "shop", b"{}")], now=time.time())
    with scripted_receiver(["410"]) as hook:
        assert deliver_once(outbox, receiver(hook.url)) == ["disabled"]
        assert deliver_once(outbox, receiver(hook.url)) == []
        assert len(hook.received) == 1


def test_loopback_is_refused_without_leave_and_nothing_is_sent() -> None:
    with scripted_receiver() as hook:
        answer = post(receiver(hook.url, allowed=False), "msg_1", b"{}", now=time.time())
        assert (answer.status, hook.received) == (None, [])
        assert "allow_networks" in answer.detail


def test_the_connection_is_made_to_the_address_that_was_checked() -> None:
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    with scripted_receiver() as hook:
        target = receiver(f"http://receiver.invalid:{hook.port}/hook")
        assert post(target, "msg_1", b"{}", now=time.time(), look_up=rebinding).status == 200
        assert asked == ["receiver.invalid"]
        assert hook.received[0].headers["host"] == f"receiver.invalid:{hook.port}"


def test_a_certificate_that_nobody_vouches_for_and_a_plain_port_are_refused(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl program on PATH")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    with scripted_receiver(tls=(certificate, key)) as hook:
        answer = post(receiver(hook.url.replace("http:", "https:")), "msg_1", b"{}", now=time.time())
        assert answer.status is None
        assert "SSLCertVerificationError" in answer.detail
        assert hook.received == []
    with scripted_receiver() as hook:
        answer = post(receiver(hook.url.replace("http:", "https:")), "msg_1", b"{}", now=time.time())
        assert answer.status is None
        assert "SSLError" in answer.detail
        assert hook.received == []


def test_a_heartbeat_is_sent_signed_while_alerts_are_evaluated(shared_store_url: str, tmp_path: Path) -> None:
    begin = time.time()
    with scripted_receiver(["500"]) as switch:
        keys = "url_env: SWITCH, secret_env: SECRET, interval: 200ms, allow_networks: [127.0.0.0/8]"
        block = f"alerts:\n  heartbeat: {{{keys}}}\n"
        environment = {
            "TIDEGAUGE_CLOCK": f"{begin - 36000}:{begin}:60",
            "TIDEGAUGE_CLICKHOUSE_DATABASE": "heartbeat",
            "SWITCH": switch.url,
            "SECRET": "whsec_" + base64.b64encode(KEY).decode(),
        }
        collector = start_collector(tmp_path, shared_store_url, environment=environment, config_text=CATALOG + block)
        try:
            until(lambda: len(switch.received) >= 3, why="heartbeats, also after one that was refused")
            assert all(is_signed(each) for each in switch.received)
            assert json.loads(switch.received[-1].body)["type"] == "tidegauge.heartbeat"
        finally:
            collector.kill()


def test_a_real_alertmanager_takes_and_resolves_an_alert(tmp_path: Path) -> None:
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("no alertmanager program on PATH (Debian: prometheus-alertmanager)")
    port, config = unused_port(), tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.path={tmp_path / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
            stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:

        def ready() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                return httpx.get(url + "/-/ready", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        until(ready, why="alertmanager is ready")
        now = datetime.now(UTC)
        alert = Alert(
            "burn/shop/availability/page", "burn", "shop", "availability", "page", "firing", now, now, None, False,
            now, 1, "burns", {},
        )  # fmt: skip
        target = receiver(url, kind="alertmanager")
        (message,) = messages_for(target, [Notice(alert, "firing")], now=now, repeat=timedelta(hours=4))
        assert post(target, message.message_id, message.body, now=time.time()).status == 200
        (active,) = httpx.get(url + "/api/v2/alerts", timeout=5).json()
        assert active["labels"]["alertname"] == "availability"
        assert active["annotations"]["summary"] == "burns"
        ended = replace(alert, phase="resolved", ended_at=now)
        (message,) = messages_for(target, [Notice(ended, "resolved")], now=now, repeat=timedelta(hours=4))
        assert post(target, message.message_id, message.body, now=time.time()).status == 200
        assert httpx.get(url + "/api/v2/alerts", timeout=5).json() == []
    finally:
        process.terminate()
        process.wait(10)


RECEIVERS = """\
alerts:
  receivers:
    - {name: hook, kind: webhook, url_env: HOOK_URL, secret_env: HOOK_SECRET, allow_networks: [127.0.0.0/8]}
"""


def feed(collector: CollectorProcess, at_seconds: float, *, status: int, count: int) -> None:
    rows = [Event(ts_us=int(at_seconds * 1e6), route="/a", method="GET", status=status, duration_us=5)] * count
    columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
    sender = {"id": "c", "service": "shop", "generated_total": count, "dropped_total": 0}
    batch = {"schema": 1, "batch_id": str(uuid.uuid4()), "client": sender, "columns": columns}
    assert httpx.post(collector.url + "/v1/events", json=batch, timeout=10).status_code == 200


def test_errors_reach_a_receiver_once_over_its_outage_and_a_kill(shared_store_url: str, tmp_path: Path) -> None:
    begin = time.time()
    with scripted_receiver(["503"]) as hook:
        environment = {
            "TIDEGAUGE_CLOCK": f"{begin - 36000}:{begin}:60",
            "TIDEGAUGE_CLICKHOUSE_DATABASE": "webhooks",
            "HOOK_URL": hook.url,
            "HOOK_SECRET": "whsec_" + base64.b64encode(KEY).decode(),
        }
        collector = start_collector(
            tmp_path, shared_store_url, environment=environment, config_text=CATALOG + RECEIVERS
        )
        try:
            collector.wait_until_alive("/readyz")

            def told(status: str) -> list[Received]:
                return [each for each in hook.received if page_status(each) == status]

            def feeding_until_told(status: str, request_status: int) -> bool:
                # each minute of the played clock has requests
                played = begin - 36000 + (time.time() - begin) * 60
                feed(collector, played, status=request_status, count=100)
                return len(told(status)) > 0

            until(lambda: feeding_until_told("firing", 500), why="the page arrives")
            collector.kill()
            again = start_collector(
                tmp_path, shared_store_url, port=int(collector.url.rsplit(":", 1)[1]), environment=environment,
                config_text=CATALOG + RECEIVERS,
            )  # fmt: skip
            collector.process = again.process
            collector.wait_until_alive("/readyz")
            httpx.get(collector.url + "/v1/alerts", timeout=10)
            assert all(is_signed(each) for each in hook.received)
            outbox = Outbox(tmp_path / OUTBOX_PATH)
            until(lambda: {each.state for each in outbox.deliveries()} == {"delivered"}, why="everything is delivered")
            identities = [each.headers["webhook-id"] for each in told("firing")]
            assert len(set(identities)) == 1, "one page, whatever was killed"
            code, output = run(["alerts", "deliveries", "--json"], {"TIDEGAUGE_DATA": str(tmp_path)})
            assert (code, json.loads(output)[0]["state"]) == (0, "delivered")
            replayed = run(["alerts", "replay", identities[0]], {"TIDEGAUGE_DATA": str(tmp_path)})
            assert replayed[0] == 0
            until(lambda: len(told("firing")) > len(identities), why="the replay arrives under its id")
            assert {each.headers["webhook-id"] for each in told("firing")} == set(identities)
        finally:
            collector.kill()


def page_status(received: Received) -> str | None:
    alerts = json.loads(received.body)["alerts"]
    return next(
        (each["status"] for each in alerts if (each["labels"]["severity"], each["labels"]["kind"]) == ("page", "burn")),
        None,
    )


def run(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    app = typer.Typer()
    mount(app)
    result = CliRunner().invoke(app, arguments, env=environment)
    return result.exit_code, result.stdout
