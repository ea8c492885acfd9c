"""The spool: batches that were acknowledged and are not in the store yet, one file each, on disk before the answer.

Three kinds of files make a kill at any instant harmless:
`pending/<received us>-<batch id>.json`  an accepted batch, fsync'd and renamed into place;
`blocks.json`                            which batches form which insert, written before the insert is first sent, so
                                         that a repetition sends the identical block under the identical token;
`settled-*.log`                          the ids of batches the store has taken. This is the commit point: a batch in it
                                         is never sent again, and its late repetition by a client is a duplicate.
What the store refuses for good goes to `dead-letter/` with its reason. One process owns the folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

DEFAULT_QUOTA_BYTES = 512 * 1024 * 1024
MOST_PENDING = 100_000  # batches; their names are kept in memory
RESERVED_BYTES = (
    16 * 1024 * 1024
)  # never filled by batches: the plan, the settled log and the outbox need room to go on
SETTLED_PER_LOG = 50_000  # two logs are kept: ids of the last 50,000 to 100,000 batches


class SpoolFullError(RuntimeError):
    """The spool has reached its quota, or its disk takes no more; the client should come back later."""


class SpoolLockedError(RuntimeError):
    """Another process owns the folder."""


@dataclass(frozen=True, slots=True)
class Block:
    """Batches (file names in pending/) that form one insert; the id is its deduplication token."""

    block_id: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What waits. oldest_received_us: clock's epoch microseconds of the oldest waiting batch, None when none waits."""

    batches: int
    size_bytes: int
    oldest_received_us: int | None
    dead_letters: int


class Spool:
    """The spool in one folder. `accept` and the writer's methods may be called from different threads."""

    def __init__(
        self, folder: Path, *, quota_bytes: int = DEFAULT_QUOTA_BYTES, reserved_bytes: int = RESERVED_BYTES
    ) -> None:
        self._folder, self._quota_bytes, self._reserved_bytes = folder, quota_bytes, reserved_bytes
        self._pending_folder, self._dead_folder = folder / "pending", folder / "dead-letter"
        for part in (self._pending_folder, self._dead_folder):
            part.mkdir(parents=True, exist_ok=True)
        self._ownership = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._ownership, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._ownership)
            raise SpoolLockedError(f"{folder}: another collector owns this spool (TIDEGAUGE_DATA)") from error
        self._lock = threading.Lock()
        self._settled: set[str] = set()
        self._pending: OrderedDict[str, int] = OrderedDict()  # file name -> bytes, oldest first
        self._pending_ids: set[str] = set()
        self._pending_bytes = 0
        self._recover()

    def close(self) -> None:
        """Give up ownership of the folder."""
        os.close(self._ownership)

    def accept(self, batch_id: str, body: bytes, *, received_us: int) -> bool:
        """Put a batch on disk; False when it is already known. Raises SpoolFullError. Returns after fsync."""
        with self._lock:
            if batch_id in self._pending_ids or batch_id in self._settled:
                return False
            if self._pending_bytes + len(body) > self._quota_bytes or len(self._pending) >= MOST_PENDING:
                raise SpoolFullError(f"the spool holds its quota: {self._quota_bytes} bytes, {MOST_PENDING} batches")
            name = f"{received_us:020d}-{batch_id}.json"
            self._write_pending(self._pending_folder / name, body)
            self._add(name, len(body))
            return True

    def _write_pending(self, path: Path, body: bytes) -> None:
        """Put a batch on disk whole, or leave nothing of it. Raises SpoolFullError."""
        try:
            disk = os.statvfs(self._pending_folder)
            if disk.f_bavail * disk.f_frsize < self._reserved_bytes + len(body):
                raise SpoolFullError(f"the disk of the spool has only {disk.f_bavail * disk.f_frsize} bytes left")
            write_durably(path, body)
        except OSError as error:
            # Renamed or not: it is not acknowledged, and its repetition will lie under another name.
            for each in (path, temporary_of(path)):
                each.unlink(missing_ok=True)
            raise SpoolFullError(f"the spool cannot be written: {error}") from error

    def state(self) -> SpoolState:
        """Return what waits now."""
        with self._lock:
            oldest = next(iter(self._pending), None)
            return SpoolState(
                batches=len(self._pending),
                size_bytes=self._pending_bytes,
                oldest_received_us=int(oldest.split("-", 1)[0]) if oldest else None,
                dead_letters=sum(1 for _ in self._dead_folder.glob("*.json")),
            )

    def read(self, name: str) -> bytes:
        """Return the body of a waiting batch."""
        return (self._pending_folder / name).read_bytes()

    def next_blocks(self, *, most_bytes: int, most_batches: int) -> list[Block]:
        """Return the blocks to send now: those of an earlier, unfinished plan, else a new one over the oldest batches.

        The plan is on disk before this returns. An empty list: nothing waits.
        """
        unfinished = [block for block in self._read_plan() if not self._is_settled(block)]
        if unfinished:
            return unfinished
        names: list[str] = []
        size = 0
        with self._lock:
            for name, length in self._pending.items():
                if names and (size + length > most_bytes or len(names) >= most_batches):
                    break
                names.append(name)
                size += length
        if not names:
            return []
        return self.replan([names])

    def replan(self, groups: Iterable[Iterable[str]]) -> list[Block]:
        """Replace the plan, in one step: one new block for each group of batches."""
        blocks = [Block(str(uuid.uuid4()), tuple(names)) for names in groups]
        plan = [{"id": block.block_id, "names": list(block.names)} for block in blocks]
        write_durably(self._folder / "blocks.json", json.dumps(plan).encode())
        return blocks

    def settle(self, block: Block) -> None:
        """Remember for good that the store has these batches, then remove their files."""
        ids = [id_of(name) for name in block.names]
        self._append_settled(ids)
        with self._lock:
            self._settled.update(ids)
            self._pending_ids.difference_update(ids)
            for name in block.names:
                self._pending_bytes -= self._pending.pop(name, 0)
        for name in block.names:
            (self._pending_folder / name).unlink(missing_ok=True)

    def bury(self, block: Block, reason: str) -> None:
        """Move the batches to dead-letter/ with the reason, and settle them."""
        for name in block.names:
            source = self._pending_folder / name
            if source.exists():
                write_durably(self._dead_folder / f"{name}.reason", reason.encode())
                write_durably(self._dead_folder / name, source.read_bytes())
        self.settle(block)

    def revive(self, name: str, *, batch_id: str, received_us: int) -> bool:
        """Accept a dead letter's body again under another id and remove the letter; False when there is none.

        Raises SpoolFullError. Done twice, it is stored once: the letter goes after its body was accepted.
        """
        letter = self._dead_folder / Path(name).name
        if not letter.is_file():
            return False
        self.accept(batch_id, letter.read_bytes(), received_us=received_us)
        letter.unlink()
        letter.with_name(letter.name + ".reason").unlink(missing_ok=True)
        return True

    def _is_settled(self, block: Block) -> bool:
        with self._lock:
            return all(id_of(name) in self._settled for name in block.names)

    def _read_plan(self) -> list[Block]:
        try:
            plan = json.loads((self._folder / "blocks.json").read_bytes())
        except FileNotFoundError:
            return []
        return [Block(entry["id"], tuple(entry["names"])) for entry in plan]

    def _recover(self) -> None:
        for leftover in [*self._folder.glob("*.tmp"), *self._folder.glob("*/*.tmp")]:
            leftover.unlink()  # half-written: it was never acknowledged
        for log in ("settled-previous.log", "settled-current.log"):
            path = self._folder / log
            if path.exists():
                self._settled.update(line for line in path.read_text().splitlines() if len(line) == 36)
        for path in sorted(self._pending_folder.glob("*.json")):
            if id_of(path.name) in self._settled or id_of(path.name) in self._pending_ids:
                path.unlink()
            else:
                self._add(path.name, path.stat().st_size)

    def _add(self, name: str, size_bytes: int) -> None:
        self._pending[name] = size_bytes
        self._pending_ids.add(id_of(name))
        self._pending_bytes += size_bytes

    def _append_settled(self, ids: list[str]) -> None:
        current, previous = self._folder / "settled-current.log", self._folder / "settled-previous.log"
        with current.open("ab") as log:
            # A kill may have torn the last line: the leading newline keeps it from swallowing this one.
            log.write(("\n" + "\n".join(ids) + "\n").encode())
            log.flush()
            os.fsync(log.fileno())
            full = log.tell() > SETTLED_PER_LOG * 37
        if full:
            os.replace(current, previous)
            current.touch()
            _fsync_folder(self._folder)
            with self._lock:
                self._settled = {line for line in previous.read_text().splitlines() if len(line) == 36}


def id_of(name: str) -> str:
    """Return the batch id in the name of a pending file."""
    return name.split("-", 1)[1].removesuffix(".json")


def temporary_of(path: Path) -> Path:
    """Return the name that a file has until it is whole."""
    return path.with_name(path.name + ".tmp")


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is there whole, or not at all."""
    temporary = temporary_of(path)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _fsync_folder(path.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
