"""A document as PDF, A4, by fpdf2: wheels alone, no browser, no system library. Charts are pictures of 220 dpi.

The fonts are the DejaVu Sans that matplotlib ships, so that every language's letters are there on a bare machine.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import TableBordersLayout, TableCellFillMode
from fpdf.fonts import FontFace

from forecaster.report.document import (
    Block,
    Bullets,
    Chart,
    Document,
    KeyFigures,
    Missing,
    Paragraph,
    Section,
    Signature,
    Table,
)
from forecaster.report.figures import png_of
from forecaster.report.render_html import wordy_columns

_MARGIN, _FOOT = 15.0, 18.0  # millimetres
_INK, _DIM, _DEEP, _RULE = (28, 39, 51), (85, 102, 102), (18, 57, 91), (213, 221, 228)
_BLUE, _SAND, _AMBER, _PALE, _WHITE = (0, 114, 178), (253, 248, 232), (181, 137, 0), (244, 247, 250), (255, 255, 255)
_FONT = "DejaVu"
_CARDS_IN_A_ROW = 5
_HEADING, _CHART = 14.0, 72.0  # millimetres
_INDENT = 4.0  # of words, which would else touch the figures before them
_PADDING, _BOLDER = 3.0, 1.12  # of a column in millimetres; how much wider bold letters are
_HASH_LENGTH, _HASH_WIDTH = 64, 92.0


class _Page(FPDF):
    """Pages with a footer that says which report this is."""

    def __init__(self, document: Document) -> None:
        super().__init__(format="A4")
        self.report = document
        self.set_margins(_MARGIN, _MARGIN, _MARGIN)
        self.set_auto_page_break(True, _FOOT)
        self.set_title(document.title)
        self.set_creator("Tidegauge")
        self.set_producer("Tidegauge")
        self.set_creation_date(document.as_of)
        self.set_lang("en")
        fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
        self.add_font(_FONT, "", fonts / "DejaVuSans.ttf")
        self.add_font(_FONT, "B", fonts / "DejaVuSans-Bold.ttf")
        self.add_font("Mono", "", fonts / "DejaVuSansMono.ttf")
        self.alias_nb_pages()

    def footer(self) -> None:
        """Write the foot of a page."""
        self.set_y(-12)
        self.face(6.5, color=_DIM)
        self.cell(0, 4, f"{self.report.title}   inputs SHA-256 {self.report.digest[:16]}…")
        self.set_x(_MARGIN)
        self.cell(0, 4, f"{self.page_no()} / {{nb}}", align="R")

    def face(self, size: float, *, bold: bool = False, color: tuple[int, int, int] = _INK) -> None:
        """Choose the font of what follows."""
        self.set_font(_FONT, "B" if bold else "", size)
        self.set_text_color(*color)

    def words(self, text: str, *, height: float, width: float = 0) -> None:
        """Write a paragraph and go below it."""
        self.multi_cell(width, height, text, align="L", new_x="LMARGIN", new_y="NEXT")

    def keep(self, height: float) -> None:
        """Begin a new page when so much does not fit on this one."""
        if self.will_page_break(height):
            self.add_page()


def to_pdf(document: Document) -> bytes:
    """Return the report; the first page is the one to sign."""
    page = _Page(document)
    page.add_page()
    page.face(19, bold=True, color=_DEEP)
    page.words(document.title, height=9)
    page.face(8.5, color=_DIM)
    page.words(document.subtitle, height=4.2)
    page.ln(2)
    for index, section in enumerate(document.sections):
        _write_section(page, section, first=index == 0)
    return bytes(page.output())


def _write_section(page: _Page, section: Section, *, first: bool) -> None:
    if not first:
        if page.page_no() == 1:
            page.add_page()
        page.keep(_HEADING + (_CHART if isinstance(section.blocks[0], Chart) else 24))
        page.ln(4)
        page.start_section(section.title)
        page.face(12.5, bold=True, color=_DEEP)
        page.words(section.title, height=6)
        page.set_draw_color(*_DEEP)
        page.set_line_width(0.4)
        page.line(_MARGIN, page.get_y(), page.w - _MARGIN, page.get_y())
        page.ln(2)
    for block in section.blocks:
        _write(page, block)


def _write(page: _Page, block: Block) -> None:
    if isinstance(block, Paragraph):
        page.face(10 if block.strong else 9, bold=block.strong)
        page.words(block.text, height=4.8)
        page.ln(1.5)
    elif isinstance(block, Missing):
        _write_missing(page, block)
    elif isinstance(block, Bullets):
        _write_bullets(page, block)
    elif isinstance(block, KeyFigures):
        _write_figures(page, block)
    elif isinstance(block, Table):
        _write_table(page, block)
    elif isinstance(block, Chart):
        _write_chart(page, block)
    elif isinstance(block, Signature):
        _write_signature(page, block)


def _write_missing(page: _Page, block: Missing) -> None:
    page.face(8.5)
    page.set_fill_color(*_SAND)
    page.set_x(_MARGIN + 1.2)
    page.keep(12)
    top = page.get_y()
    page.multi_cell(
        page.epw - 1.2,
        4.4,
        f"{block.what}: {block.why}.",
        fill=True,
        align="L",
        new_x="LMARGIN",
        new_y="NEXT",
        padding=1,
    )
    page.set_fill_color(*_AMBER)
    page.rect(_MARGIN, top, 1.0, page.get_y() - top, style="F")
    page.ln(2)


def _write_bullets(page: _Page, block: Bullets) -> None:
    page.face(9)
    for item in block.items:
        page.set_x(_MARGIN)
        page.cell(4, 4.6, "•")
        page.multi_cell(page.epw - 4, 4.6, item, align="L", new_x="LMARGIN", new_y="NEXT")
    page.ln(1.5)


def _write_figures(page: _Page, block: KeyFigures) -> None:
    gap, height = 2.0, 17.0
    width = (page.epw - gap * (_CARDS_IN_A_ROW - 1)) / _CARDS_IN_A_ROW
    for start in range(0, len(block.figures), _CARDS_IN_A_ROW):
        page.keep(height + gap)
        top = page.get_y()
        for place, one in enumerate(block.figures[start : start + _CARDS_IN_A_ROW]):
            left = _MARGIN + place * (width + gap)
            page.set_draw_color(*_RULE)
            page.set_line_width(0.2)
            page.rect(left, top, width, height)
            page.set_fill_color(*_BLUE)
            page.rect(left, top, width, 0.8, style="F")
            _card_line(page, left, top + 2.0, width, one.label, size=6.8, color=_DIM)
            _card_line(page, left, top + 6.2, width, one.cell.text, size=10, bold=True)
            _card_line(page, left, top + 12.0, width, one.note, size=6.5, color=_DIM)
        page.set_xy(_MARGIN, top + height + gap)
    page.ln(1)


def _card_line(
    page: _Page, left: float, top: float, width: float, text: str, *, size: float, bold: bool = False,
    color: tuple[int, int, int] = _INK,
) -> None:  # fmt: skip
    """Write one line into a card, smaller where it would not fit."""
    page.face(size, bold=bold, color=color)
    while size > 5 and page.get_string_width(text) > width - 5:
        size -= 0.25
        page.face(size, bold=bold, color=color)
    page.set_xy(left + 1.5, top)
    page.cell(width - 3, 4, text)


def _write_chart(page: _Page, chart: Chart) -> None:
    page.keep(_CHART)
    page.face(9, bold=True)
    page.words(chart.name, height=5)
    page.image(io.BytesIO(png_of(chart)), w=page.epw, alt_text=chart.name)
    page.ln(2)


def _write_table(page: _Page, table: Table) -> None:
    page.keep(26)
    page.face(9, bold=True)
    page.words(table.name, height=5.5)
    size = 6.2 if table.dense else 7.4
    words = wordy_columns(table)
    page.face(size)
    page.set_draw_color(*_RULE)
    page.set_fill_color(*_WHITE)
    page.set_line_width(0.2)
    aligns = ["LEFT" if index in words or index == 0 else "RIGHT" for index in range(len(table.columns))]
    with page.table(
        col_widths=_widths(page, table),
        text_align=["LEFT", *["CENTER"] * (len(table.columns) - 1)] if table.dense else aligns,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        cell_fill_color=_PALE,
        cell_fill_mode=TableCellFillMode.ROWS,
        headings_style=FontFace(emphasis="BOLD", color=(68, 85, 102)),
        line_height=size * 0.55,
        padding=(0.7, 0.8),
    ) as rows:
        _fill(rows, table, size, frozenset() if table.dense else words)
    if table.note:
        page.face(7, color=_DIM)
        page.words(table.note, height=3.6)
    page.ln(2.5)


def _fill(rows: Any, table: Table, size: float, words: Collection[int]) -> None:
    def padding(index: int) -> tuple[float, ...] | None:
        return (0.7, 0.8, 0.7, _INDENT) if index in words and index > 0 else None

    head = rows.row()
    for index, name in enumerate(table.columns):
        head.cell(name, padding=padding(index))
    for row in table.rows:
        line = rows.row()
        for index, cell in enumerate(row):
            is_hash = len(cell.text) == _HASH_LENGTH and " " not in cell.text
            style = FontFace(family="Mono", size_pt=size * 0.86) if is_hash else None
            line.cell(cell.text, style=style, padding=padding(index))


def _widths(page: _Page, table: Table) -> tuple[float, ...]:
    """Return widths in millimetres: no word is broken, and what is left goes to the columns with the longest text."""
    if table.dense:
        return (2.0, *[1.0] * (len(table.columns) - 1))
    least, wanted, wordy = [], [], wordy_columns(table)
    for index, name in enumerate(table.columns):
        texts = [row[index].text for row in table.rows if len(row[index].text) != _HASH_LENGTH]
        words = [word for text in (name, *texts) for word in text.split()]
        around = _PADDING + (_INDENT if index in wordy and index > 0 else 0.0)
        least.append(max([page.get_string_width(word) * _BOLDER for word in words], default=0.0) + around)
        longest = max([page.get_string_width(text) for text in texts], default=0.0)
        hashed = any(len(row[index].text) == _HASH_LENGTH for row in table.rows)
        wanted.append(max(least[-1], _HASH_WIDTH + around if hashed else longest + around))
    spare = page.epw - sum(least)
    more = [want - need for want, need in zip(wanted, least, strict=True)]
    share = min(1.0, spare / sum(more)) if spare > 0 and sum(more) > 0 else 0.0
    found = [need + extra * share for need, extra in zip(least, more, strict=True)]
    rest = max(0.0, page.epw - sum(found)) / len(found)
    return tuple(width + rest for width in found)


def _write_signature(page: _Page, block: Signature) -> None:
    page.keep(20)
    page.set_y(max(page.get_y() + 10, page.h - _FOOT - 10 if page.page_no() == 1 else 0))
    width = (page.epw - 10) / len(block.roles)
    page.set_draw_color(*_INK)
    page.set_line_width(0.2)
    top = page.get_y()
    page.face(7.5, color=_DIM)
    for place, role in enumerate(block.roles):
        left = _MARGIN + place * (width + 10)
        page.line(left, top, left + width, top)
        page.set_xy(left, top + 0.5)
        page.cell(width, 4, f"{role}, date")
    page.set_xy(_MARGIN, top + 6)
