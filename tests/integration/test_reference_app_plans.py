"""What the planner does with the app's queries on a real PostgreSQL: which partitions are opened, which index is used.

Only what was executed counts: a partition that is planned for and never opened was pruned at run time. The sessions are
the app's own, so that its switches for pruning and indexes act here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from reference_app.database import Databases, Session
from reference_app.prepare import SeedTerms, prepare
from reference_app.stores.flights import _SEARCH
from reference_app.stores.reports import ROUTE_MONTH, report_parameters
from reference_app.stores.users import _BY_TOKEN
from reference_app.tokens import token_hash, token_of_user
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import NOON, running_app

__all__ = ["cluster"]
pytestmark = pytest.mark.server

OWN_BOOKINGS = """
SELECT * FROM bookings WHERE user_id = %(user)s AND status IN ('confirmed', 'held') ORDER BY created_at DESC LIMIT 20
"""
# one of the last quarter. Joined to its key it would be looked for in all: the planner takes over the id, not the time
ONE_BOOKING = """
SELECT * FROM bookings
WHERE id = %(id)s AND created_at = (SELECT created_at FROM booking_keys WHERE id = %(id)s)
"""
WHOLES = """
SELECT c.relname::text, (p.inhparent::regclass::text, i.indrelid::regclass::text)
FROM pg_inherits p JOIN pg_index i ON i.indexrelid = p.inhrelid JOIN pg_class c ON c.oid = i.indexrelid
"""
# at NOON's day, the seed's bookings are of the 365 days before 2030-05-01
MONTH = report_parameters(date(2030, 2, 1), limit=10)


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> str:
    name = cluster.new_database()
    url = cluster.primary.url(name)
    prepare(url, today=NOON.date(), terms=SeedTerms(scale=0.05))
    cluster.primary.run("VACUUM ANALYZE", name)
    return name


@dataclass(frozen=True)
class Executed:
    """What a query opened: relations, and indexes by the whole that they are attached to, with the relation of each."""

    relations: set[str]
    indexes: set[tuple[str, str]]

    def of(self, table: str) -> set[str]:
        return {name for name in self.relations if name.startswith(f"{table}_")}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def executed(databases: Databases, query: str, parameters: dict[str, Any]) -> Executed:
    async with databases.primary.connection() as connection:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode()
        row = await (await connection.execute(explain, parameters)).fetchone()
        wholes = dict(await (await connection.execute(WHOLES)).fetchall())
    opened = [node for node in nodes(row[0][0]["Plan"]) if node["Actual Loops"]]
    return Executed(
        {node["Relation Name"] for node in opened if "Relation Name" in node},
        {wholes[node["Index Name"]] for node in opened if node.get("Index Name") in wholes},
    )


@asynccontextmanager
async def databases_at(cluster: Cluster, database: str):
    async with running_app(cluster.primary.url(database)) as app:
        yield app.parts.databases


def search(cluster: Cluster, database: str, *, is_domestic: bool) -> dict[str, Any]:
    query = f"SELECT origin, destination FROM flights WHERE is_domestic = {is_domestic} ORDER BY id LIMIT 1"
    origin, destination = cluster.primary.run(query, database)[0]
    return {"origin": origin, "destination": destination, "day": date(2030, 5, 3), "cabin": "economy", "passengers": 1}


@pytest.mark.parametrize("is_domestic", [True, False])
async def test_a_search_opens_the_flights_of_its_kind_alone(cluster, database, is_domestic):
    async with databases_at(cluster, database) as databases:
        seen = await executed(databases, _SEARCH, search(cluster, database, is_domestic=is_domestic))
    kind = "domestic" if is_domestic else "international"
    assert (seen.of("flight_instances"), seen.of("flights")) == ({f"flight_instances_{kind}"}, {f"flights_{kind}"})


async def test_a_search_uses_the_index_of_open_flights_by_departure_and_route(cluster, database):
    async with databases_at(cluster, database) as databases:
        seen = await executed(databases, _SEARCH, search(cluster, database, is_domestic=False))
    assert ("flight_instances_open", "flight_instances_international") in seen.indexes


async def test_a_users_current_bookings_use_the_index_of_the_user_in_each_quarter(cluster, database):
    async with databases_at(cluster, database) as databases:
        seen = await executed(databases, OWN_BOOKINGS, {"user": 7})
    filled = {("bookings_of_user", f"bookings_{quarter}") for quarter in ("2029q3", "2029q4", "2030q1")}
    assert filled <= seen.indexes


async def test_a_months_report_opens_its_quarter_alone(cluster, database):
    async with databases_at(cluster, database) as databases:
        seen = await executed(databases, ROUTE_MONTH, MONTH)
    assert seen.of("bookings") == {"bookings_2030q1"}


async def test_a_months_report_uses_the_index_by_month(cluster, database):
    async with databases_at(cluster, database) as databases:
        seen = await executed(databases, ROUTE_MONTH, MONTH)
    assert ("bookings_by_month", "bookings_2030q1") in seen.indexes


async def test_a_booking_found_by_its_key_is_looked_for_in_its_quarter_alone(cluster, database):
    async with databases_at(cluster, database) as databases:
        seen = await executed(databases, ONE_BOOKING, {"id": 9900})
    assert seen.of("bookings") == {"bookings_2030q2"}  # 9,900 of 10,000 of a year until 30 April


async def test_a_user_found_by_the_token_is_looked_for_in_one_of_four_partitions(cluster, database):
    async with databases_at(cluster, database) as databases:
        seen = await executed(databases, _BY_TOKEN, {"token_hash": token_hash(token_of_user(7))})
    assert len(seen.of("users")) == 1


async def test_the_report_is_what_a_plain_sum_says(cluster, database):
    async with running_app(cluster.primary.url(database)) as app:
        best = (await app.parts.reports.revenue_by_route(date(2030, 2, 14), limit=1, session=Session()))[0]
    plain = (
        "SELECT count(*), sum(passengers), sum(price_cents)"
        " FROM bookings b JOIN flight_instances i ON i.id = instance_id"
        f" WHERE origin = '{best.origin}' AND destination = '{best.destination}' AND b.status = 'confirmed'"
        " AND b.created_at >= '2030-02-01Z' AND b.created_at < '2030-03-01Z'"
    )
    assert cluster.primary.run(plain, database) == [(best.bookings, best.passengers, best.revenue_cents)]
    assert best.month == date(2030, 2, 1)
