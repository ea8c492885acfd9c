"""Users, found by the hash of their bearer token, remembered in L1 for a minute."""

from __future__ import annotations

from dataclasses import dataclass

from reference_app.caches import RecentValues
from reference_app.database import Databases, Session

USER_SECONDS = 60.0
_BY_TOKEN = """
SELECT u.id, k.email, u.name, u.home_region FROM user_keys k JOIN users u ON u.id = k.user_id
WHERE k.token_hash = %(token_hash)s
"""  # noqa: S105 - a query


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may book."""

    id: int
    email: str
    name: str
    home_region: str


class UserStore:
    """Reads users."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._users: RecentValues[bytes, User] = RecentValues(size=10_000, age_seconds=USER_SECONDS)

    async def user_of(self, token_hash: bytes, session: Session) -> User | None:
        """Return whose token this is the hash of, or None."""
        if (user := self._users.get(token_hash)) is not None:
            session.trail["cache_level"] = "l1"
            return user
        session.trail["cache_level"] = "db"
        parameters = {"token_hash": token_hash}
        users = await self._databases.read(User, _BY_TOKEN, parameters, session=session, purpose="profiles")
        if not users:
            return None  # not remembered: made-up tokens must not push real users out
        self._users.put(token_hash, users[0])
        return users[0]
