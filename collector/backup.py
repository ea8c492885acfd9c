"""Copies of a stopped record: the embedded store, the spool and the outbox, with a checksum of every file.

A backup appears under its name when it is whole and checked, and not before. What is restored is checked twice: every
byte against its checksum, then every table against its number of rows. A ClickHouse server of one's own backs itself up
(BACKUP ... TO); then only spool and outbox are copied.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PARTS = ("clickhouse", "spool", "outbox")  # of the collector's data folder; the lock of the spool is no content
MANIFEST = "manifest.json"
_FORMAT = 1
_NOT_COPIED = frozenset({"owner.lock", "status", "store.log"})  # locks of running processes, made anew by each
Progress = Callable[[int, int], None]
CountRows = Callable[[Path], Mapping[str, int]]


class BackupError(RuntimeError):
    """A backup cannot be made or restored; says what was expected, what came and where."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. files: sha256 by path; links: target by path; rows: by table, all merging done."""

    created_at: str
    files: Mapping[str, str]
    links: Mapping[str, str]
    rows: Mapping[str, int]
    statement: str | None = None

    def to_json(self) -> str:
        """Return the text of manifest.json."""
        document = {name: getattr(self, name) for name in ("created_at", "files", "links", "rows", "statement")}
        return json.dumps({"format": _FORMAT, **document}, indent=1, sort_keys=True)


def read_manifest(folder: Path) -> Manifest:
    """Return a backup's manifest. Raises BackupError."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        if document.pop("format") != _FORMAT:
            raise BackupError(f"{folder}: expected a backup of format {_FORMAT}")
        return Manifest(**document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{folder}: expected a backup with its {MANIFEST}, got {error!r}") from error


def make_backup(
    data: Path,
    folder: Path,
    *,
    created_at: str,
    rows: Mapping[str, int],
    statement: str | None = None,
    on_progress: Progress | None = None,
) -> Manifest:
    """Copy the record in `data` to `folder`, which must not exist. The caller holds the record still (`held`).

    statement: of a ClickHouse server's own backup, whose tables are not in `data`. Raises BackupError.
    """
    if folder.exists():
        raise BackupError(f"{folder}: expected a name that is not taken, and nothing is ever overwritten")
    wanted = [part for part in PARTS if (data / part).is_dir() and not (part == "clickhouse" and statement)]
    if not wanted:
        raise BackupError(f"{data}: expected a record ({', '.join(PARTS)}), found none")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed backup left: never whole, never used
    partial.mkdir(parents=True)
    files, links = _copy(data, partial, wanted, on_progress)
    manifest = Manifest(created_at, files, links, rows, statement)
    check_files(partial, manifest)
    (partial / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    _sync(partial / MANIFEST)
    partial.rename(folder)
    _sync(folder.parent)
    return manifest


def restore_backup(
    folder: Path, data: Path, *, count_rows: CountRows, on_progress: Progress | None = None
) -> Mapping[str, tuple[int, int]]:
    """Bring a backup back into `data`, where no record may be; return (expected, found) of tables that have fewer rows.

    Fewer rows are those that became older than their table keeps them since. count_rows: of the record in a folder.
    Killed in the middle it is run again. Raises BackupError, and leaves `data` as it was.
    """
    manifest = read_manifest(folder)
    staging = data / ".restore"
    if not (staging / "checked").exists():
        taken = [part for part in PARTS if (data / part).exists()]
        if taken:
            raise BackupError(
                f"{data}: expected no record in it, found {', '.join(taken)}: nothing is ever overwritten"
            )
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        check_files(folder, manifest)
        _copy(folder, staging, [part for part in PARTS if (folder / part).is_dir()], on_progress)
        check_files(staging, manifest)
        fewer = _compare(manifest.rows, count_rows(staging) if (staging / "clickhouse").is_dir() else {})
        (staging / "checked").write_text(json.dumps(fewer))
        _sync(staging / "checked")
    fewer = {table: (pair[0], pair[1]) for table, pair in json.loads((staging / "checked").read_text()).items()}
    for part in PARTS:
        if (staging / part).is_dir():
            (staging / part).rename(data / part)
    _sync(data)
    shutil.rmtree(staging)
    return fewer


def check_files(folder: Path, manifest: Manifest) -> None:
    """Read every file of a backup. Raises BackupError for one that is absent, not listed or not what it was."""
    found, links = _listed(folder, [part for part in PARTS if (folder / part).is_dir()])
    if set(found) != set(manifest.files) or links != dict(manifest.links):
        changed = sorted(
            set(found).symmetric_difference(manifest.files) | set(links).symmetric_difference(manifest.links)
        )
        raise BackupError(f"{folder}: expected the files of its manifest; these are missing or new: {changed[:5]}")
    for name, digest in manifest.files.items():
        if _digest(folder / name) != digest:
            raise BackupError(f"{folder / name}: expected the content of the backup, got another")


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Keep the collector of `data` from starting; raises BackupError when it runs."""
    folder = data / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BackupError(f"{data}: expected a record at rest: stop its collector (and its store) first") from error
    finally:
        os.close(lock)


def _compare(expected: Mapping[str, int], found: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    off = {table: (rows, found.get(table, 0)) for table, rows in expected.items() if found.get(table, 0) != rows}
    more = [table for table, (rows, now) in off.items() if now > rows or table not in found]
    if more:
        raise BackupError(f"the restored tables {', '.join(more)} do not have the rows of the backup: {off}")
    return off


def _copy(
    source: Path, target: Path, parts: list[str], on_progress: Progress | None
) -> tuple[dict[str, str], dict[str, str]]:
    names, links = _listed(source, parts)
    for part in parts:
        (target / part).mkdir(parents=True)
        for folder in (path for path in (source / part).rglob("*") if path.is_dir() and not path.is_symlink()):
            (target / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)
    digests = {}
    for number, name in enumerate(names, 1):
        shutil.copy2(source / name, target / name)
        _sync(target / name)
        digests[name] = _digest(source / name)
        if on_progress is not None:
            on_progress(number, len(names))
    for name, pointed in links.items():
        (target / name).symlink_to(pointed)
    return digests, links


def _listed(folder: Path, parts: list[str]) -> tuple[list[str], dict[str, str]]:
    names, links = [], {}
    for part in parts:
        for path in sorted((folder / part).rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_symlink():
                links[name] = os.readlink(path)
            elif path.is_file() and path.name not in _NOT_COPIED:
                names.append(name)
    return names, links


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
