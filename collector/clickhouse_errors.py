"""What can go wrong with the store, in our words, and which of ClickHouse's errors pass by waiting."""

from __future__ import annotations

# ClickHouse's codes for troubles of the moment; everything else it refuses for good.
_PASSING_CODES = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE: the connection broke inside the body
        76,  # CANNOT_OPEN_FILE: too many open files, or the disk is away
        159,  # TIMEOUT_EXCEEDED
        164,  # READONLY: a replica or user that is read-only for now
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        236,  # ABORTED: the server is shutting down
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS: merges are behind (also too many partitions in a block, which our callers limit)
        279,  # ALL_CONNECTION_TRIES_FAILED
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        439,  # CANNOT_SCHEDULE_TASK
        516,  # AUTHENTICATION_FAILED
        192,  # UNKNOWN_USER, and the next three: a grant or password being mended by the operator, not a reason
        193,  # WRONG_PASSWORD  to drop data
        194,  # REQUIRED_PASSWORD
        497,  # ACCESS_DENIED
        999,  # KEEPER_EXCEPTION
        # the tables are not there (yet): a new database, before migrate
        60,  # UNKNOWN_TABLE
        81,  # UNKNOWN_DATABASE
    }
)


class StoreError(RuntimeError):
    """Something about the store failed."""


class StoreSettingsError(StoreError):
    """A TIDEGAUGE_CLICKHOUSE_* setting is not as expected."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached or cannot serve now: the same call may succeed later."""


class StoreRefusedError(StoreError):
    """The store refused for good. `code` is ClickHouse's error code, None when the driver refused before sending."""

    def __init__(self, message: str, *, code: int | None) -> None:
        super().__init__(message)
        self.code = code


class MigrationError(StoreError):
    """A folder of migrations is not as expected."""


def is_passing(code: int) -> bool:
    """Say whether a refusal with this code of ClickHouse may pass by waiting."""
    return code in _PASSING_CODES
