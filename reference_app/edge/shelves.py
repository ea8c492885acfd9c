"""What the edge keeps: public answers, per region, once they are popular; stale ones for when the origin fails.

An answer is kept when it was asked for at least `least_uses` times in five minutes, as long as its `s-maxage` says;
then it is stale, and serves only while the origin does not. A change that names one of its surrogate keys removes it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from cachetools import TTLCache

from reference_app.caching.l1 import MOST_KEYS, TaggedCache

POPULAR_SECONDS = 300.0
LONGEST_FRESH_SECONDS = 600.0
_DIRECTIVE = re.compile(r"(s-maxage|stale-if-error)\s*=\s*\"?(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where an answer lies: region, path, query in a canonical order, and the encoding the viewer accepts."""

    region: str
    path: str
    query: str
    encoding: str


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as the origin gave it. Instants are of the shelves' clock, in seconds."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    etag: bytes
    kept_at: float
    fresh_until: float
    stale_until: float


def canonical_query(query: bytes) -> str:
    """Return the query with its parameters in order: the same search asked in another order is the same search."""
    return urlencode(sorted(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))


def keeping_terms(headers: Mapping[str, str]) -> tuple[float, float] | None:
    """Return for how many seconds an answer is fresh and then useful when the origin fails; None: not to be kept."""
    control = headers.get("cache-control", "").lower()
    if "public" not in control or "no-store" in control or "private" in control or "set-cookie" in headers:
        return None
    named = {name: float(seconds) for name, seconds in _DIRECTIVE.findall(control)}
    fresh = min(LONGEST_FRESH_SECONDS, named.get("s-maxage", 0.0))
    return (fresh, named.get("stale-if-error", 0.0)) if fresh > 0 else None


class Shelves:
    """The kept answers of one edge process. `enabled` False keeps none."""

    def __init__(
        self,
        *,
        enabled: bool = True,
        least_uses: int = 2,
        keys: int = MOST_KEYS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cache = TaggedCache(keys=keys, enabled=enabled, monotonic=monotonic)
        self._uses: TTLCache[Shelf, int] = TTLCache(maxsize=keys, ttl=POPULAR_SECONDS, timer=monotonic)
        self._least_uses, self._monotonic = least_uses, monotonic

    def find(self, shelf: Shelf) -> tuple[KeptAnswer | None, bool]:
        """Return the answer on a shelf, if there is one, and whether it is fresh."""
        kept: KeptAnswer | None = self.cache.get(shelf)
        return kept, kept is not None and self._monotonic() < kept.fresh_until

    def note_use(self, shelf: Shelf) -> bool:
        """Count a question; tell whether its answer is popular enough to be kept."""
        uses = self._uses.get(shelf, 0) + 1
        self._uses[shelf] = uses
        return uses >= self._least_uses

    def age_seconds(self, kept: KeptAnswer) -> int:
        """Return how long ago an answer was put on its shelf."""
        return int(self._monotonic() - kept.kept_at)

    def keep(
        self,
        shelf: Shelf,
        headers: tuple[tuple[bytes, bytes], ...],
        body: bytes,
        *,
        terms: tuple[float, float],
        tags: Iterable[str],
        stamp: int,
    ) -> KeptAnswer:
        """Keep an answer that began to be fetched at `stamp`, unless one of its keys has changed since."""
        fresh_seconds, stale_seconds = terms
        now = self._monotonic()
        etag = next((value for name, value in headers if name == b"etag"), b"")
        kept = KeptAnswer(headers, body, etag, now, now + fresh_seconds, now + fresh_seconds + stale_seconds)
        self.cache.put(shelf, kept, tags=tags, seconds=fresh_seconds + stale_seconds, stamp=stamp)
        return kept
