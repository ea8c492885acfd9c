"""Users, found by the hash of their bearer token, remembered in L1 until they change."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from reference_app.caching.l1 import TaggedCache
from reference_app.caching.tags import USER_UPDATED, user_tag
from reference_app.database import Databases, Session
from reference_app.jobs.terms import EVENTS
from reference_app.stores import outbox

_BY_TOKEN = """
SELECT u.id, k.email, u.name, u.home_region FROM user_keys k JOIN users u ON u.id = k.user_id
WHERE k.token_hash = %(token_hash)s
"""  # noqa: S105 - a query
_CHANGE = """
UPDATE users SET name = coalesce(%(name)s, name), home_region = coalesce(%(home_region)s, home_region)
WHERE id = %(id)s RETURNING name, home_region
"""


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may book."""

    id: int
    email: str
    name: str
    home_region: str


class UserStore:
    """Reads users."""

    def __init__(self, databases: Databases, l1: TaggedCache) -> None:
        self._databases, self._l1 = databases, l1

    async def user_of(self, token_hash: bytes, session: Session) -> User | None:
        """Return whose token this is the hash of, or None."""
        key, stamp = ("user", token_hash), self._l1.stamp()
        user: User | None = None if session.last_write is not None else self._l1.get(key)
        if user is not None:
            session.trail["cache_level"] = "l1"
            return user
        session.trail["cache_level"] = "db"
        parameters = {"token_hash": token_hash}
        users = await self._databases.read(User, _BY_TOKEN, parameters, session=session, purpose="profiles")
        if not users:
            return None  # not remembered: made-up tokens must not push real users out
        self._l1.put(key, users[0], tags=(user_tag(users[0].id),), stamp=stamp)
        return users[0]

    async def change(self, user: User, *, name: str | None, home_region: str | None, session: Session) -> User:
        """Change what is not None; every cache hears of it. Returns the user as they are now."""
        session.trail["cache_level"] = "none"
        parameters = {"id": user.id, "name": name, "home_region": home_region}
        async with self._databases.write(session) as connection:
            row = await (await connection.execute(_CHANGE, parameters)).fetchone()
            event = outbox.Message(EVENTS, USER_UPDATED, {"tags": [user_tag(user.id)]}, f"user:{uuid4()}")
            await outbox.put(connection, [event])
        self._l1.drop([user_tag(user.id)])
        return user if row is None else User(user.id, user.email, *row)
