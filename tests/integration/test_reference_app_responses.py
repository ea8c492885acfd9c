"""What callers may ask of answers (fields, pages, cursors), what admins may see and set, and who is turned away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.booking_fixtures import AS_ADMIN, built_app
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import TOMORROW, as_user, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server

SEARCH = {"origin": "ATL", "destination": "LHR", "date": str(TOMORROW), "passengers": "2", "class": "economy"}
INJECTION = "'; DROP TABLE bookings; --"


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return cluster.primary.url(name)


async def test_only_the_fields_that_were_asked_for_are_sent(url):
    # Measure: REFERENCE_APP_FIELDS. Switched off, every answer is whole.
    async with built_app(url) as app:
        search = await app.client.get("/api/flights/search", params=SEARCH | {"fields": "flight_id,price_cents"})
        airport = await app.client.get("/api/airports/JFK", params={"fields": "city"})
        me = await app.client.get("/api/users/me", params={"fields": "id,name"}, headers=as_user(1))
        whole = await app.client.get("/api/flights/search", params=SEARCH)
    assert {frozenset(one) for one in search.json()["flights"]} == {frozenset({"flight_id", "price_cents"})}
    assert search.json()["origin"] == "ATL"  # what stands around the items always comes
    assert airport.json() == {"city": "New York"}
    assert set(me.json()) == {"id", "name"}
    assert len(search.content) < len(whole.content)


async def test_a_field_that_nobody_knows_is_told_with_those_that_are_known(url):
    async with built_app(url) as app:
        answer = await app.client.get("/api/airports/JFK", params={"fields": "city,price"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:reference-app:problem:unknown-field")
    assert "got price" in answer.json()["detail"]
    assert "latitude" in answer.json()["detail"]


async def test_pages_and_cursors_give_every_booking_once_newest_first(url):
    async with built_app(url) as app:
        made = []
        for n in range(7):
            app.clock.instant += timedelta(seconds=1)
            made.append((await app.book(30, f"paged-book-{n}", flight_id=130)).json()["id"])
        path, user = "/api/users/me/bookings", as_user(30)
        by_page = [
            [
                one["id"]
                for one in (await app.client.get(f"{path}?page={page}&limit=3", headers=user)).json()["bookings"]
            ]
            for page in (1, 2, 3, 4)
        ]
        by_cursor, cursor = [], ""
        while cursor is not None:
            answer = (await app.client.get(f"{path}?limit=3{cursor and f'&cursor={cursor}'}", headers=user)).json()
            by_cursor.append([one["id"] for one in answer["bookings"]])
            cursor = answer["next_cursor"]
        await app.client.post(f"/api/bookings/{made[0]}/cancel", headers=user)
        active = (await app.client.get(path, headers=user)).json()["bookings"]
        everything = (await app.client.get(f"{path}?state=all", headers=user)).json()["bookings"]
    newest_first = made[::-1]
    assert by_page == [newest_first[:3], newest_first[3:6], newest_first[6:], []]
    assert by_cursor == by_page[:3]
    assert (len(active), len(everything)) == (6, 7)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "page=0", "page=101", "cursor=!", "cursor=AAAA", "state=x"])
async def test_a_page_that_is_none_or_too_large_is_refused(url, query):
    async with built_app(url) as app:
        answer = await app.client.get(f"/api/users/me/bookings?{query}", headers=as_user(1))
    assert answer.status_code == 422


async def test_i_can_change_my_name_and_read_it_at_once(url):
    async with built_app(url) as app:
        await app.client.get("/api/users/me", headers=as_user(31))  # now it is remembered
        changed = await app.client.patch("/api/users/me", json={"name": "Ada Lovelace"}, headers=as_user(31))
        again = await app.client.get("/api/users/me", headers=as_user(31))
        bad = await app.client.patch("/api/users/me", json={"name": "a\x00b"}, headers=as_user(31))
    assert (changed.status_code, changed.json()["name"], again.json()["name"]) == (200, "Ada Lovelace", "Ada Lovelace")
    assert changed.json()["home_region"] == again.json()["home_region"]
    assert bad.status_code == 422


async def test_a_pricing_rule_changes_search_and_booking_alike_until_it_ends(url):
    # Measure: REFERENCE_APP_PRICING_RULES. Switched off, no rule changes a price.
    async with built_app(url) as app:

        async def offer() -> dict:
            answer = await app.client.get("/api/flights/search", params=SEARCH | {"passengers": "1"})
            return answer.json()["flights"][0]

        before = await offer()
        rule = {"origin": "ATL", "destination": "LHR", "class": "economy", "factor": "2"}
        added = await app.client.post("/api/admin/prices", json=rule, headers=AS_ADMIN)
        during = await offer()
        booked = await app.book(32, "priced-by-rule-1", flight_id=during["flight_id"])
        ended = await app.client.delete(f"/api/admin/prices/{added.json()['id']}", headers=AS_ADMIN)
        after = await offer()
        listed = (await app.client.get("/api/admin/prices", headers=AS_ADMIN)).json()["rules"]
    assert (added.status_code, added.json()["factor"], ended.json()["active"]) == (201, "2", False)
    assert abs(during["price_cents"] - 2 * before["price_cents"]) <= 1  # the live fare rounds down to a cent
    assert booked.json()["price_cents"] == during["price_cents"]
    assert after["price_cents"] == before["price_cents"]
    assert [one["active"] for one in listed if one["id"] == added.json()["id"]] == [False]


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"factor": "0"},
        {"factor": "1.1", "add_cents": 5},
        {"origin": "ATL", "factor": "1.1"},
        {"airport": "XXX", "factor": "1.1"},
        {"factor": "1.1", "valid_from": "2030-01-01T00:00:00"},
        {"factor": "1.1", "valid_until": "2029-01-01T00:00:00Z"},
        {"factor": "NaN"},
        {"origin": INJECTION, "destination": "LHR", "factor": "1.1"},
    ],
)
async def test_a_pricing_rule_that_means_nothing_is_refused(url, rule):
    async with built_app(url) as app:
        answer = await app.client.post("/api/admin/prices", json=rule, headers=AS_ADMIN)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_an_admin_changes_seats_but_not_below_what_is_sold(url):
    async with built_app(url) as app:
        await app.book(33, "sold-seats-1", flight_id=131, passengers=4)
        path = "/api/admin/inventory/131/economy"
        fewer = await app.client.patch(path, json={"seats_total": 4}, headers=AS_ADMIN)
        too_few = await app.client.patch(path, json={"seats_total": 3}, headers=AS_ADMIN)
        none_left = await app.book(34, "sold-seats-2", flight_id=131)
        page = (await app.client.get("/api/admin/inventory?flight_id=131", headers=AS_ADMIN)).json()
    assert (fewer.status_code, fewer.json()["seats_left"]) == (200, 0)
    assert (too_few.status_code, none_left.status_code) == (409, 409)
    assert [(one["class"], one["seats_total"]) for one in page["inventory"]][1] == ("economy", 4)


async def test_inventory_goes_on_by_cursor_through_cabins_and_flights(url):
    async with built_app(url) as app:
        seen, cursor = [], ""
        for _ in range(3):
            path = f"/api/admin/inventory?limit=3&fields=flight_id,class{cursor and f'&cursor={cursor}'}"
            answer = (await app.client.get(path, headers=AS_ADMIN)).json()
            seen += [(one["flight_id"], one["class"]) for one in answer["inventory"]]
            cursor = answer["next_cursor"]
    assert seen == [(flight, cabin) for flight in range(1, 6) for cabin in ("business", "economy")][:9]


async def test_the_sales_report_counts_what_jobs_have_counted(url, tmp_path):
    async with built_app(url) as app:
        made = (await app.book(35, "reported-1", flight_id=132, passengers=2)).json()
        async with app.parts.outbox.batch(limit=1000) as batch:
            tasks = [
                task for task in batch.tasks if task.name == "count-sale" and task.payload["booking_id"] == made["id"]
            ]
        for task in tasks:
            await app.work(tmp_path).run(task)
        path = "/api/admin/reports/sales?from=2030-05-01&to=2030-05-31"
        report = (await app.client.get(path, headers=AS_ADMIN)).json()
        routes = await app.client.get("/api/admin/reports/routes?month=2030-05-01", headers=AS_ADMIN)
        reversed_span = await app.client.get("/api/admin/reports/sales?from=2030-05-02&to=2030-05-01", headers=AS_ADMIN)
    (row,) = [
        one for one in report["sales"] if one["origin"] == made["origin"] and one["destination"] == made["destination"]
    ]
    assert (row["bookings"], row["passengers"], row["revenue_cents"]) == (1, 2, made["price_cents"])
    assert (row["day"], reversed_span.status_code) == ("2030-05-01", 422)
    assert routes.json()["routes"][0]["revenue_cents"] > 0


async def test_admin_routes_are_for_admins_alone_and_absent_without_a_token(url):
    async with built_app(url) as app:
        nobody = await app.client.get("/api/admin/prices")
        a_user = await app.client.get("/api/admin/prices", headers=as_user(1))
        an_admin = await app.client.get("/api/admin/prices", headers=AS_ADMIN)
        as_a_user = await app.client.get("/api/users/me", headers=AS_ADMIN)
    async with built_app(url, REFERENCE_APP_ADMIN_TOKEN="") as app:
        without = await app.client.get("/api/admin/prices", headers=AS_ADMIN)
    statuses = [answer.status_code for answer in (nobody, a_user, an_admin, as_a_user, without)]
    assert statuses == [401, 403, 200, 401, 404]


async def test_sql_in_every_parameter_is_refused_and_harms_nothing(url, cluster):
    async with built_app(url) as app:
        user = as_user(1)
        asked = [("/api/flights/search", SEARCH | {name: INJECTION}, None) for name in (*SEARCH, "fields")]
        asked += [(f"/api/{kind}/{INJECTION}", {}, user) for kind in ("flights", "airports", "bookings", "payments")]
        names = ("fields", "state", "page", "limit", "cursor")
        asked += [("/api/users/me/bookings", {name: INJECTION}, user) for name in names]
        names = ("flight_id", "origin", "destination", "date", "cursor")
        asked += [("/api/admin/inventory", {name: INJECTION}, AS_ADMIN) for name in names]
        answers = [await app.client.get(path, params=query, headers=who) for path, query, who in asked]
        kept = await app.client.patch("/api/users/me", json={"name": INJECTION}, headers=user)
        search = await app.client.get("/api/flights/search", params=SEARCH)
    assert {answer.status_code for answer in answers} == {422}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert (kept.json()["name"], search.status_code) == (INJECTION, 200)  # a name may be anything that can be printed


async def test_the_metrics_say_what_was_held_paid_and_shed(url):
    async with built_app(url) as app:
        await app.book(36, "measured-1", flight_id=133)
        await app.book(36, "measured-2", flight_id=133, payment_method="card-declined")
        text = (await app.client.get("/metrics")).text
    assert "reference_app_holds_total 2.0" in text
    assert 'reference_app_payments_total{outcome="succeeded"} 1.0' in text
    assert 'reference_app_payments_total{outcome="failed"} 1.0' in text
    assert 'reference_app_requests_shed_total{reason="full"} 0.0' in text
    assert "reference_app_requests_in_flight 0.0" in text
