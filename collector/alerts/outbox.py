"""What is still to be told, on disk: messages wait here until their receiver took them or three days have passed.

SQLite with full synchronisation: what `put` returned from outlives any kill, and a command may look and replay while
the collector sends. Times are epoch seconds of real time, for the network knows no other.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from collector.alerts.bodies import Message

OUTBOX_PATH = Path("outbox") / "outbox.sqlite3"  # below the collector's data folder
# After Standard Webhooks: 75 hours in all.
RETRY_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
GIVE_UP_SECONDS = sum(RETRY_SECONDS)
LONGEST_RETRY_AFTER_SECONDS = 86_400
KEPT_SECONDS = 30 * 86_400
_REFUSED_FOR_GOOD = frozenset({400, 413, 415, 422})
Outcome = Literal["delivered", "retry", "failed", "disabled"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,
  receiver TEXT NOT NULL, order_key TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL, next_at REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting');
CREATE INDEX IF NOT EXISTS waiting ON messages (receiver, state, number);
CREATE TABLE IF NOT EXISTS attempts (message_id TEXT NOT NULL, at REAL NOT NULL, status INTEGER, outcome TEXT NOT NULL,
  detail TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS disabled (receiver TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, text TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is due. attempts: how many were made."""

    message: Message
    created_at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. status: None when there was no HTTP answer; retry_after_seconds: what it asked for."""

    status: int | None
    detail: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of the delivery log."""

    message_id: str
    receiver: str
    state: str
    attempts: int
    created_at: float
    next_at: float
    last_status: int | None
    last_detail: str | None


def outcome_of(answer: Answer) -> Outcome:
    """Say what an answer means for its message."""
    if answer.status is not None and 200 <= answer.status < 300:
        return "delivered"
    if answer.status == 410:
        return "disabled"
    return "failed" if answer.status in _REFUSED_FOR_GOOD else "retry"


def next_attempt(waiting: Waiting, answer: Answer, *, now: float) -> float | None:
    """Return when to try again after a failed attempt, None to give up. The jitter is the message's own."""
    step = RETRY_SECONDS[min(waiting.attempts, len(RETRY_SECONDS) - 1)]
    jitter = int(hashlib.sha256(waiting.message.message_id.encode()).hexdigest()[:4], 16) / 0xFFFF * 0.1
    asked = min(answer.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
    at = now + max(step * (1 + jitter), asked)
    return at if at <= waiting.created_at + GIVE_UP_SECONDS * 1.1 else None


class Outbox:
    """The outbox in one file. Every method may be called from any thread or process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._open() as database:
            database.executescript(_SCHEMA)
        path.chmod(0o600)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=10)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            with database:
                yield database
        finally:
            database.close()

    def state(self, name: str) -> str | None:
        """Return a text that was kept under a name."""
        with self._open() as database:
            row = database.execute("SELECT text FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, messages: Sequence[Message], *, now: float, state: Mapping[str, str] | None = None) -> int:
        """Keep messages and return how many are new; on disk when this returns.

        What waits for the same receiver and key is due at once, so that the new one is not held up behind a long pause.
        state: texts to keep by name, with the messages or not at all.
        """
        new = 0
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list((state or {}).items()))
            for each in messages:
                added = database.execute(
                    "INSERT OR IGNORE INTO messages (id, receiver, order_key, body, created_at, next_at)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (each.message_id, each.receiver, each.order_key, each.body, now, now),
                ).rowcount
                new += added
                if added:
                    database.execute(
                        "UPDATE messages SET next_at = min(next_at, ?)"
                        " WHERE receiver = ? AND order_key = ? AND state = 'waiting'",
                        (now, each.receiver, each.order_key),
                    )
            database.execute("DELETE FROM messages WHERE state <> 'waiting' AND created_at < ?", (now - KEPT_SECONDS,))
            database.execute("DELETE FROM attempts WHERE at < ?", (now - KEPT_SECONDS,))
        return new

    def due(self, receiver: str, *, now: float) -> list[Waiting]:
        """Return the oldest waiting message of each key, where it is due; none for a receiver that is disabled."""
        with self._open() as database:
            rows = database.execute(
                "SELECT id, order_key, body, created_at, attempts FROM messages WHERE number IN (SELECT min(number)"
                " FROM messages WHERE receiver = ? AND state = 'waiting' GROUP BY order_key) AND next_at <= ?"
                " AND receiver NOT IN (SELECT receiver FROM disabled) ORDER BY number",
                (receiver, now),
            ).fetchall()
        return [Waiting(Message(row[0], receiver, row[1], row[2]), row[3], row[4]) for row in rows]

    def record(self, waiting: Waiting, answer: Answer, *, now: float) -> Outcome:
        """Write the attempt into the log and settle, put off or give up the message; return what became of it."""
        outcome = outcome_of(answer)
        again = next_attempt(waiting, answer, now=now) if outcome == "retry" else None
        if outcome == "retry" and again is None:
            outcome = "failed"
        state = outcome if outcome in ("delivered", "failed") else "waiting"
        message = waiting.message
        with self._open() as database:
            database.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?)",
                (message.message_id, now, answer.status, outcome, answer.detail[:500]),
            )
            database.execute(
                "UPDATE messages SET attempts = attempts + 1, state = ?, next_at = coalesce(?, next_at) WHERE id = ?",
                (state, again, message.message_id),
            )
            if outcome == "disabled":
                database.execute("INSERT OR REPLACE INTO disabled VALUES (?, ?)", (message.receiver, now))
        return outcome

    def enable(self, receiver: str) -> bool:
        """Send to a disabled receiver again; False when it was not disabled."""
        with self._open() as database:
            return database.execute("DELETE FROM disabled WHERE receiver = ?", (receiver,)).rowcount > 0

    def disabled(self) -> list[str]:
        """Return the receivers that said they are gone (410)."""
        with self._open() as database:
            return [row[0] for row in database.execute("SELECT receiver FROM disabled ORDER BY receiver")]

    def replay(self, message_id: str, *, now: float) -> bool:
        """Have a message sent again at once, with its own id; False when it is not known."""
        with self._open() as database:
            return (
                database.execute(
                    "UPDATE messages SET state = 'waiting', next_at = ?, created_at = ?, attempts = 0 WHERE id = ?",
                    (now, now, message_id),
                ).rowcount
                > 0
            )

    def deliveries(self, *, most: int = 100) -> list[Delivery]:
        """Return the newest messages with their last attempt, newest first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT id, receiver, state, kept.attempts, created_at, next_at,"
                " (SELECT status FROM attempts AS a WHERE a.message_id = kept.id ORDER BY a.rowid DESC LIMIT 1),"
                " (SELECT detail FROM attempts AS a WHERE a.message_id = kept.id ORDER BY a.rowid DESC LIMIT 1)"
                " FROM messages AS kept ORDER BY number DESC LIMIT ?",
                (most,),
            ).fetchall()
        return [Delivery(*row) for row in rows]
