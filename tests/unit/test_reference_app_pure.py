"""What the reference app computes without a server: positions, tokens, caches, settings, timetable, supplier."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, date, datetime, timedelta

import pytest

from reference_app.lsn import lag_seconds, lsn_from_text, lsn_to_text
from reference_app.migrations import Migration, MigrationError, missing_migrations, packaged_migrations, statements_of
from reference_app.prepare import SeedTerms, seed_terms_from_environment
from reference_app.seed.airports import airports_at, airports_by_size
from reference_app.seed.timetable import distance_km, flying_days, timetable, user_rows
from reference_app.settings import SettingError, settings_from_environment
from reference_app.stores.flights import Offer, offers_from_bytes, offers_to_bytes
from reference_app.supplier import FareSupplier, LiveFares, SupplierBusy, SupplierTerms
from reference_app.tokens import token_hash, token_of_user


def test_a_log_position_is_its_high_half_times_4_gib_plus_its_low_half():
    assert lsn_from_text("1/10") == 2**32 + 16
    assert lsn_to_text(2**32 + 16) == "1/10"


@pytest.mark.parametrize("text", ["", "1", "1/", "/1", "g/1", "1/1/1", "123456789/0", "0/0\n", " 0/0"])
def test_what_is_no_log_position_is_refused_with_what_came(text):
    with pytest.raises(ValueError, match="expected a log position such as"):
        lsn_from_text(text)


def test_lag_is_the_age_of_the_newest_position_that_the_replica_has_reached():
    positions = [(10.0, 100), (11.0, 200), (12.0, 300)]
    assert lag_seconds(positions, 300, now_seconds=12.5) == 0.0
    assert lag_seconds(positions, 250, now_seconds=12.5) == 1.5  # reached 200, which the primary had at 11.0
    assert lag_seconds(positions, 50, now_seconds=12.5) is None


def test_an_idle_primary_makes_no_lag():
    assert lag_seconds([(0.0, 100), (1000.0, 100)], 100, now_seconds=5000.0) == 0.0


def test_lag_is_unknown_when_nobody_knows_where_the_primary_stands():
    assert lag_seconds([], 100, now_seconds=1.0) is None


def test_a_demo_token_follows_the_rule_that_the_load_generator_is_told():
    digest = hashlib.sha256(b"tidegauge-demo:7").hexdigest()
    assert token_of_user(7) == f"demo-7-{digest[:32]}"


def test_any_text_a_caller_may_send_as_a_token_can_be_hashed():
    assert len(token_hash("\ud800\x00")) == 32


OFFER = Offer(
    flight_id=7,
    number="TG7",
    origin="ATL",
    destination="LHR",
    departs_at=datetime(2030, 1, 1, 10, tzinfo=UTC),
    arrives_at=datetime(2030, 1, 1, 18, tzinfo=UTC),
    status="scheduled",
    cabin="economy",
    seats_left=3,
    base_price_cents=10_000,
)


def test_offers_come_back_from_the_shared_cache_as_they_were():
    assert offers_from_bytes(offers_to_bytes((OFFER,))) == (OFFER,)
    assert offers_from_bytes(offers_to_bytes(())) == ()


@pytest.mark.parametrize("data", [None, b"", b"{", b"3", b"[1]", b"[[1, 2]]", b'{"a": 1}', b"\xff"])
def test_bytes_that_are_no_offers_are_a_miss(data):
    assert offers_from_bytes(data) is None


def test_settings_have_defaults_that_need_no_environment():
    settings = settings_from_environment({})
    assert (settings.port, settings.instance, settings.database.replicas) == (8000, "reference-app-8000", ())


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf", "1.5e999"])
def test_a_setting_that_is_no_number_is_refused_by_name(text):
    with pytest.raises(SettingError, match=r"REFERENCE_APP_SUPPLIER_LATENCY_MS: expected a number of at least 0"):
        settings_from_environment({"REFERENCE_APP_SUPPLIER_LATENCY_MS": text})


@pytest.mark.parametrize("scale", ["0", "-1", "11", "nan", "many"])
def test_a_seed_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale|SCALE"):
        seed_terms_from_environment({"REFERENCE_APP_SEED_SCALE": scale})


def test_a_migration_that_was_changed_after_it_was_applied_is_refused():
    with pytest.raises(MigrationError, match=r"0001_a\.sql was changed"):
        missing_migrations([Migration(1, "0001_a.sql", "SELECT 1")], {1: "another checksum"})


def test_a_database_that_is_ahead_of_the_code_is_refused():
    with pytest.raises(MigrationError, match=r"\[2\]"):
        missing_migrations([Migration(1, "0001_a.sql", "SELECT 1")], {2: "x"})


def test_the_packaged_migrations_are_numbered_from_one_without_a_gap():
    versions = [migration.version for migration in packaged_migrations()]
    assert versions == list(range(1, len(versions) + 1))


def test_a_statement_for_each_partition_is_made_for_each_and_comments_are_none():
    text = "-- no transaction\n-- why\nA;\n\n-- each partition of t\nB {partition}\n  C;\n-- the end\n"
    made = [
        " ".join(line for line in part.split("\n") if line and not line.startswith("--"))
        for part in statements_of(text, {"t": ["t_1", "t_2"]}.__getitem__)
    ]
    assert made == ["A", "B t_1   C", "B t_2   C"]


def test_every_packaged_migration_says_how_it_is_taken_back():
    assert all(migration.down.strip() for migration in packaged_migrations())


def test_there_are_three_hundred_airports_at_scale_1_and_forty_in_the_demo():
    every = airports_by_size()
    assert (len(every), len({airport.code for airport in every})) == (300, 300)
    assert (len(airports_at(1.0)), len(airports_at(0.01)), airports_at(0.01)) == (300, 40, every[:40])
    assert all(-90 < airport.latitude < 90 and airport.city and len(airport.country) == 2 for airport in every)


def test_the_same_seed_makes_the_same_timetable_and_another_makes_another():
    airports = airports_by_size()
    assert timetable(airports, scale=0.01, seed=1) == timetable(airports, scale=0.01, seed=1)
    assert timetable(airports, scale=0.01, seed=1) != timetable(airports, scale=0.01, seed=2)


def test_at_scale_one_sixty_days_hold_a_hundred_thousand_flights():
    # 100,000 / 60 = 1666.7, rounded
    assert len(timetable(airports_by_size(), scale=1.0, seed=1)) == 1667


def test_the_largest_airports_are_flown_between_at_the_smallest_scale():
    flights = timetable(airports_by_size(), scale=SeedTerms().scale, seed=1)
    assert len(flights) == 60
    assert (flights[0].origin, flights[0].destination) == ("ATL", "LHR")  # rank 1 and rank 2


def test_every_flight_flies_on_every_day_and_ids_go_on_from_the_last():
    flights = timetable(airports_by_size(), scale=0.01, seed=1)
    days = list(flying_days(flights, first_day=date(2030, 1, 1), last_day=date(2030, 1, 3), first_id=101))
    assert [day.id for day in days] == list(range(101, 101 + 3 * 60))
    assert all(day.departs_at.date() == day.day and day.arrives_at > day.departs_at for day in days)


def test_users_are_numbered_from_one():
    users = list(user_rows(scale=0.01, token_seed="x"))  # 50,000 x 0.01 = 500
    assert [row[0] for row in users] == list(range(1, 501))
    assert users[6][4] == token_hash(token_of_user(7, "x"))


def test_the_distance_from_london_to_new_york_is_the_known_one():
    airports = {airport.code: airport for airport in airports_by_size()}
    # published great-circle distance LHR-JFK: 5,540 km
    assert distance_km(airports["LHR"], airports["JFK"]) == pytest.approx(5540, rel=0.01)


def test_live_prices_agree_across_replicas_and_stay_near_the_base_price():
    prices = {LiveFares(hour).price_cents(flight, 10_000) for hour in range(50) for flight in range(20)}
    assert min(prices) >= 9_000
    assert max(prices) <= 12_090
    assert len(prices) > 100
    assert LiveFares(5).price_cents(7, 10_000) == LiveFares(5).price_cents(7, 10_000)


async def test_the_suppliers_latencies_have_the_mean_that_was_asked_for_and_repeat_with_the_seed():
    async def latencies(instance: str) -> list[float]:
        slept: list[float] = []

        async def note(seconds: float) -> None:
            slept.append(seconds)

        supplier = FareSupplier(SupplierTerms(mean_latency_seconds=0.1), seed=1, instance=instance, sleep=note)
        for _ in range(2000):
            await supplier.ask(0.0)
        return slept

    first = await latencies("a")
    # gamma with shape 4: standard deviation 0.05, of the mean of 2000 draws 0.05 / sqrt(2000) = 0.0011; four of them
    assert sum(first) / len(first) == pytest.approx(0.1, abs=0.0045)
    assert first == await latencies("a")
    assert first != await latencies("b")


async def test_no_more_requests_than_it_has_connections_are_at_the_supplier_at_once():
    here, most, go = 0, 0, asyncio.Event()

    async def wait(_: float) -> None:
        nonlocal here, most
        here += 1
        most = max(most, here)
        await go.wait()
        here -= 1

    supplier = FareSupplier(SupplierTerms(concurrency=2, queue=10), seed=1, instance="a", sleep=wait)
    asked = [asyncio.create_task(supplier.ask(0.0)) for _ in range(6)]
    while supplier.waiting < 4:
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*asked)
    assert most == 2
    assert (supplier.asked_total, supplier.waiting) == (6, 0)


async def test_a_request_beyond_the_queue_is_shed_at_once_and_one_that_waits_too_long_at_the_deadline():
    go = asyncio.Event()

    async def wait(_: float) -> None:
        await go.wait()

    terms = SupplierTerms(concurrency=1, queue=1, wait_seconds=0.01)
    supplier = FareSupplier(terms, seed=1, instance="a", sleep=wait)
    served = asyncio.create_task(supplier.ask(0.0))
    queued = asyncio.create_task(supplier.ask(0.0))
    while not supplier.waiting:
        await asyncio.sleep(0)
    with pytest.raises(SupplierBusy, match="1 requests wait"):
        await supplier.ask(0.0)
    with pytest.raises(SupplierBusy, match=r"within 0\.01 s"):
        await queued
    go.set()
    await served
    assert (supplier.shed_total, supplier.waiting) == (2, 0)


def test_fares_hold_for_an_hour_of_the_clock_in_use():
    hour = timedelta(hours=1).total_seconds()
    assert LiveFares(int(7199 // hour)) == LiveFares(1)
