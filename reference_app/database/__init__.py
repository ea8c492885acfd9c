"""The databases of the app: who is asked, through which connections, and what is seen of it."""

from reference_app.database.build import databases_of
from reference_app.database.pools import open_pool
from reference_app.database.replica import Replica
from reference_app.database.router import DatabaseBusy, DatabaseDown, Databases, DeadlinePassed, Session
from reference_app.database.settings import DatabaseSettings, database_settings

__all__ = [
    "DatabaseBusy",
    "DatabaseDown",
    "DatabaseSettings",
    "Databases",
    "DeadlinePassed",
    "Replica",
    "Session",
    "database_settings",
    "databases_of",
    "open_pool",
]
