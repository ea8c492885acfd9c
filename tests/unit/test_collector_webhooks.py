import base64
import hashlib
import hmac
import ipaddress
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.alerts.bodies import Message, messages_for
from collector.alerts.outbox import GIVE_UP_SECONDS, Answer, Outbox, Waiting, next_attempt, outcome_of
from collector.alerts.receivers import (
    Kind,
    Receiver,
    ReceiverSettings,
    ReceiverSettingsError,
    resolve_receivers,
)
from collector.alerts.state import Alert, Notice, Reason
from collector.alerts.webhooks import (
    AddressRefusedError,
    checked_address,
    is_allowed,
    retry_after_seconds,
    signature,
)
from collector.catalog import CatalogError, parse_catalog

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
REAL = 1_777_900_000.0
REPEAT = timedelta(hours=4)
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


def receiver(kind: Kind = "webhook", *, template: str | None = None) -> Receiver:
    settings = ReceiverSettings(
        "hook", kind, "https://example.com/", None, None, None, template, ("page", "ticket"), ("*",), ()
    )
    return Receiver(settings, "https://example.com/", (b"k" * 24,), "secret-key" if kind == "pagerduty" else "")


def notice(reason: Reason = "firing", *, service: str = "shop", name: str = "availability") -> Notice:
    ended = NOW if reason == "resolved" else None
    alert = Alert(
        f"burn/{service}/{name}/page", "burn", service, name, "page", "firing", NOW, NOW, ended, False, NOW, 1,
        'burns <"fast">', {"target": 0.99},
    )  # fmt: skip
    return Notice(alert, reason)


def documents(kind: Kind, *notices: Notice) -> list[object]:
    return [json.loads(each.body) for each in messages_for(receiver(kind), notices, now=NOW, repeat=REPEAT)]


def test_the_signature_is_the_one_of_standard_webhooks_for_each_key() -> None:
    # The specification: base64(HMAC-SHA256(key, id + "." + timestamp + "." + body)), entries parted by a space
    expected = base64.b64encode(hmac.new(b"a" * 24, b"msg_1.1614265330.{}", hashlib.sha256).digest()).decode()
    signed = signature([b"a" * 24, b"b" * 24], "msg_1", 1614265330, b"{}")
    assert signed.split(" ")[0] == f"v1,{expected}"
    assert len(signed.split(" ")) == 2


def test_a_webhook_has_the_form_of_alertmanager_version_4_grouped_by_service() -> None:
    first, second = documents("webhook", notice(), notice(name="fast"), notice("resolved", service="bank"))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["version"], first["status"], first["groupLabels"]) == ("4", "resolved", {"service": "bank"})
    assert first["alerts"][0]["endsAt"] == "2026-05-04T12:00:00Z"
    assert (second["status"], len(second["alerts"])) == ("firing", 2)
    assert second["commonLabels"] == {"service": "shop", "severity": "page", "kind": "burn"}


def test_pagerduty_gets_one_event_per_alert_under_one_key_without_the_secret() -> None:
    trigger, resolve = documents("pagerduty", notice(), notice("resolved"))
    assert isinstance(trigger, dict)
    assert isinstance(resolve, dict)
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["severity"] == "critical"
    assert "secret-key" not in json.dumps(trigger)


def test_slack_text_is_escaped_and_a_template_stays_json() -> None:
    assert documents("slack", notice()) == [{"text": '*firing* (page) burns &lt;"fast"&gt;'}]
    own = receiver("template", template='{"title": "$name is $status", "text": "$summary"}')
    (message,) = messages_for(own, [notice()], now=NOW, repeat=REPEAT)
    assert json.loads(message.body) == {"title": "availability is firing", "text": 'burns <"fast">'}


def test_alertmanager_is_told_an_end_after_the_next_repetition() -> None:
    assert documents("alertmanager", notice())[0][0]["endsAt"] == "2026-05-04T20:00:00Z"  # type: ignore[index] - JSON


def test_the_same_notice_has_the_same_id_and_a_repetition_another() -> None:
    def identity(each: Notice) -> str:
        return messages_for(receiver(), [each], now=NOW, repeat=REPEAT)[0].message_id

    repeated = Notice(replace(notice().alert, notifications=2), "repeat")
    assert identity(notice()) == identity(notice())
    assert identity(notice()) != identity(repeated)


def test_a_receiver_is_told_of_its_severities_and_services_only() -> None:
    narrow = replace(receiver(), settings=replace(receiver().settings, services=("ban*",)))
    assert messages_for(narrow, [notice()], now=NOW, repeat=REPEAT) == []
    assert len(messages_for(narrow, [notice(service="bank")], now=NOW, repeat=REPEAT)) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "0.0.0.0",
        "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "fe80::1%eth0", "100::1",
    ],
)  # fmt: skip
def test_addresses_of_ones_own_networks_are_refused(address: str) -> None:
    assert not is_allowed(address, [])


def test_public_addresses_and_allowed_networks_are_not_refused() -> None:
    assert is_allowed("93.184.216.34", [])
    assert is_allowed("2606:2800:220:1::1", [])
    assert is_allowed("127.0.0.1", [ipaddress.ip_network("127.0.0.0/8")])
    assert not is_allowed("10.0.0.1", [ipaddress.ip_network("127.0.0.0/8")])


def test_a_name_with_one_forbidden_address_is_refused_whole() -> None:
    def two(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(AddressRefusedError, match=r"leads to 10\.0\.0\.1"):
        checked_address("example.com", 443, [], look_up=two)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_seconds("120", now=REAL) == 120
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", now=0) == 60
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", now=90) == 0
    assert retry_after_seconds("soon", now=REAL) is None


def waiting(attempts: int) -> Waiting:
    return Waiting(Message("msg_1", "hook", "shop", b"{}"), REAL, attempts)


def test_what_an_answer_means() -> None:
    meanings = {200: "delivered", 204: "delivered", 302: "retry", 400: "failed", 404: "retry", 410: "disabled",
                429: "retry", 500: "retry", None: "retry"}  # fmt: skip
    assert {status: outcome_of(Answer(status, "")) for status in meanings} == meanings


def test_attempts_are_spread_over_three_days_and_then_given_up() -> None:
    now, pauses = REAL, []
    for attempts in range(20):
        at = next_attempt(waiting(attempts), Answer(500, ""), now=now)
        if at is None:
            break
        pauses.append(at - now)
        now = at
    assert 5 <= pauses[0] <= 5.5
    assert 300 <= pauses[1] <= 330
    # 5 s + 5 m + 30 m + 2 h + 5 h + 10 h + 14 h + 20 h + 24 h = 272,105 s: more than three days
    assert GIVE_UP_SECONDS == 272_105
    assert 272_105 <= now - REAL <= 272_105 * 1.1


def test_retry_after_puts_an_attempt_off_and_never_forward() -> None:
    assert next_attempt(waiting(0), Answer(429, "", 600), now=REAL) == REAL + 600
    assert (next_attempt(waiting(1), Answer(429, "", 1), now=REAL) or 0) >= REAL + 300


def message(number: int, *, key: str = "shop") -> Message:
    return Message(f"msg_{number}", "hook", key, b"{}")


def ids(outbox: Outbox, *, now: float = REAL) -> list[str]:
    return [each.message.message_id for each in outbox.due("hook", now=now)]


def test_the_outbox_keeps_a_message_once_over_a_restart_and_in_order_of_its_service(tmp_path: Path) -> None:
    path = tmp_path / "box" / "outbox.sqlite3"
    outbox = Outbox(path)
    assert outbox.put([message(1), message(2), message(3, key="bank")], now=REAL) == 3
    assert outbox.put([message(1)], now=REAL) == 0
    again = Outbox(path)
    assert ids(again) == ["msg_1", "msg_3"]
    for each in again.due("hook", now=REAL):
        again.record(each, Answer(200, "ok"), now=REAL)
    assert ids(again) == ["msg_2"]


def test_a_new_message_makes_those_before_it_due(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    outbox.put([message(1)], now=REAL)
    outbox.record(outbox.due("hook", now=REAL)[0], Answer(None, "refused", 3600), now=REAL)
    assert ids(outbox, now=REAL + 60) == []
    outbox.put([message(2)], now=REAL + 60)
    assert ids(outbox, now=REAL + 60) == ["msg_1"]


def test_410_disables_a_receiver_until_it_is_enabled_and_a_failed_message_can_be_replayed(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    outbox.put([message(1)], now=REAL)
    assert outbox.record(outbox.due("hook", now=REAL)[0], Answer(410, "gone"), now=REAL) == "disabled"
    assert (ids(outbox), outbox.disabled()) == ([], ["hook"])
    assert outbox.enable("hook")
    assert not outbox.enable("hook")
    assert outbox.record(outbox.due("hook", now=REAL)[0], Answer(400, "no"), now=REAL) == "failed"
    assert ids(outbox) == []
    assert outbox.replay("msg_1", now=REAL)
    assert not outbox.replay("msg_9", now=REAL)
    assert ids(outbox) == ["msg_1"]
    assert [(each.state, each.attempts, each.last_status) for each in outbox.deliveries()] == [("waiting", 0, 400)]


def catalog_with(receiver_text: str) -> tuple[ReceiverSettings, ...]:
    return parse_catalog(
        f"version: 1\nservices: {{}}\nalerts:\n  receivers:\n    - {receiver_text}\n", name="t"
    ).alerts.receivers


def test_receivers_take_their_secrets_from_the_environment_alone() -> None:
    settings = catalog_with("{name: a, kind: webhook, url: 'https://x.example/h', secret_env: HOOK_SECRET}")
    (resolved,) = resolve_receivers(settings, {"HOOK_SECRET": f"{SECRET} {SECRET}"})
    assert resolved.signing_keys == (b"k" * 24, b"k" * 24)
    assert base64.b64encode(b"k" * 24).decode() not in repr(resolved)
    assert "kkk" not in repr(resolved)
    for value in ("", "plain", "whsec_!!", "whsec_aaaa"):
        with pytest.raises(ReceiverSettingsError, match="HOOK_SECRET"):
            resolve_receivers(settings, {"HOOK_SECRET": value})


@pytest.mark.parametrize(
    "text",
    [
        "{name: a, kind: webhook}",
        "{name: a, kind: webhook, url: 'ftp://x'}",
        "{name: a, kind: webhook, url: 'https://u:p@x.example/'}",
        "{name: a, kind: webhook, url: 'https://x.example/', template: '{}'}",
        "{name: a, kind: pagerduty}",
        "{name: a, kind: template, url: 'https://x.example/', template: '$secret'}",
        "{name: a, kind: template, url: 'https://x.example/', template: 'no json'}",
        "{name: a, kind: webhook, url: 'https://x.example/', allow_networks: [everything]}",
    ],
)
def test_a_receiver_that_is_not_as_expected_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(CatalogError, match=r"t:5: alerts\.receivers\[0\]"):
        catalog_with(text)
