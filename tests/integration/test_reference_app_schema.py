"""The app's schema in a real PostgreSQL: there and back with its rows, keys over partitions, concurrent indexes."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from reference_app.commands import mount
from reference_app.database.partitions import make_partitions, missing_partitions, needed_span
from reference_app.migrations import Migration, MigrationError, migrate, migration_states, packaged_migrations
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import NOON, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server

OLD_ROWS = """
INSERT INTO airports VALUES ('JFK', 'K', 'New York', 'US', 'na', 0, 0), ('LAX', 'L', 'Los Angeles', 'US', 'na', 0, 0),
  ('LHR', 'H', 'London', 'GB', 'europe', 0, 0);
INSERT INTO flights VALUES (1, 'TG1', 'JFK', 'LAX', '8 h', '6 h', 100), (2, 'TG2', 'JFK', 'LHR', '9 h', '7 h', 100);
INSERT INTO flight_instances SELECT id, id, '2030-05-01', timestamptz '2030-05-01 00:00Z' + departs_after,
  timestamptz '2030-05-01 00:00Z' + departs_after + duration FROM flights;
INSERT INTO inventory VALUES (1, 'economy', 9, 9, 100), (2, 'economy', 9, 8, 100);
INSERT INTO users VALUES (5, 'a@example.com', 'A', 'us-east', 'x'), (6, 'b@example.com', 'B', 'eu-west', 'y');
INSERT INTO bookings (user_id, instance_id, cabin, passengers, price_cents, status, idempotency_key, created_at)
  VALUES (5, 2, 'economy', 1, 100, 'confirmed', 'first-key', '2030-03-31 23:59:59Z'),
         (5, 2, 'economy', 1, 100, 'confirmed', 'second-key', '2030-04-01 00:00:00Z');
"""
WHAT_THERE_IS = """
SELECT (SELECT count(*) FROM flights), (SELECT count(*) FROM flight_instances), (SELECT count(*) FROM inventory),
       (SELECT count(*) FROM users), (SELECT count(*) FROM bookings)
"""


@pytest.fixture
def connection(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(cluster.primary.url(cluster.new_database()), autocommit=True) as made:
        yield made


@pytest.fixture(scope="module")
def seeded(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return name


@pytest.fixture
def rows(cluster: Cluster, seeded: str) -> Iterator[psycopg.Connection[Any]]:
    """A seeded database; what a test does in it is rolled back."""
    with psycopg.connect(cluster.primary.url(seeded)) as made:
        yield made
        made.rollback()


def one(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def test_the_migrations_go_up_and_all_the_way_down_and_up_again_and_keep_the_rows(connection):
    migrations = packaged_migrations()
    migrate(connection, migrations, to=1)
    connection.execute(OLD_ROWS)
    assert migrate(connection, migrations) == [each.name for each in migrations[1:]]
    assert one(connection, WHAT_THERE_IS) == (2, 2, 2, 2, 2)
    where = "SELECT array_agg(tableoid::regclass::text ORDER BY id) FROM "
    assert one(connection, where + "bookings") == (["bookings_2030q1", "bookings_2030q2"],)  # the turn of the quarter
    assert one(connection, where + "flights") == (["flights_domestic", "flights_international"],)
    migrate(connection, migrations, to=1)
    assert one(connection, WHAT_THERE_IS) == (2, 2, 2, 2, 2)
    assert one(connection, "SELECT idempotency_key FROM bookings WHERE id = 2") == ("second-key",)
    assert one(connection, "SELECT token_hash FROM users WHERE id = 6") == (b"y",)
    migrate(connection, migrations)
    assert one(connection, WHAT_THERE_IS) == (2, 2, 2, 2, 2)
    assert one(connection, "SELECT nextval(pg_get_serial_sequence('booking_keys', 'id'))") == (3,)
    migrate(connection, migrations, to=0)
    left = "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public'"
    assert one(connection, left) == (["schema_migrations"],)
    assert [state.applied_at for state in migration_states(connection, migrations)] == [None] * len(migrations)


def test_a_migration_that_fails_leaves_nothing_behind(connection):
    broken = Migration(1, "0001_broken", "CREATE TABLE half (n int); SELECT 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(connection, [broken])
    assert one(connection, "SELECT to_regclass('half'), (SELECT count(*) FROM schema_migrations)") == (None, 0)


def test_a_version_that_does_not_exist_is_refused(connection):
    with pytest.raises(MigrationError, match=r"expected a version of 0 to \d+, got 99"):
        migrate(connection, packaged_migrations(), to=99)


def test_many_migrate_at_once_though_indexes_are_built_concurrently(cluster):
    url = cluster.primary.url(cluster.new_database())

    def migrating(_: int) -> list[str]:
        with psycopg.connect(url, autocommit=True) as own:
            return migrate(own, packaged_migrations())

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(migrating, range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(packaged_migrations())]


def test_an_index_whose_building_was_cut_off_is_built_anew(connection):
    migrations = packaged_migrations()
    migrate(connection, migrations, to=2)
    make_partitions(connection, NOON, NOON)
    connection.execute("CREATE TABLE other (n int); INSERT INTO other VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):  # leaves an invalid index of this name
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY bookings_2030q2_of_user ON other (n)")
    migrate(connection, migrations)
    state = "SELECT indrelid::regclass::text, indisvalid FROM pg_index WHERE indexrelid = '{}'::regclass"
    assert one(connection, state.format("bookings_2030q2_of_user")) == ("bookings_2030q2", True)
    assert one(connection, state.format("bookings_of_user")) == ("bookings", True)


def test_a_quarter_made_later_has_the_indexes_of_the_whole(rows):
    make_partitions(rows, datetime(2040, 8, 1, tzinfo=UTC), datetime(2040, 8, 1, tzinfo=UTC))
    query = (
        "SELECT count(*) FROM pg_inherits p JOIN pg_index i ON i.indexrelid = p.inhrelid"
        " WHERE i.indrelid = 'bookings_2040q3'::regclass AND i.indisvalid AND inhparent::regclass::text IN"
        " ('bookings_of_user', 'bookings_by_month', 'bookings_holds', 'bookings_by_instance')"
    )
    assert one(rows, query) == (4,)


def test_a_missing_quarter_is_seen_and_made(rows):
    assert missing_partitions(rows, NOON) == []
    later = datetime(2031, 5, 1, tzinfo=UTC)
    # 2031-05-01 plus 366 days is 1 May 2032; at NOON those until 2 May 2031 were made
    absent = ["bookings_2031q3", "bookings_2031q4", "bookings_2032q1", "bookings_2032q2"]
    assert missing_partitions(rows, later) == absent
    assert make_partitions(rows, *needed_span(later)) == absent
    assert missing_partitions(rows, later) == []


@pytest.mark.parametrize("same", ["email", "token_hash"])
def test_no_two_users_share_an_email_or_a_token_whatever_their_partitions(rows, same):
    rows.execute(
        "INSERT INTO users (id, name, home_region) SELECT n, 'x', 'us-east' FROM generate_series(9001, 9004) n"
    )
    places = one(rows, "SELECT count(DISTINCT tableoid) FROM users WHERE id BETWEEN 9001 AND 9004")
    assert places > (1,)
    email, token = ("'e'", "n::text::bytea") if same == "email" else ("n::text", "'t'")
    with pytest.raises(psycopg.errors.UniqueViolation, match=f"user_keys_{same}_key"):
        rows.execute(f"INSERT INTO user_keys SELECT n, {email}, {token} FROM generate_series(9001, 9004) n")


def test_a_user_without_a_key_is_refused_at_commit(rows):
    rows.execute("INSERT INTO users (id, name, home_region) VALUES (9001, 'x', 'us-east')")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        rows.execute("SET CONSTRAINTS ALL IMMEDIATE")


BOOKING = "INSERT INTO bookings (id, created_at, user_id, instance_id, cabin, passengers, price_cents, status) VALUES"
KEY = "INSERT INTO booking_keys (id, created_at, user_id, idempotency_key) VALUES"


def test_a_booking_id_and_an_idempotency_key_are_unique_over_all_quarters(rows):
    rows.execute(f"{KEY} (900077, '2030-05-01Z', 1, 'a-key')".encode())
    rows.execute(f"{BOOKING} (900077, '2030-05-01Z', 1, 61, 'economy', 1, 5, 'confirmed')".encode())
    with pytest.raises(psycopg.errors.ForeignKeyViolation), rows.transaction():  # the same id in another quarter
        rows.execute(f"{BOOKING} (900077, '2030-08-01Z', 1, 61, 'economy', 1, 5, 'confirmed')".encode())
    with pytest.raises(psycopg.errors.UniqueViolation), rows.transaction():
        rows.execute(f"{KEY} (900078, '2030-08-01Z', 1, 'a-key')".encode())


@pytest.mark.parametrize(
    "orphan",
    [
        "INSERT INTO passengers VALUES (999999, 1, 'A', 'D', '2000-01-01')",
        "INSERT INTO payments (booking_id, amount_cents, method_token, status, idempotency_key, created_at, updated_at)"
        " VALUES (999999, 1, 't', 'pending', 'k', now(), now())",
        f"{KEY} (900077, '2030-05-01Z', 99999999, 'a-key')",
        "INSERT INTO inventory VALUES (99999999, 'economy', 1, 1, 1)",
        "DELETE FROM flight_instances WHERE id = 61",
    ],
)
def test_foreign_keys_hold_over_partitions(rows, orphan):
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        rows.execute(f"SET CONSTRAINTS ALL IMMEDIATE; {orphan}".encode())


def test_a_flight_is_domestic_exactly_when_both_airports_are_of_one_country(rows):
    wrong = one(
        rows,
        "SELECT count(*) FROM flights f JOIN airports o ON o.code = f.origin JOIN airports d ON d.code = f.destination"
        " WHERE f.is_domestic <> (o.country = d.country)",
    )
    assert wrong == (0,)
    with pytest.raises(psycopg.errors.CheckViolation), rows.transaction():
        rows.execute("UPDATE flights SET is_domestic = NOT is_domestic WHERE id = 1")
    with pytest.raises(psycopg.errors.ForeignKeyViolation), rows.transaction():  # nor by a lie about the country
        rows.execute("UPDATE flights SET origin_country = 'XX', destination_country = 'YY' WHERE id = 1")


def test_at_most_one_payment_of_a_booking_is_under_way_or_done(rows):
    rows.execute(f"{KEY} (900077, '2030-05-01Z', 1, 'a-key')".encode())
    pay = (
        "INSERT INTO payments (booking_id, amount_cents, method_token, status, idempotency_key, created_at, updated_at)"
        " VALUES (900077, 1, 't', %s, %s, now(), now())"
    )
    rows.execute(pay, ["failed", "k1"])
    rows.execute(pay, ["pending", "k2"])
    with pytest.raises(psycopg.errors.UniqueViolation):
        rows.execute(pay, ["succeeded", "k3"])


def test_the_command_migrates_to_a_version_and_tells_the_state(cluster):
    url = cluster.primary.url(cluster.new_database())

    def told(*arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(reference(), ["reference", "migrate", "--json", "--database-url", url, *arguments])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def applied(answer: dict[str, Any]) -> list[int]:
        return [state["version"] for state in answer["states"] if state["applied_at"]]

    every = [each.version for each in packaged_migrations()]
    assert applied(told("--status")) == []
    assert applied(told()) == every
    assert told("--to", "1")["changed"] == [each.name for each in reversed(packaged_migrations()[1:])]
    assert applied(told("--status")) == [1]
    again = told()
    assert (applied(again), again["missing_quarters"]) == (every, [])
    refused = CliRunner().invoke(reference(), ["reference", "migrate", "--database-url", url, "--to", "99"])
    assert (refused.exit_code, "expected a version of 0 to" in refused.output) == (1, True)


def reference() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    mount(app)
    return app
