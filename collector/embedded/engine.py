"""The one owner of the chDB engine, and the only module that imports it.

Every statement gets an engine handle of its own (opening one costs 0.1 ms here), so settings, database and parameters
of one request never reach another, and statements of different threads run in parallel. An anchor handle keeps the
engine open between them. Calls block: the caller runs them in threads. Never fork with an open engine: the child hangs.
"""

from __future__ import annotations

import fcntl
import logging
import re
import threading
import uuid
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import chdb

from collector.embedded.request import Setup

_connect: Any = chdb.connect  # chdb ships no types

_KILL_AGAIN_SECONDS = 0.2
_CODE = re.compile(r"Code: (\d+)\. ")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)(?: \(version [^)]*\))?\s*\Z")

log = logging.getLogger(__name__)


class EngineError(Exception):
    """The engine refused a statement: ClickHouse's code, its name for it, and the message as a server would send it."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.code, self.name, self.text = code, name, text


class StoreBusyError(Exception):
    """Another process owns the directory."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a statement did."""

    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Engine:
    """The engine of one directory; at most one per process."""

    def __init__(self, directory: Path, *, memory_bytes: int) -> None:
        """Open the engine, making the directory when it is missing; raises StoreBusyError, EngineError."""
        directory.mkdir(parents=True, exist_ok=True)
        if _is_locked(directory / "status"):  # the engine refuses too, but then it cannot say why
            raise StoreBusyError(str(directory))
        self._address = f"{directory.resolve()}?max_server_memory_usage={memory_bytes}"
        try:
            self._anchor: Any = _connect(self._address)
        except Exception as error:
            raise _translate(error) from error
        self._open: dict[str, Handle] = {}
        self._lock = threading.Lock()

    def handle(self, setup: Setup) -> Handle:
        """Return a handle prepared for one statement; the caller closes it (it is a context manager)."""
        handle = Handle(self, _connect(self._address), setup)
        with self._lock:
            self._open[handle.tag] = handle
        return handle

    def forget(self, handle: Handle) -> None:
        """Take a closed handle out of the books."""
        with self._lock:
            self._open.pop(handle.tag, None)

    def stop(self, handle: Handle, job: Future[Any]) -> None:
        """Stop the job that a handle runs in another thread; returns when it has stopped, mostly within 0.3 s."""
        handle.cancelled = True
        while not job.cancel() and not job.done():
            self._kill(handle)  # again and again: the statement may not have reached the engine yet
            wait([job], timeout=_KILL_AGAIN_SECONDS)

    def stop_all(self) -> None:
        """Stop what still runs; returns at once."""
        with self._lock:
            running = list(self._open.values())
        for handle in running:
            handle.cancelled = True
            self._kill(handle)

    def _kill(self, handle: Handle) -> None:
        with _connect(self._address) as control:
            control.query(f"KILL QUERY WHERE Settings['log_comment'] = '{handle.tag}' ASYNC", "Null")

    def ping(self) -> None:
        """Run the smallest query; raises EngineError."""
        with _connect(self._address) as control:
            _call(control.query, "SELECT 1", "Null")

    def table_functions(self) -> frozenset[str]:
        """Return the names of all table functions, in small letters; raises EngineError."""
        with _connect(self._address) as control:
            result = _call(control.query, "SELECT lower(name) FROM system.table_functions", "TabSeparated")
        return frozenset(bytes(result.bytes() or b"").decode().split())

    def close(self) -> None:
        """Close the engine. Every handle must have been closed before."""
        self._anchor.close()


class Handle:
    """One statement's way into the engine. Its calls may come from different threads and wait for each other."""

    def __init__(self, engine: Engine, connection: Any, setup: Setup) -> None:
        self.tag = uuid.uuid4().hex
        self.cancelled = False
        self._engine, self._connection, self._setup = engine, connection, setup
        self._open_call: Any = None
        self._busy = threading.Lock()

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def query(self, text: str, default_format: str) -> tuple[bytes, Totals]:
        """Run a statement and return its whole result; raises EngineError."""
        self._prepare()
        result = self._call(self._connection.query, text, default_format)
        return bytes(result.bytes() or b""), Totals(result.rows_read(), result.bytes_read(), result.elapsed())

    def open_stream(self, text: str, default_format: str) -> None:
        """Start a SELECT whose result `read` gives piece by piece; raises EngineError."""
        self._prepare()
        self._open_call = self._call(self._connection.send_query, text, default_format)

    def read(self) -> tuple[bytes, int] | None:
        """Return the next block's bytes and rows, or None at the end; raises EngineError."""
        block = self._call(self._open_call.fetch)
        return None if block is None else (bytes(block.bytes() or b""), block.rows_read())

    def open_insert(self, text: str, format_name: str) -> None:
        """Start an INSERT that `append` feeds and `finish` commits; raises EngineError."""
        self._prepare()
        self._open_call = self._call(self._connection.send_insert, text, format_name)

    def append(self, data: bytes) -> None:
        """Give the INSERT more of its data; raises EngineError."""
        self._call(self._open_call.append, data)

    def finish(self) -> Totals:
        """Commit the INSERT: on return it is in the table; raises EngineError."""
        result = self._call(self._open_call.finish)
        self._open_call = None
        return Totals(result.rows_written, result.bytes_written, result.elapsed)

    def close(self) -> None:
        """Cancel what is open and give the handle back. May be called twice."""
        with self._busy:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                if self._open_call is not None:
                    self._open_call.close()
            except Exception:  # chdb's own kinds; the stream had failed already, and told its reader
                log.debug("closing a failed statement", exc_info=True)
            finally:
                connection.close()
                self._engine.forget(self)

    def _call(self, function: Any, *arguments: Any) -> Any:
        with self._busy:  # a handle must not be closed under a running call
            return _call(function, *arguments)

    def _prepare(self) -> None:
        setup = self._setup
        if self.cancelled:
            raise EngineError(394, "QUERY_WAS_CANCELLED", _text(394, "QUERY_WAS_CANCELLED", "Query was cancelled"))
        assignments = {
            "log_comment": self.tag,
            "max_memory_usage": str(setup.memory_bytes),
            "async_insert": "0",  # an acknowledged insert is in its table, and its deduplication token counts
            **dict(setup.settings),
            **{f"param_{name}": value for name, value in setup.parameters},
            **({"readonly": "2"} if setup.read_only else {}),
        }
        if setup.database:
            self._call(self._connection.query, f"USE {_quote(setup.database, '`')}")
        listed = ", ".join(f"{name} = {_quote(value)}" for name, value in assignments.items())
        self._call(self._connection.query, f"SET {listed}")


def _is_locked(path: Path) -> bool:
    """Whether another process holds ClickHouse's lock on its status file; one that was killed holds it no more."""
    if not path.exists():
        return False
    with path.open("rb") as status:
        try:
            fcntl.flock(status, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _call(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise _translate(error) from error


def _translate(error: Exception) -> EngineError:
    message = str(error)
    code = _CODE.search(message)
    if code is None:
        return EngineError(1002, "UNKNOWN_EXCEPTION", _text(1002, "UNKNOWN_EXCEPTION", message or type(error).__name__))
    message = message[code.start() :].strip()
    name = _NAME.search(message)
    return EngineError(int(code.group(1)), name.group(1) if name else "", message)


def _text(code: int, name: str, message: str) -> str:
    return f"Code: {code}. DB::Exception: {message}. ({name})"


def _quote(text: str, quote: str = "'") -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote
