"""Bearer tokens of the seeded users.

A token is `demo-<user id>-<first 32 hex digits of sha256("<seed>:<user id>")>`. The seed is for demonstrations only and
printed by the seed command, so that a load generator can be any user. The database keeps SHA-256 hashes, no tokens.
"""

from __future__ import annotations

import hashlib

DEMO_TOKEN_SEED = "tidegauge-demo"  # noqa: S105 - public by purpose: the users are made up
LONGEST_TOKEN = 200


def token_of_user(user_id: int, seed: str = DEMO_TOKEN_SEED) -> str:
    """Return the demo token of a user."""
    return f"demo-{user_id}-{hashlib.sha256(f'{seed}:{user_id}'.encode()).hexdigest()[:32]}"


def token_hash(token: str) -> bytes:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
