"""The stack's data directory: one stack at a time, its state on disk, its logs.

The lock is the kernel's (flock), so a killed supervisor holds it no longer. `stack.json` is for `tidegauge status` and
for the next start, which clears what a killed supervisor left.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from tidegauge.part import StackError

_LARGEST_LOG_BYTES = 8 * 1024 * 1024


class StackDirectory:
    """One data directory, held by at most one supervisor."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: int | None = None

    def hold(self) -> None:
        """Take the directory for this process, making it if need be. Raises StackError naming who holds it."""
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)  # servers of another account live below
            (self.path / "logs").mkdir(mode=0o700, exist_ok=True)
            self._lock = self._take_lock()
        except OSError as error:
            raise StackError(f"the data directory {self.path} cannot be used: {error.strerror}") from error

    def _take_lock(self) -> int:
        while True:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                holder = self.holder()
                raise StackError(
                    f"{self.path} is in use by another Tidegauge stack (pid {holder or 'unknown'}): stop it, "
                    "or choose another directory with --data"
                ) from None
            if self._is_current(lock):
                os.truncate(lock, 0)
                os.write(lock, f"{os.getpid()}\n".encode())
                return lock
            os.close(lock)  # its last holder removed it meanwhile: take the new one

    def _is_current(self, lock: int) -> bool:
        try:
            return os.fstat(lock).st_ino == os.stat(self.path / "lock").st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the directory back, leaving no lock file."""
        if self._lock is not None:
            with suppress(FileNotFoundError):
                (self.path / "lock").unlink()
            os.close(self._lock)
            self._lock = None

    def holder(self) -> int | None:
        """Return the pid of the supervisor that holds the directory now; None when nobody does."""
        try:
            with (self.path / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            text = (self.path / "lock").read_text(encoding="ascii").strip()
            return int(text) if text.isdigit() else 0

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace `stack.json` as a whole."""
        path = self.path / "stack.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        new.replace(path)

    def read_state(self) -> dict[str, Any]:
        """Return what `stack.json` holds; empty when there is none or it is no state of ours."""
        try:
            state = json.loads((self.path / "stack.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state if isinstance(state, dict) else {}

    def log_path(self, part: str) -> Path:
        """Return where a part's output goes."""
        return self.path / "logs" / f"{part}.log"

    def open_log(self, part: str) -> BinaryIO:
        """Open a part's log to append to, marking a new start; a large one first becomes NAME.log.1."""
        path = self.log_path(part)
        if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        log = path.open("ab")
        log.write(f"--- {part} starts {datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
        log.flush()
        return log

    def last_lines(self, part: str, count: int = 15) -> str:
        """Return the end of a part's log: what it said before it failed."""
        try:
            with self.log_path(part).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-count:])
