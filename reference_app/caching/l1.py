"""L1: values in this process, found by key and forgotten by tag. On cachetools; the edge keeps its answers in one too.

Forgetting by tag notes the instant of the change instead of looking for keys: a value is good while it began to be
loaded after the last change of each of its tags. So a load that was under way when the change came is not kept either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from cachetools import TLRUCache

MOST_KEYS = 10_000
DEFAULT_SECONDS = 300.0
AIRPORT_SECONDS = 3600.0
SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    tags: tuple[str, ...]
    stamp: int
    seconds: float


def _expiry(_: Hashable, kept: _Kept, now: float) -> float:
    return now + kept.seconds


class TaggedCache:
    """At most `keys` values, each for its own time; the least recently used leaves first. `enabled` False keeps none.

    limit_seconds: while set, what is put is kept no longer (nobody tells us of changes just now).
    """

    def __init__(
        self, *, keys: int = MOST_KEYS, enabled: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.enabled, self._monotonic = enabled, monotonic
        self._kept: TLRUCache[Hashable, _Kept] = TLRUCache(maxsize=keys, ttu=_expiry, timer=monotonic)
        self._changed: dict[str, tuple[int, float]] = {}
        self._changes, self._cleared = 0, 0
        self._longest_seconds = DEFAULT_SECONDS
        self.limit_seconds: float | None = None
        self.hits_total = self.misses_total = self.swept_total = 0

    def __len__(self) -> int:
        return int(self._kept.currsize)

    def stamp(self) -> int:
        """Return the count of changes so far: to be taken before a load and given to `put` after it."""
        return self._changes

    def get(self, key: Hashable) -> Any | None:
        """Return the value, or None when it is unknown, too old, or one of its tags has changed."""
        kept = self._kept.get(key)
        if kept is not None:
            if self._is_good(kept):
                self.hits_total += 1
                return kept.value
            self._kept.pop(key, None)
        self.misses_total += 1
        return None

    def put(
        self,
        key: Hashable,
        value: Any,
        *,
        tags: Iterable[str] = (),
        seconds: float = DEFAULT_SECONDS,
        stamp: int | None = None,
    ) -> None:
        """Keep the value for its time, unless one of its tags has changed since `stamp`."""
        if not self.enabled:
            return
        if self.limit_seconds is not None:
            seconds = min(seconds, self.limit_seconds)
        kept = _Kept(value, tuple(tags), self._changes if stamp is None else stamp, seconds)
        if self._is_good(kept):
            self._longest_seconds = max(self._longest_seconds, seconds)
            self._kept[key] = kept

    def drop(self, tags: Iterable[str]) -> None:
        """Forget everything that carries one of these tags, and what is being loaded for them."""
        self._changes += 1
        for tag in tags:
            self._changed[tag] = (self._changes, self._monotonic())

    def clear(self) -> None:
        """Forget everything, and what is being loaded."""
        self._changes += 1
        self._cleared = self._changes
        self._kept.clear()
        self._changed.clear()

    def changed_within(self, tags: Iterable[str], seconds: float) -> bool:
        """Tell whether one of the tags changed in the last `seconds`."""
        since = self._monotonic() - seconds
        return any((change := self._changed.get(tag)) is not None and change[1] > since for tag in tags)

    def sweep(self) -> int:
        """Remove what is too old, and changes older than anything kept; return how many values went."""
        gone = len(self._kept.expire())
        self.swept_total += gone
        since = self._monotonic() - self._longest_seconds
        self._changed = {tag: change for tag, change in self._changed.items() if change[1] > since}
        return gone

    async def sweep_every(self, seconds: float = SWEEP_SECONDS) -> None:
        """Sweep for ever, every minute if not told otherwise."""
        while True:
            await asyncio.sleep(seconds)
            self.sweep()

    def _is_good(self, kept: _Kept) -> bool:
        if kept.stamp < self._cleared:
            return False
        changed = self._changed
        return all(kept.stamp >= changed[tag][0] for tag in kept.tags if tag in changed)
