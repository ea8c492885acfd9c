"""The collector's connection to a store that may be away, at the start and later.

Events are acknowledged from the spool without it; everything else asks here and is told when it cannot be served.
"""

from __future__ import annotations

from collections.abc import Callable

from collector.clickhouse import ClickHouseSettings, Client, StoreUnavailableError, connect, migrate
from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER


class StoreLink:
    """Connected and migrated once `open_once` succeeded; afterwards the client's pool reconnects by itself."""

    def __init__(
        self, settings: ClickHouseSettings, open_client: Callable[[ClickHouseSettings], Client] = connect
    ) -> None:
        self._settings, self._open_client = settings, open_client
        self._client: Client | None = None

    @property
    def ready(self) -> bool:
        """Whether the tables are there."""
        return self._client is not None

    def client(self) -> Client:
        """Return the client. Raises StoreUnavailableError before the store was there for the first time."""
        if self._client is None:
            raise StoreUnavailableError(f"the store at {self._settings.url} has not answered yet")
        return self._client

    def open_once(self) -> list[str]:
        """Connect and migrate; return the migrations applied now. Raises StoreError."""
        client = self._open_client(self._settings)
        try:
            applied = migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
        except BaseException:
            client.close()
            raise
        self._client = client
        return applied

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()
