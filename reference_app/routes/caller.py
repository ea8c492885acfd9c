"""Who asks: the session (which log position they have written, where to note what answered) and the user."""

from __future__ import annotations

from typing import Annotated

from fastapi import Cookie, Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from reference_app.database import Session
from reference_app.lsn import lsn_from_text
from reference_app.parts import Parts
from reference_app.problems import Problem
from reference_app.stores.users import User
from reference_app.tokens import LONGEST_TOKEN, token_hash

LAST_WRITE = "x-last-write"
_LSN_PATTERN = "^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$"
_bearer = HTTPBearer(auto_error=False, description="A seeded user's demo token.")


async def parts_in(request: Request) -> Parts:
    """Return the app's parts."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts)  # noqa: S101 - set by create_app
    return parts


async def session_in(
    request: Request,
    last_write: Annotated[
        str | None,
        Header(alias=LAST_WRITE, pattern=_LSN_PATTERN, description="As answered to the last write; reads then see it."),
    ] = None,
    remembered: Annotated[str | None, Cookie(alias=LAST_WRITE, pattern=_LSN_PATTERN)] = None,
) -> Session:
    """Return the caller's session, which notes cache level and database target for the middleware."""
    trail = request.scope.setdefault("tidegauge", {})
    trail["cache_level"] = "none"
    text = last_write or remembered
    position = lsn_from_text(text) if text else None
    return Session(position, trail, request.scope.get("deadline"), str(trail.get("region", "")))


async def user_in(
    parts: Annotated[Parts, Depends(parts_in)],
    session: Annotated[Session, Depends(session_in)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> User:
    """Return the user whose token came. Raises a 401 problem."""
    challenge = {"WWW-Authenticate": "Bearer"}
    if credentials is None:
        raise Problem(401, "no-token", "expected the header Authorization: Bearer <token>", headers=challenge)
    user = None
    if len(credentials.credentials) <= LONGEST_TOKEN:
        user = await parts.users.user_of(token_hash(credentials.credentials), session)
    if user is None:
        raise Problem(401, "unknown-token", "no user has this token", headers=challenge)
    return user


PartsIn = Annotated[Parts, Depends(parts_in)]
SessionIn = Annotated[Session, Depends(session_in)]
UserIn = Annotated[User, Depends(user_in)]
