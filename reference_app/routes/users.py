"""The caller's own data."""

from __future__ import annotations

from fastapi import APIRouter

from reference_app.models import UserAnswer
from reference_app.problems import documented
from reference_app.routes.caller import UserIn

router = APIRouter(prefix="/api/users", tags=["users"])


@router.get("/me", summary="Who I am", responses=documented(401, 422, 503))
async def me(user: UserIn) -> UserAnswer:
    """The user whose token came."""
    return UserAnswer.model_validate(user)
