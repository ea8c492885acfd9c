"""The caches without a server: L1, HTTP's words on an answer, encodings, regions, what the edge keeps, settings."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from reference_app.background import in_background
from reference_app.caching.answers import KNOWN_PARAMETERS, Answers, Public, Terms, make_public
from reference_app.caching.compression import compressed, encoding_accepted
from reference_app.caching.fares import FaresOfTheHour
from reference_app.caching.l1 import SWEEP_SECONDS, TaggedCache
from reference_app.caching.l2 import Reading, SharedCache
from reference_app.caching.tiers import Tiers, Wanted
from reference_app.database import Session
from reference_app.edge.app import PUBLIC_ROUTES
from reference_app.edge.settings import edge_settings_from_environment
from reference_app.edge.shelves import Shelf, Shelves, canonical_query, keeping_terms
from reference_app.regions import REGIONS, in_region, profile_from, region_of
from reference_app.routes import flights
from reference_app.settings import SettingError, measures_from_environment
from reference_app.supplier import FareSupplier, SupplierTerms

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)


class Time:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_l1_keeps_ten_thousand_keys_and_the_least_recently_used_leaves_first():
    cache = TaggedCache()
    for number in range(10_000):
        cache.put(number, "value")
    cache.get(0)
    cache.put("one more", "value")
    assert len(cache) == 10_000
    assert (cache.get(0), cache.get(1), cache.get("one more")) == ("value", None, "value")


def test_l1_keeps_a_value_for_five_minutes_if_not_told_otherwise():
    time = Time()
    cache = TaggedCache(monotonic=time)
    cache.put("a", 1)
    cache.put("airport", 2, seconds=3600.0)
    time.seconds += 299.9
    assert cache.get("a") == 1
    time.seconds += 0.1
    assert (cache.get("a"), cache.get("airport")) == (None, 2)


def test_a_sweep_removes_what_is_too_old_without_anybody_asking_for_it():
    time = Time()
    cache = TaggedCache(monotonic=time)
    for number in range(5):
        cache.put(number, "value", seconds=10.0 + number)
    time.seconds += 12.0
    assert cache.sweep() == 3
    assert (len(cache), cache.swept_total) == (2, 3)


def test_a_change_of_a_tag_forgets_what_carries_it_and_nothing_else():
    cache = TaggedCache()
    cache.put("a", 1, tags=("x", "y"))
    cache.put("b", 2, tags=("y",))
    cache.put("c", 3)
    cache.drop(["x"])
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (None, 2, 3)


def test_what_began_to_be_loaded_before_a_change_is_not_kept_after_it():
    cache = TaggedCache()
    stamp = cache.stamp()
    cache.drop(["x"])
    cache.put("a", 1, tags=("x",), stamp=stamp)
    cache.put("b", 2, tags=("y",), stamp=stamp)
    assert (cache.get("a"), cache.get("b")) == (None, 2)
    cache.clear()
    cache.put("b", 2, tags=("y",), stamp=stamp)
    assert cache.get("b") is None


def test_while_nobody_tells_of_changes_values_are_kept_briefly():
    time = Time()
    cache = TaggedCache(monotonic=time)
    cache.limit_seconds = 30.0
    cache.put("a", 1, seconds=300.0)
    time.seconds += 30.0
    assert cache.get("a") is None


def test_a_cache_that_is_switched_off_keeps_nothing():
    cache = TaggedCache(enabled=False)
    cache.put("a", 1)
    assert cache.get("a") is None


async def test_a_reader_who_has_just_written_sees_no_cache_and_leaves_no_trace_in_it():
    loads = 0

    async def load(_: Session) -> int:
        nonlocal loads
        loads += 1
        return loads

    tiers, wanted = Tiers(TaggedCache(), SharedCache.at(None)), Wanted("k", ("t",), load)
    assert await tiers.fetch(wanted, Session()) == 1
    session = Session(last_write=17)
    assert await tiers.fetch(wanted, session) == 2
    assert session.trail["cache_level"] == "db"
    assert await tiers.fetch(wanted, Session()) == 1


async def test_a_load_soon_after_a_change_asks_where_the_change_is_sure_to_be():
    sessions: list[Session] = []

    async def load(session: Session) -> str:
        sessions.append(session)
        return "value"

    time = Time()
    l1 = TaggedCache(monotonic=time)
    tiers = Tiers(l1, SharedCache.at(None))
    l1.drop(["t"])
    await tiers.fetch(Wanted("k", ("t",), load), Session())
    time.seconds += 10.0
    await tiers.fetch(Wanted("other", ("t",), load), Session())
    assert sessions[0].last_write is not None  # no database replica has come so far
    assert sessions[1].last_write is None


async def test_one_loader_loads_for_all_who_ask_and_its_failure_is_theirs_too():
    gate, loads = asyncio.Event(), 0

    async def load(_: Session) -> str:
        nonlocal loads
        loads += 1
        await gate.wait()
        raise LookupError

    tiers = Tiers(TaggedCache(), SharedCache.at(None))
    asked = [asyncio.create_task(tiers.fetch(Wanted("k", (), load), Session())) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()  # who asked first gives up: the others get their answer all the same
    gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, *[LookupError] * 4]
    assert loads == 1


@pytest.mark.parametrize(("age", "recent"), [(9.9, True), (10.1, False)])
def test_a_generation_tells_when_its_tag_changed(age: float, recent: bool):
    reading = Reading(None, (b"", f"{int((1000 - age) * 1000)}-ab".encode()))
    assert reading.changed_within(10.0, now_seconds=1000.0) is recent


async def test_hourly_fares_are_asked_once_an_hour_and_are_the_live_ones():
    supplier = FareSupplier(SupplierTerms(mean_latency_seconds=0.0), seed=1, instance="a")
    fares = FaresOfTheHour(supplier)
    asked = await asyncio.gather(*(fares.ask(3600.0 + second) for second in range(0, 3600, 600)))
    assert set(asked) == {await supplier.ask(3600.0)}
    assert supplier.asked_total == 2
    await fares.ask(7200.0)
    assert supplier.asked_total == 3


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", "identity"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("ZSTD;q=0, gzip;q=0.5", "gzip"),
        ("gzip;q=0", "identity"),
        ("zstd;q=x", "identity"),
        ("*", "identity"),
    ],
)
def test_zstd_is_chosen_where_it_is_accepted_then_gzip(header: str, encoding: str):
    assert encoding_accepted(header.encode()) == encoding


def answering(
    body: bytes, *, public: Public | None, l1: TaggedCache | None = None
) -> tuple[httpx.AsyncClient, list[str], Callable[[datetime], None]]:
    """Return a client of one route behind the middlewares, the paths it was asked for, and the hands of its clock."""
    asked: list[str] = []
    now = NOON

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        if public is not None:
            make_public(scope, public)
        await Response(body, media_type="application/json")(scope, receive, send)

    def set_clock(instant: datetime) -> None:
        nonlocal now
        now = instant

    wrapped = Answers(compressed(app), l1=TaggedCache() if l1 is None else l1, now=lambda: now, terms=Terms())
    transport = httpx.ASGITransport(wrapped)
    headers = {"accept-encoding": "identity"}
    return httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers), asked, set_clock


PUBLIC = Public(("route:ATL-LHR", "seats:ATL-LHR:2030-05-02"))


async def test_a_public_answer_says_how_caches_may_keep_it_and_under_which_keys():
    client, _, _ = answering(b"{}", public=PUBLIC)
    async with client:
        headers = (await client.get("/api/x")).headers
    assert headers["cache-control"] == "public, max-age=0, s-maxage=300, stale-if-error=3600"
    assert headers["surrogate-key"] == "route:ATL-LHR seats:ATL-LHR:2030-05-02"
    assert headers["vary"] == "Accept-Encoding"
    assert headers["etag"].startswith('"')


async def test_an_answer_is_not_shared_for_longer_than_it_holds():
    client, _, set_clock = answering(b"{}", public=replace(PUBLIC, until=NOON + timedelta(seconds=100)))
    async with client:
        first = (await client.get("/api/x")).headers["cache-control"]
        set_clock(NOON + timedelta(seconds=60))
        second = (await client.get("/api/x")).headers["cache-control"]
    assert ("s-maxage=100" in first, "s-maxage=40" in second) == (True, True)


async def test_who_has_the_answer_gets_304_and_who_has_another_gets_it():
    client, _, _ = answering(b'{"a": 1}', public=PUBLIC)
    async with client:
        etag = (await client.get("/api/x")).headers["etag"]
        for known in (etag, f'"other", W/{etag}', "*"):
            answer = await client.get("/api/x", headers={"if-none-match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == etag
        assert (await client.get("/api/x", headers={"if-none-match": '"other"'})).status_code == 200


async def test_any_other_answer_is_nobodys_to_keep():
    client, asked, _ = answering(b"{}", public=None)
    async with client:
        answers = [await client.get("/api/users/me") for _ in range(2)]
    assert answers[1].headers["cache-control"] == "private, no-store"
    assert "etag" not in answers[1].headers
    assert len(asked) == 2


async def test_a_kept_answer_is_sent_without_asking_the_app_until_a_tag_changes_or_it_holds_no_more():
    l1 = TaggedCache()
    client, asked, set_clock = answering(b"{}", public=replace(PUBLIC, until=NOON + timedelta(minutes=2)), l1=l1)
    async with client:
        for _ in range(3):
            await client.get("/api/x")
        assert len(asked) == 1
        l1.drop(["route:ATL-LHR"])
        await client.get("/api/x")
        assert len(asked) == 2
        set_clock(NOON + timedelta(minutes=2))
        await client.get("/api/x")
        assert len(asked) == 3
        await client.get("/api/x?page=2")
        await client.post("/api/x")
        await client.get("/api/x", headers={"x-last-write": "0/1"})
        await client.get("/api/x", headers={"cookie": "x-last-write=0/1"})
    assert len(asked) == 7


async def test_names_that_a_caller_made_up_fill_no_cache():
    l1 = TaggedCache()
    client, asked, _ = answering(b"{}", public=PUBLIC, l1=l1)
    async with client:
        for number in range(20):
            await client.get(f"/api/x?origin=ATL&made-up-{number}=1")
            await client.get(f"/api/x?origin=ATL&origin={number}")
    assert (len(asked), len(l1)) == (40, 0)


def test_the_parameters_of_the_public_routes_are_known():
    queries = {
        parameter.alias
        for route in flights.router.routes
        for parameter in getattr(route, "dependant").query_params  # noqa: B009 - not on every kind of route
    }
    assert queries <= KNOWN_PARAMETERS


async def test_the_sweep_goes_on_by_itself():
    time = Time()
    cache = TaggedCache(monotonic=time)
    cache.put("a", 1)
    async with in_background(cache.sweep_every(0.001)):
        time.seconds += 301.0
        deadline = asyncio.get_running_loop().time() + 20
        while len(cache):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.001)
    assert SWEEP_SECONDS == 60.0


BIG = json.dumps([{"flight": number} for number in range(200)]).encode()


async def test_over_one_kilobyte_answers_are_compressed_as_accepted_and_kept_compressed():
    client, asked, _ = answering(BIG, public=PUBLIC)
    async with client:
        answers = {
            name: [await client.get("/api/x", headers={"accept-encoding": name}) for _ in "ab"]
            for name in ("gzip", "zstd")
        }
        plain = await client.get("/api/x", headers={"accept-encoding": "identity"})
    for name, pair in answers.items():
        assert [answer.headers["content-encoding"] for answer in pair] == [name] * 2
        assert int(pair[1].headers["content-length"]) < len(BIG) / 2
    assert answers["gzip"][1].content == BIG  # the client has expanded it
    assert "content-encoding" not in plain.headers
    assert len({plain.headers["etag"], *(pair[0].headers["etag"] for pair in answers.values())}) == 3
    assert len(asked) == 3


async def test_gzip_is_of_level_six_and_the_same_answer_has_the_same_etag_at_any_time():
    client, _, _ = answering(BIG, public=PUBLIC)
    async with client, client.stream("GET", "/api/x", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert raw[4:8] == bytes(4)  # RFC 1952: no timestamp
    assert raw[10:] == gzip.compress(BIG, compresslevel=6, mtime=0)[10:]


@pytest.mark.parametrize(("path", "size"), [("/api/payments", 5000), ("/api/payments/7", 5000), ("/api/x", 1000)])
async def test_payments_and_small_answers_are_never_compressed(path: str, size: int):
    client, _, _ = answering(b" " * size, public=None)
    async with client:
        answer = await client.get(path, headers={"accept-encoding": "gzip, zstd"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "region"),
    [
        ([(b"x-region", b"eu-west"), (b"host", b"us-west.example.com")], "eu-west"),
        ([(b"host", b"us-west.example.com")], "us-west"),
        ([(b"x-region", b"moon")], "us-east"),
        ([], "us-east"),
    ],
)
def test_the_header_picks_the_region_then_the_host_then_it_is_the_servers_own(
    headers: list[tuple[bytes, bytes]], region: str
):
    assert region_of(headers, "us-east") == region


async def test_the_network_profile_delays_by_one_round_trip_from_the_place_to_the_server():
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    world = profile_from("world")
    assert world is not None
    origin = in_region(app, own="us-east", profile=world, stands_in="us-east", sleep=sleep)
    edge = in_region(app, own="us-east", profile=world, sleep=sleep)
    for headers in ([(b"x-network-from", b"tokyo"), (b"x-region", b"us-west")], [(b"x-region", b"eu-west")]):
        for server in (origin, edge):
            await server({"type": "http", "headers": headers}, None, None)  # type: ignore[arg-type]  # nobody reads
    # tokyo-us-east 152 ms, tokyo-us-west 98; eu-west-us-east 72; within a region 2
    assert slept == [0.152, 0.098, 0.072, 0.002]


def test_every_place_of_the_world_has_a_round_trip_to_every_region():
    world = profile_from("world")
    assert world is not None
    assert all(set(world.round_trips[place]) == set(REGIONS) for place in world.places)
    assert (world.nearest("tokyo"), world.nearest("lagos")) == ("us-west", "eu-west")


@pytest.mark.parametrize(
    "document", ["[]", "{", '{"x": {"moon": 1}}', '{"x": {"us-east": -1}}', '{"x": {"us-east": "y"}}']
)
def test_a_network_profile_that_is_none_is_refused(tmp_path, document: str):
    path = tmp_path / "profile.json"
    path.write_text(document)
    with pytest.raises(ValueError, match="expected off, world, or a JSON file"):
        profile_from(str(path))


@pytest.mark.parametrize(
    ("control", "terms"),
    [
        ("public, max-age=0, s-maxage=300, stale-if-error=3600", (300.0, 3600.0)),
        ("public, s-maxage=86400", (600.0, 0.0)),  # ten minutes at most
        ("public, s-maxage=0", None),
        ("private, no-store", None),
        ("s-maxage=300", None),
        ("", None),
    ],
)
def test_the_edge_keeps_what_is_public_for_its_s_maxage(control: str, terms: tuple[float, float] | None):
    assert keeping_terms({"cache-control": control}) == terms


def test_an_answer_that_sets_a_cookie_is_never_kept():
    assert keeping_terms({"cache-control": "public, s-maxage=300", "set-cookie": "a=b"}) is None


def test_a_shelf_is_fresh_for_its_time_then_stale_then_empty():
    time = Time()
    shelves = Shelves(monotonic=time)
    shelf = Shelf("eu-west", "/api/x", "", "gzip")
    shelves.keep(shelf, ((b"etag", b'"e"'),), b"body", terms=(300.0, 3600.0), tags=["t"], stamp=shelves.cache.stamp())
    seen = []
    for seconds in (299.0, 1.0, 3599.0, 1.0):
        time.seconds += seconds
        kept, fresh = shelves.find(shelf)
        seen.append((kept is not None, fresh))
    assert seen == [(True, True), (True, False), (True, False), (False, False)]


def test_popular_is_what_was_asked_for_twice_in_five_minutes():
    time = Time()
    shelves = Shelves(monotonic=time)
    shelf = Shelf("eu-west", "/api/x", "", "gzip")
    assert (shelves.note_use(shelf), shelves.note_use(shelf)) == (False, True)
    time.seconds += 301.0
    assert shelves.note_use(shelf) is False


def test_the_order_of_parameters_makes_no_difference_and_their_number_does():
    assert canonical_query(b"b=2&a=1") == canonical_query(b"a=1&b=2")
    assert canonical_query(b"a=1&a=2") != canonical_query(b"a=1")
    assert canonical_query(b"a=%C3%A9&b=") == "a=%C3%A9&b="


def test_the_routes_that_the_edge_keeps_are_routes_of_the_app():
    assert set(PUBLIC_ROUTES) <= {f"{route.path}" for route in flights.router.routes}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REFERENCE_APP_L1", "yes"),
        ("REFERENCE_APP_S_MAXAGE_SECONDS", "601"),
        ("REFERENCE_APP_S_MAXAGE_SECONDS", "-1"),
        ("REFERENCE_APP_REGION", "moon"),
        ("REFERENCE_APP_FARES", "free"),
    ],
)
def test_a_measure_that_is_set_wrongly_is_refused_by_name(name: str, text: str):
    with pytest.raises(SettingError, match=rf"{name}: expected .*got '?{text}"):
        measures_from_environment({name: text})


@pytest.mark.parametrize("text", ["ftp://x", "moon=http://x", "eu-west=http://x", "http://a,http://b"])
def test_origins_that_leave_a_region_without_are_refused(text: str):
    with pytest.raises(SettingError, match="REFERENCE_APP_EDGE_ORIGINS: expected URLs"):
        edge_settings_from_environment({"REFERENCE_APP_EDGE_ORIGINS": text})
