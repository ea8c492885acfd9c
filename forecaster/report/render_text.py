"""A document as Markdown, CSV or JSON. Pure; the same document gives the same bytes."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from datetime import UTC, datetime
from typing import Any

from forecaster.report.document import (
    Block,
    Bullets,
    Chart,
    Document,
    KeyFigures,
    Missing,
    Paragraph,
    Signature,
    Table,
    Value,
)
from forecaster.store.instants import text_of

_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.]|$)")
CSV_COLUMNS = ("section", "table", "row", "column", "value", "text")


def to_json(document: Document) -> bytes:
    """Return the whole document: sections, blocks by `type`, cells with text and raw value."""
    whole = {
        "kind": document.kind,
        "service": document.service,
        "title": document.title,
        "subtitle": document.subtitle,
        "as_of": text_of(document.as_of),
        "inputs_sha256": document.digest,
        "inputs": [dataclasses.asdict(note) for note in document.inputs],
        "sections": [
            {"title": section.title, "blocks": [_block_json(block) for block in section.blocks]}
            for section in document.sections
        ],
    }
    return (json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _block_json(block: Block) -> dict[str, Any]:
    return {"type": type(block).__name__.lower(), **dataclasses.asdict(block)}


def to_csv(document: Document) -> bytes:
    """Return every figure as a line: its section, table, row and column, its raw value and its text.

    What could not be said is a line without a value; charts are left out, for their figures are series.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerow(("", "", "inputs", "sha256", document.digest, document.digest))
    for section in document.sections:
        for block in section.blocks:
            for line in _csv_lines(block):
                writer.writerow([_safe(part) for part in (section.title, *line)])
    return out.getvalue().encode()


def _safe(value: Value) -> Value:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _csv_lines(block: Block) -> list[tuple[Value, ...]]:
    if isinstance(block, Table):
        return [
            (block.name, row[0].text, column, "" if cell.value is None else cell.value, cell.text)
            for row in block.rows
            for column, cell in zip(block.columns[1:], row[1:], strict=True)
        ]
    if isinstance(block, KeyFigures):
        return [
            ("Key figures", one.label, one.note, "" if one.cell.value is None else one.cell.value, one.cell.text)
            for one in block.figures
        ]
    if isinstance(block, Missing):
        return [("Missing", block.what, "", "", block.why)]
    return []


def to_markdown(document: Document) -> bytes:
    """Return the document for a page that shows text; a chart is the line that says which figures it has."""
    lines = [f"# {document.title}", "", document.subtitle, ""]
    for section in document.sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += [*_markdown(block), ""]
    return ("\n".join(lines).rstrip() + "\n").encode()


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Paragraph):
        return [f"**{block.text}**" if block.strong else block.text]
    if isinstance(block, Missing):
        return [f"> **{block.what}:** {block.why}."]
    if isinstance(block, Bullets):
        return [f"- {item}" for item in block.items]
    if isinstance(block, KeyFigures):
        rows = [f"| {one.label} | {_escaped(one.cell.text)} | {_escaped(one.note)} |" for one in block.figures]
        return ["| Figure | Value | |", "|---|---|---|", *rows]
    if isinstance(block, Table):
        return _markdown_table(block)
    if isinstance(block, Chart):
        return [f"*{block.name} ({block.unit}):* {'; '.join(_line_words(block))}"]
    assert isinstance(block, Signature)  # noqa: S101 (the last kind of block)
    return [f"{role}: ____________________  Date: __________" for role in block.roles]


def _markdown_table(table: Table) -> list[str]:
    head = "| " + " | ".join(table.columns) + " |"
    rule = "|" + "|".join("---" if index == 0 else "---:" for index in range(len(table.columns))) + "|"
    rows = ["| " + " | ".join(_escaped(cell.text) for cell in row) + " |" for row in table.rows]
    return [f"**{table.name}**", "", head, rule, *rows, *(["", table.note] if table.note else [])]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _line_words(chart: Chart) -> list[str]:
    words = []
    for line in chart.lines:
        known = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None]
        if known:
            x, top = max(known, key=lambda point: point[1])
            at = f"{datetime.fromtimestamp(x, UTC):%Y-%m-%d}" if chart.x == "time" else f"{x:.0f}:00"
            words.append(f"{line.name} up to {top:,.4g} ({at})")
    words += [f"{name} {value:,.4g}" for name, value in chart.levels]
    return words
