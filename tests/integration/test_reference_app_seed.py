"""The seed in a real PostgreSQL: reproducible, whole or not at all, and true to its own bookings."""

from __future__ import annotations

import psycopg
import pytest

from reference_app.prepare import SeedTerms, prepare
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import NOON

__all__ = ["cluster"]
pytestmark = pytest.mark.server

TABLES = ("flights", "flight_instances", "inventory", "user_keys", "booking_keys", "passengers")


def seeded(cluster: Cluster, **terms: object) -> str:
    name = cluster.new_database()
    prepare(cluster.primary.url(name), today=NOON.date(), terms=SeedTerms(**terms))
    return name


def prints(cluster: Cluster, name: str) -> dict[str, str]:
    query = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
    return {table: cluster.primary.run(query.format(table), name)[0][0] for table in TABLES}


def test_the_same_seed_fills_two_databases_alike_and_another_seed_another_way(cluster):
    one, same, other = (seeded(cluster, seed=seed) for seed in (1, 1, 2))
    assert prints(cluster, one) == prints(cluster, same)
    assert prints(cluster, one)["booking_keys"] != prints(cluster, other)["booking_keys"]


def test_what_is_left_of_the_seats_is_what_confirmed_bookings_leave(cluster):
    name = seeded(cluster)
    wrong = (
        "SELECT count(*) FROM inventory v LEFT JOIN (SELECT instance_id, cabin, sum(passengers) AS sold FROM bookings"
        " WHERE status = 'confirmed' GROUP BY 1, 2) b USING (instance_id, cabin)"
        " WHERE v.seats_total - v.seats_left <> coalesce(b.sold, 0)"
    )
    assert cluster.primary.run(wrong, name) == [(0,)]
    counts = "SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM payments), (SELECT count(*) FROM airports)"
    assert cluster.primary.run(counts, name) == [(2000, 2000, 40)]  # 200,000 x 0.01; at least 40 airports
    travellers = "SELECT (SELECT sum(passengers) FROM bookings) = (SELECT count(*) FROM passengers)"
    assert cluster.primary.run(travellers, name) == [(True,)]
    every_quarter = "SELECT count(DISTINCT tableoid) FROM bookings"  # 2029-05-01 to 2030-04-30
    assert cluster.primary.run(every_quarter, name) == [(5,)]


def test_a_seed_that_is_cut_off_leaves_nothing_and_the_next_one_fills_everything(cluster):
    name = cluster.new_database()
    url = cluster.primary.url(name)

    def cut_off(table: str, _: int, __: int) -> None:
        if table == "passengers":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(url, today=NOON.date(), terms=SeedTerms(), told=cut_off)
    assert cluster.primary.run("SELECT count(*) FROM airports", name) == [(0,)]
    prepare(url, today=NOON.date(), terms=SeedTerms())
    assert cluster.primary.run("SELECT count(*) FROM bookings", name) == [(2000,)]


def test_progress_is_told_by_table_up_to_all_of_its_rows(cluster):
    name = cluster.new_database()
    told: dict[str, tuple[int, int]] = {}

    def tell(table: str, done: int, total: int) -> None:
        told[table] = (done, total)

    prepare(cluster.primary.url(name), today=NOON.date(), terms=SeedTerms(), told=tell)
    assert told["bookings"] == (2000, 2000)
    assert all(done == total for done, total in told.values())
    assert {"airports", "flights", "flight_instances", "inventory", "users", "passengers"} < set(told)
    with psycopg.connect(cluster.primary.url(name)) as connection:
        ids = connection.execute("SELECT nextval(pg_get_serial_sequence('booking_keys', 'id'))").fetchone()
    assert ids == (2001,)
