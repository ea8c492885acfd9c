"""What bookings, payments and prices compute without a server: outcomes, rules, selections, cursors, settings, mail."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_app.environment import SettingError
from reference_app.jobs.mail import FolderMailer, SmtpMailer, mailer_at, written
from reference_app.paging import from_cursor, instant_of, microseconds_of, to_cursor
from reference_app.payment_provider import (
    ChargeDeclined,
    PaymentProvider,
    ProviderFailed,
    ProviderSilent,
    ProviderTerms,
)
from reference_app.pricing import PricingRule, priced_cents
from reference_app.problems import Problem
from reference_app.service_settings import service_settings_from_environment

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)


async def no_sleep(_: float) -> None:
    return None


def provider(instance: str = "one", **shares: float) -> PaymentProvider:
    return PaymentProvider(ProviderTerms(**shares), seed=7, instance=instance, sleep=no_sleep)


async def outcome_of(one: PaymentProvider, key: str, *, again: bool = False) -> str:
    try:
        return await one.charge(key, cents=100, method="card", again=again)
    except (ChargeDeclined, ProviderFailed, ProviderSilent) as error:
        return type(error).__name__


async def test_every_replica_meets_the_same_provider() -> None:
    one, other = (provider(name, declined_share=0.3, failed_share=0.2, timeout_share=0.2) for name in ("one", "other"))
    keys = [f"payment-{n}" for n in range(50)]
    assert [await outcome_of(one, key) for key in keys] == [await outcome_of(other, key) for key in keys]


async def test_the_shares_are_met_about() -> None:
    one = provider(declined_share=0.3, failed_share=0.1, timeout_share=0.2)
    found = Counter([await outcome_of(one, f"payment-{n}") for n in range(2000)])
    # four standard deviations of a share of 0.3 in 2000 draws are 0.041
    for name, share in (("ChargeDeclined", 0.3), ("ProviderFailed", 0.1), ("ProviderSilent", 0.2)):
        assert abs(found[name] / 2000 - share) < 0.041, name


async def test_a_charge_that_was_not_answered_had_arrived_and_the_same_charge_again_is_the_same() -> None:
    one = provider(timeout_share=1.0)
    assert await outcome_of(one, "payment-1") == "ProviderSilent"
    first, second = [await outcome_of(one, "payment-1", again=True) for _ in range(2)]
    assert first == second != await outcome_of(one, "payment-2", again=True)
    assert await one.give_back("payment-1") == await one.give_back("payment-1")


def rule(**change: object) -> PricingRule:
    usual = {
        "id": 1, "origin": None, "destination": None, "airport": None, "cabin": None, "valid_from": NOW,
        "valid_until": None, "factor_e4": None, "add_cents": None, "priority": 0, "active": True,
    }  # fmt: skip
    return PricingRule(**usual | change)  # type: ignore[arg-type]  # made for each test


def price(*rules: PricingRule, now: datetime = NOW) -> int:
    return priced_cents(10_000, rules, origin="ATL", destination="LHR", cabin="economy", now=now)


def test_rules_are_applied_by_priority_then_age() -> None:
    half, plus = rule(id=2, factor_e4=5000, priority=1), rule(id=1, add_cents=1000)
    assert price(half, plus) == 5500  # (100 + 10) / 2 dollars
    assert price(half, rule(id=1, add_cents=1000, priority=2)) == 6000  # 100 / 2 + 10


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"origin": "ATL", "destination": "LHR"}, True),
        ({"origin": "LHR", "destination": "ATL"}, False),
        ({"airport": "LHR"}, True),
        ({"airport": "JFK"}, False),
        ({"cabin": "economy"}, True),
        ({"cabin": "business"}, False),
        ({"active": False}, False),
        ({"valid_from": NOW + timedelta(seconds=1)}, False),
        ({"valid_until": NOW}, False),
        ({"valid_until": NOW + timedelta(seconds=1)}, True),
    ],
)
def test_a_rule_holds_for_its_place_cabin_and_time_alone(change: dict[str, object], holds: bool) -> None:
    assert price(rule(add_cents=1, **change)) == (10_001 if holds else 10_000)


def test_no_rule_makes_a_seat_free() -> None:
    assert price(rule(add_cents=-1_000_000)) == 1


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3))
def test_a_cursor_names_its_position(position: list[int]) -> None:
    assert from_cursor(to_cursor(*position), numbers=len(position)) == tuple(position)


@given(st.text(alphabet="ABCabc019_-", max_size=40))
def test_a_made_up_cursor_is_a_position_or_a_problem_never_a_defect(text: str) -> None:
    try:
        position = from_cursor(text, numbers=2)
    except Problem:
        return
    assert instant_of(position[0])


def test_an_instant_survives_the_cursor_to_the_microsecond() -> None:
    instant = NOW + timedelta(microseconds=123_457)
    assert instant_of(microseconds_of(instant)) == instant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REFERENCE_APP_ADMIN_TOKEN", "short"),
        ("REFERENCE_APP_CONCURRENCY", "-1"),
        ("REFERENCE_APP_PAYMENT_DECLINED_SHARE", "1.1"),
        ("REFERENCE_APP_JOBS", "yes"),
        ("REFERENCE_APP_JOB_ATTEMPTS", "0"),
        ("REFERENCE_APP_SMTP_URL", "http://mail.example"),
    ],
)
def test_a_wrong_setting_is_named_and_a_token_is_not_shown(name: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        service_settings_from_environment({name: value})
    assert name.removesuffix("_DECLINED_SHARE") in str(caught.value)
    assert "short" not in str(caught.value)


def test_there_is_no_admin_token_unless_one_is_set_and_settings_do_not_show_it() -> None:
    assert service_settings_from_environment({}).admin_token is None
    token = "x" * 20
    assert token not in repr(service_settings_from_environment({"REFERENCE_APP_ADMIN_TOKEN": token}))


async def test_the_same_mail_twice_is_one_file(tmp_path) -> None:
    mail = written("mail:confirmed:7", to="ada@example.com", subject="Your booking", text="Hello")
    for _ in range(2):
        await FolderMailer(tmp_path).send(mail)
    (file,) = tmp_path.iterdir()
    assert "<mail.confirmed.7@reference-app.example>" in file.read_text()


def test_mail_goes_to_a_server_if_one_is_set(tmp_path) -> None:
    assert mailer_at("smtp://mail.example:2525", tmp_path) == SmtpMailer("mail.example", 2525)
    with pytest.raises(ValueError, match="expected smtp://host:port"):
        mailer_at("http://mail.example", tmp_path)


async def test_mail_is_handed_to_a_server_that_speaks_smtp() -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                received.append(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 well\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mail = written("mail:confirmed:7", to="ada@example.com", subject="Your booking", text="Hello Ada")
        await SmtpMailer("127.0.0.1", port).send(mail)
    (body,) = received
    assert b"To: ada@example.com" in body
    assert b"Hello Ada" in body
