"""Who asks: the session (which log position they have written, where to note what answered) and the user."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Cookie, Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from reference_app.database import Session
from reference_app.lsn import lsn_from_text
from reference_app.parts import Parts
from reference_app.problems import Problem
from reference_app.selection import Fields
from reference_app.stores.users import User
from reference_app.tokens import LONGEST_TOKEN, token_hash

LAST_WRITE = "x-last-write"
_LSN_PATTERN = "^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$"
_bearer = HTTPBearer(auto_error=False, scheme_name="user", description="A seeded user's demo token.")
_admin_bearer = HTTPBearer(auto_error=False, scheme_name="admin", description="The operator's admin token.")


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
    _timeout: Annotated[  # described here, obeyed where requests are admitted
        int | None,
        Header(alias="X-Request-Timeout-Ms", ge=1, le=30_000, description="The answer is of no use after this: 504."),
    ] = None,
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


async def admin_in(
    parts: Annotated[Parts, Depends(parts_in)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_admin_bearer)],
) -> None:
    """Let an admin pass. Raises a 404 problem when no admin token is set, 401 without a token, 403 with another one."""
    expected = parts.service.admin_token
    if expected is None:
        raise Problem(404, "no-admin", "this replica has no admin routes: REFERENCE_APP_ADMIN_TOKEN is not set")
    if credentials is None:
        detail = "expected the header Authorization: Bearer <admin token>"
        raise Problem(401, "no-token", detail, headers={"WWW-Authenticate": "Bearer"})
    given = credentials.credentials.encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(given, expected.encode()):
        raise Problem(403, "not-an-admin", "this token is not the admins'")


async def fields_in(parts: Annotated[Parts, Depends(parts_in)], fields: Fields = None) -> str | None:
    """Return the fields that the caller asked for, None for all."""
    return fields if parts.service.fields else None


PartsIn = Annotated[Parts, Depends(parts_in)]
FieldsIn = Annotated[str | None, Depends(fields_in)]
SessionIn = Annotated[Session, Depends(session_in)]
UserIn = Annotated[User, Depends(user_in)]
