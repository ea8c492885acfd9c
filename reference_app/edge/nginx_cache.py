"""Forgetting for nginx, which cannot purge by surrogate key: follows the changes, removes the files they made stale.

nginx keeps each answer in a file with the headers it came with; a file that is gone is a miss. What a file carries is
read once and remembered, so that a change costs a look into an index and not into the folder. A fetch that was under
way when the change came may write its file after it, so each change is looked for again for a few seconds.
"""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

HEAD_BYTES = 16_384  # nginx's own part and the headers: its buffer for them is 4 or 8 KiB
AGAIN_SECONDS = 5.0
_SURROGATE_KEY = re.compile(rb"\r\nsurrogate-key:[ \t]*([^\r\n]*)", re.IGNORECASE)


class NginxCache:
    """The folder of a `proxy_cache_path`. Blocking file work: it has a process of its own."""

    def __init__(self, folder: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._monotonic = folder, monotonic
        self._recent: dict[str, float] = {}
        self._known: dict[str, tuple[int, frozenset[str]]] = {}  # path: when it was written, what it carries
        self._carriers: dict[str, set[str]] = {}
        self.limit_seconds: float | None = None  # nginx takes no such word; being deaf clears the folder, once
        self.removed_total = 0

    def __len__(self) -> int:
        return sum(1 for _ in self._files())

    def drop(self, tags: Iterable[str]) -> None:
        """Remove the files known to carry one of these tags; `drop_again` finds those written meanwhile."""
        now = self._monotonic()
        for tag in tags:
            self._recent[tag] = now
            self._remove(self._carriers.pop(tag, ()))

    def drop_again(self) -> None:
        """Look at what was written since the last time, and remove what carries a tag that changed just before."""
        since = self._monotonic() - AGAIN_SECONDS
        self._recent = {tag: changed for tag, changed in self._recent.items() if changed > since}
        self._look()
        for tag in self._recent:
            self._remove(self._carriers.pop(tag, ()))

    def clear(self) -> None:
        """Remove every file."""
        self._remove(entry.path for entry in list(self._files()))
        self._look()

    def _look(self) -> None:
        known, carriers = {}, defaultdict(set)
        for entry in self._files():
            try:
                written = entry.stat().st_mtime_ns
            except OSError:
                continue  # it is gone already
            before = self._known.get(entry.path)
            tags = before[1] if before is not None and before[0] == written else surrogate_keys(entry.path)
            known[entry.path] = (written, tags)
            for tag in tags:
                carriers[tag].add(entry.path)
        self._known, self._carriers = known, dict(carriers)

    def _files(self) -> Iterator[os.DirEntry[str]]:
        """Go through the files two folders down: `levels=1:2`."""
        for first in _entries(self._folder):
            for second in _entries(first.path) if first.is_dir() else ():
                if second.is_dir():
                    yield from (entry for entry in _entries(second.path) if entry.is_file())

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            Path(path).unlink(missing_ok=True)
            self._known.pop(path, None)
            self.removed_total += 1


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:  # nginx made none yet, or removed it
        return []


def surrogate_keys(path: str) -> frozenset[str]:
    """Return the surrogate keys of a file of nginx's cache; none when it is gone or has none."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return frozenset()
    found = _SURROGATE_KEY.search(head)
    return frozenset(found[1].decode("latin-1").split()) if found else frozenset()
