"""PostgreSQL's log positions: reading, writing and comparing them, and telling how far a replica is behind.

Pure. Who asks the servers, and what is done about a replica that lags, is the router's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PATTERN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def lsn_from_text(text: str) -> int:
    """Return the position of a log sequence number such as `0/16B3748`, in bytes. Raises ValueError."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a log position such as 0/16B3748, got {text[:40]!a}")
    return (int(match[1], 16) << 32) + int(match[2], 16)


def lsn_to_text(position: int) -> str:
    """Return a position in bytes in PostgreSQL's own form."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def lag_seconds(primary_positions: Iterable[tuple[float, int]], replayed: int, *, now_seconds: float) -> float | None:
    """Return how long ago the primary stood where the replica stands now.

    primary_positions: (instant in seconds, position), oldest first, of one clock with `now_seconds`. A replica that has
    replayed the latest of them lags 0 s. None when it is behind all of them: further than we can tell.
    """
    positions = list(primary_positions)
    if positions and replayed >= positions[-1][1]:
        return 0.0
    reached = [instant for instant, position in positions if position <= replayed]
    return now_seconds - reached[-1] if reached else None
