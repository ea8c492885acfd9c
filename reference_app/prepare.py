"""`python -m reference_app.prepare`: brings the schema up to date and seeds an empty database.

Run once before replicas start; running it again changes nothing but adds the days the schedule lacks. Settings:
REFERENCE_APP_DATABASE_URL, REFERENCE_APP_SEED_SCALE, REFERENCE_APP_SEED, REFERENCE_APP_TOKEN_SEED, TIDEGAUGE_CLOCK.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import psycopg

from reference_app.database.partitions import make_partitions, missing_partitions, needed_span
from reference_app.migrations import MigrationError, MigrationState, migrate, migration_states, packaged_migrations
from reference_app.seed.load import Seeded, Told, nobody, seed_database
from reference_app.settings import DEFAULT_DATABASE_URL
from reference_app.tokens import DEMO_TOKEN_SEED, token_of_user
from tidegauge.clock import clock_from_environment

DEFAULT_SCALE = 0.01
LARGEST_SCALE = 10.0
CONNECT_SECONDS = 10
PARTITIONED = 2  # since this version bookings lie in quarters


@dataclass(frozen=True, slots=True)
class SeedTerms:
    """How much to seed, from which random seed, from what demo tokens are derived, and whether people have booked."""

    scale: float = DEFAULT_SCALE
    seed: int = 1
    token_seed: str = DEMO_TOKEN_SEED
    bookings: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.scale <= LARGEST_SCALE:
            raise ValueError(f"seed scale: expected more than 0 and at most {LARGEST_SCALE:g}, got {self.scale!r}")


def seed_terms_from_environment(environ: Mapping[str, str]) -> SeedTerms:
    """Return the terms. Raises ValueError naming what was expected and what came."""
    try:
        scale = float(environ.get("REFERENCE_APP_SEED_SCALE") or DEFAULT_SCALE)
        seed = int(environ.get("REFERENCE_APP_SEED") or 1)
    except ValueError as error:
        raise ValueError(f"REFERENCE_APP_SEED_SCALE, REFERENCE_APP_SEED: expected numbers: {error}") from error
    return SeedTerms(scale, seed, environ.get("REFERENCE_APP_TOKEN_SEED") or DEMO_TOKEN_SEED)


def prepare(database_url: str, *, today: date, terms: SeedTerms, told: Told = nobody) -> tuple[list[str], Seeded]:
    """Migrate and seed; return the migrations applied and what the database holds. told: see `seed_database`.

    Raises MigrationError, or psycopg.Error when the database can't be reached.
    """
    with psycopg.connect(database_url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
        applied = _migrate(connection, today=today, to=None)
        seeded = seed_database(
            connection,
            today=today,
            scale=terms.scale,
            seed=terms.seed,
            token_seed=terms.token_seed,
            booked=terms.bookings,
            told=told,
        )
    return applied, seeded


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a call changed (names of migrations and of bookings' quarters), and the state after it."""

    changed: list[str]
    states: list[MigrationState]
    missing_quarters: list[str]


def migrated(database_url: str, *, today: date, to: int | None, look_only: bool) -> Migrated:
    """Bring the schema to version `to` (None: the newest), or only look. Raises as `prepare` does."""
    with psycopg.connect(database_url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
        changed = [] if look_only else _migrate(connection, today=today, to=to)
        states = migration_states(connection, packaged_migrations())
        partitioned = any(state.version == PARTITIONED and state.applied_at for state in states)
        missing = missing_partitions(connection, _midnight(today)) if partitioned else []
    return Migrated(changed, states, missing)


def migration_report(done: Migrated, *, as_json: bool) -> str:
    """Return what was done and what is applied, for people or as JSON."""
    if as_json:
        return json.dumps(asdict(done), default=datetime.isoformat)
    lines = [f"{state.name}: {state.applied_at or 'not applied'}" for state in done.states]
    lines.append(f"changed now: {', '.join(done.changed) or 'nothing'}")
    if done.missing_quarters:
        lines.append(f"quarters of bookings that are missing: {', '.join(done.missing_quarters)}")
    return "\n".join(lines)


def _migrate(connection: psycopg.Connection[Any], *, today: date, to: int | None) -> list[str]:
    changed = migrate(connection, packaged_migrations(), to=to)
    if to is None or to >= PARTITIONED:
        make_partitions(connection, *needed_span(_midnight(today)))
    return changed


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def report(applied: list[str], seeded: Seeded, terms: SeedTerms) -> str:
    """Return what was done, for people; with the demo tokens' rule, which is public by purpose."""
    return (
        f"migrations applied: {', '.join(applied) or 'none'}\n"
        f"{seeded.airports} airports, {seeded.flights} daily flights, {seeded.users} users, "
        f"{seeded.flying_days} flights until {seeded.last_day} ({seeded.added} added), {seeded.bookings} bookings\n"
        f"demo token of user n: demo-<n>-<first 32 hex digits of sha256('{terms.token_seed}:<n>')>, "
        f"e.g. {token_of_user(1, terms.token_seed)}"
    )


def main() -> int:
    """Prepare the database that the environment names; return the exit code."""
    try:
        terms = seed_terms_from_environment(os.environ)
        today = clock_from_environment(os.environ).now().date()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    url = os.environ.get("REFERENCE_APP_DATABASE_URL") or DEFAULT_DATABASE_URL
    try:
        applied, seeded = prepare(url, today=today, terms=terms)
    except (MigrationError, psycopg.Error) as error:
        sys.stderr.write(f"the database could not be prepared: {error}\n")
        return 1
    sys.stdout.write(report(applied, seeded, terms) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
