"""What kind of statement came, and where the data of an INSERT begin. Pure text work, no engine.

The engine takes an INSERT's data apart from its text, as a stream, so the boundary is found here by the rule of
ClickHouse's own parser: data begin after `FORMAT name`, blanks and one line end, or after `VALUES`. Whether the SQL is
right is left to the engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_TOKEN = re.compile(
    rb"""(?P<blank>\s+|--[^\n]*(?:\n|\Z)|\#[!\ ][^\n]*(?:\n|\Z)|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    |(?P<word>[A-Za-z_][A-Za-z_0-9]*)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_LINE_END = re.compile(rb"[ \t\f]*\r?\n?")
_HAS_OWN_INPUT = frozenset({b"SELECT", b"WITH", b"FROM", b"INFILE", b"EXPLAIN"})
_ANSWERS_WITH_ROWS = frozenset(
    {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "FROM", "VALUES", "KILL", "("}
)
# Every block of these is whole in itself, so that blocks sent one after the other are one result.
_STREAMABLE = frozenset(
    {"NATIVE", "TABSEPARATED", "TSV", "CSV", "ROWBINARY", "JSONEACHROW", "TSVRAW", "TABSEPARATEDRAW"}
)


_READS = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN"})
# The engine has no rights of its own: a read-only session still reads files, asks other servers, and writes OUTFILE.
_SAFE_SOURCES = frozenset(
    {
        "numbers",
        "numbers_mt",
        "zeros",
        "zeros_mt",
        "values",
        "generateseries",
        "generate_series",
        "null",
        "view",
        "format",
    }
)
_UNSAFE_WORDS = frozenset({"OUTFILE", "INFILE", "IDENTIFIER"})  # the last: a name that comes with the parameters


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose data come with the request: `text` without FORMAT, the format's name, where the data begin."""

    text: str
    format: str
    data_offset: int


@dataclass(frozen=True, slots=True)
class Statement:
    """Any other statement. `keyword` is its first word in capitals; `formats` are the FORMAT names in it."""

    keyword: str
    formats: tuple[str, ...]

    @property
    def answers_with_rows(self) -> bool:
        """Whether the statement has a result set, even an empty one."""
        return self.keyword in _ANSWERS_WITH_ROWS

    @property
    def is_quick(self) -> bool:
        """Whether it only tells about tables and statements, and reads no data."""
        return self.keyword in {"DESCRIBE", "DESC", "EXISTS", "SHOW"}

    def streams_as(self, default_format: str) -> bool:
        """Whether the result can be sent block by block in its own format (or in `default_format`)."""
        reads = self.keyword in {"SELECT", "WITH", "FROM", "("}
        return reads and all(name.upper() in _STREAMABLE for name in self.formats or (default_format,))


def find_insert_data(head: bytes, *, whole: bool) -> Insert | Literal["none", "more"]:
    """Find where the data of an INSERT begin in the first bytes of a request.

    Returns the Insert; "none" when the statement has no data of its own (the engine takes it as it is); "more" when
    more bytes are needed to tell (never when `whole` says that these are all).
    """
    depth, begun, format_at = 0, False, -1
    for token in _TOKEN.finditer(head):
        if token.lastgroup in {"blank", "quoted"}:
            continue
        word = token.group().upper()
        complete = whole or token.end() < len(head)
        if format_at >= 0:
            return _insert_with_format(head, format_at, token, whole=whole)
        if not complete:
            return "more"
        if not begun:
            begun = True
            if word != b"INSERT":
                return "none"
        elif token.lastgroup == "other":
            depth += {b"(": 1, b")": -1}.get(word, 0)
        elif depth == 0 and word == b"FORMAT":
            format_at = token.start()
        elif depth == 0 and word == b"VALUES":
            return Insert(_text(head[: token.start()]), "Values", token.end())
        elif depth == 0 and word in _HAS_OWN_INPUT:
            return "none"
    return "none" if whole else "more"


def read_statement(text: str) -> Statement:
    """Return the first keyword of a statement and the FORMAT names it holds (outside quotes and comments)."""
    tokens = [t for t in _TOKEN.finditer(text.encode()) if t.lastgroup in {"word", "other"}]
    words = [token.group().decode("utf-8", "replace").upper() for token in tokens]
    formats = tuple(words[i + 1] for i, word in enumerate(words[:-1]) if word == "FORMAT")
    return Statement(words[0] if words else "", formats)


def forbidden_to_readers(text: str, table_functions: frozenset[str]) -> str | None:
    """Return what an account that may only read must not do in a statement; None when it may be run.

    table_functions: the engine's own, in small letters: all but a few harmless ones lead out of the store. Names
    without a database must not mean the engine's `default`, in which files are tables: the caller sees to that.
    """
    tokens = [token for token in _TOKEN.finditer(text.encode()) if token.lastgroup != "blank"]
    names = [token.group().decode("utf-8", "replace") for token in tokens]
    if not names or names[0].upper() not in _READS:
        return f"expected one of {', '.join(sorted(_READS))}"
    for token, name, after in zip(tokens, names, [*names[1:], ""], strict=True):
        plain = name.strip('`"').lower()
        if token.lastgroup == "word" and name.upper() in _UNSAFE_WORDS:
            return f"{name}: not for an account that may only read"
        if after == "(" and plain in table_functions - _SAFE_SOURCES:
            return f"{name}(...): not for an account that may only read"
        if after == "." and plain == "default":
            return "the database default: not for an account that may only read"
    return None


def _insert_with_format(head: bytes, format_at: int, name: re.Match[bytes], *, whole: bool) -> Insert | Literal["more"]:
    end = _LINE_END.match(head, name.end())
    stop = end.end() if end else name.end()
    if stop >= len(head) and not whole and not head[:stop].endswith(b"\n"):
        return "more"
    return Insert(_text(head[:format_at]), name.group().decode("ascii", "replace"), stop)


def _text(statement: bytes) -> str:
    return statement.decode("utf-8", "surrogateescape").strip()
