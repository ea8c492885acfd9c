"""What a report is made of: sections of figures, tables and charts, in words and in raw values. Pure.

A renderer turns a document into one format and adds nothing; what stands in it is decided by `capacity_report` and
`sla_report`. What could not be said is a block of its own, so that no format can draw it as zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

Style = Literal["past", "peak", "median", "other", "dotted", "dashdot"]
Value = float | int | str | None  # JSON's own; None: not known, and the text says so


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as people read it and as programs do. A ratio's value is 0..1, an instant's ISO 8601."""

    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words; `strong` stands out from the others."""

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be said, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One of the few numbers that a reader looks for first."""

    label: str
    cell: Cell
    note: str = ""


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """The numbers of the first page."""

    figures: tuple[KeyFigure, ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first column names its row. dense: many narrow columns of small numbers."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    dense: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Values over x; None is a gap. style: how it is drawn."""

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    style: Style = "past"


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two lines."""

    name: str
    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing. x: epoch seconds, or hours of the day. levels: named horizontal lines; marks: named instants."""

    name: str
    x: Literal["time", "hour"]
    unit: str
    lines: tuple[Line, ...]
    bands: tuple[Band, ...] = ()
    levels: tuple[tuple[str, float], ...] = ()
    marks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """A line for whoever answers for the report: a role and a date."""

    roles: tuple[str, ...]


Block = Paragraph | Missing | KeyFigures | Bullets | Table | Chart | Signature


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class InputNote:
    """One of the inputs: what it is, how many rows, and the SHA-256 of its canonical JSON."""

    name: str
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report. sections[0] is the first page. digest: SHA-256 over all inputs: same inputs, same document."""

    kind: Literal["capacity", "sla"]
    service: str
    title: str
    subtitle: str
    as_of: datetime
    sections: tuple[Section, ...]
    digest: str
    inputs: tuple[InputNote, ...] = field(default=())


def number(value: float | None, *, digits: int = 4, unit: str = "") -> Cell:
    """Return a number with so many significant digits, thousands apart; None is `not known`."""
    if value is None:
        return Cell("not known", None)
    rounded = float(f"{value:.{digits}g}")
    text = (
        f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) or rounded == int(rounded) else f"{rounded:,.{digits}g}"
    )
    return Cell(f"{text} {unit}".strip(), value)


def count(value: int | None, unit: str = "") -> Cell:
    """Return a whole number; None is `not known`."""
    return Cell("not known", None) if value is None else Cell(f"{value:,} {unit}".strip(), value)


def percent(ratio: float | None, *, digits: int = 1, signed: bool = False) -> Cell:
    """Return a ratio of 0..1 as a percentage; None is `not known`."""
    if ratio is None:
        return Cell("not known", None)
    shown = round(ratio * 100, digits) + 0.0  # no minus before a zero
    return Cell(f"{shown:{'+' if signed else ''}.{digits}f}%", ratio)


def money(amount: float | None, currency: str) -> Cell:
    """Return an amount, the currency's code before it."""
    if amount is None:
        return Cell("not known", None)
    return Cell(f"{currency} {amount:,.0f}" if amount >= 100 else f"{currency} {amount:,.2f}", round(amount, 4))


def day(value: date | None, *, none: str = "not known") -> Cell:
    """Return a calendar day as `Wed 25 Nov 2026`; `none` says what its absence means."""
    return Cell(none, None) if value is None else Cell(f"{value:%a} {value.day} {value:%b %Y}", value.isoformat())


def instant(value: datetime) -> Cell:
    """Return an instant, in UTC."""
    return Cell(f"{value:%Y-%m-%d %H:%M} UTC", f"{value:%Y-%m-%dT%H:%M:%SZ}")


def plain(text: str) -> Cell:
    """Return words."""
    return Cell(text, text)
