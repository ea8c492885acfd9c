"""Forgetting for nginx, which cannot purge by surrogate key: follows the changes, removes the files they made stale.

nginx keeps each answer in a file with the headers it came with; a file that is gone is a miss. A fetch that was under
way when the change came may write its file after we looked, so each change is looked for again for a few seconds.
"""

from __future__ import annotations

import re
import time
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
        self.limit_seconds: float | None = None  # nginx takes no such word; being deaf clears the folder, once
        self.removed_total = 0

    def __len__(self) -> int:
        return sum(1 for _ in self._files())

    def drop(self, tags: Iterable[str]) -> None:
        """Remove the files that carry one of these tags, now and while fetches may still be under way."""
        now = self._monotonic()
        self._recent.update(dict.fromkeys(tags, now))
        self.drop_again()

    def drop_again(self) -> None:
        """Remove once more what carries a tag that changed in the last seconds."""
        since = self._monotonic() - AGAIN_SECONDS
        self._recent = {tag: changed for tag, changed in self._recent.items() if changed > since}
        if self._recent:
            wanted = {tag.encode() for tag in self._recent}
            self._remove(path for path in self._files() if wanted & surrogate_keys(path))

    def clear(self) -> None:
        """Remove every file."""
        self._remove(self._files())

    def _files(self) -> Iterator[Path]:
        return (path for path in self._folder.glob("?/??/*") if path.is_file())

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in list(paths):
            path.unlink(missing_ok=True)
            self.removed_total += 1


def surrogate_keys(path: Path) -> set[bytes]:
    """Return the surrogate keys of a file of nginx's cache; none when it is gone or has none."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return set()
    found = _SURROGATE_KEY.search(head)
    return set(found[1].split()) if found else set()
