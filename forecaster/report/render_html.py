"""A document as one HTML page that needs nothing else: style and charts inside, no script. It prints on A4."""

from __future__ import annotations

from html import escape

from forecaster.report.document import (
    Block,
    Bullets,
    Chart,
    Document,
    KeyFigure,
    KeyFigures,
    Missing,
    Paragraph,
    Section,
    Signature,
    Table,
)
from forecaster.report.figures import svg_of

_STYLE = """
@page{size:A4;margin:16mm 15mm 18mm;@bottom-right{content:counter(page) " / " counter(pages);font-size:8pt;color:#666}}
*{box-sizing:border-box}
body{font:10.5pt/1.45 "DejaVu Sans","Segoe UI",Roboto,Helvetica,Arial,sans-serif;color:#1c2733;background:#fff;
max-width:190mm;margin:8mm auto;padding:0 6mm}
h1{font-size:19pt;margin:0;color:#12395b}
h2{font-size:13pt;margin:9mm 0 2mm;color:#12395b;border-bottom:1.5px solid #12395b}
header p{margin:1mm 0 4mm;color:#566}.strong{font-weight:600;font-size:11.5pt;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(5,minmax(0,1fr));gap:2.5mm;margin:4mm 0}
.figure{border:1px solid #d5dde4;border-top:2.5px solid #0072b2;padding:2mm;break-inside:avoid}
.figure b{display:block;font-size:10.5pt;line-height:1.35;white-space:nowrap}
.figure i{font-style:normal;font-size:8pt;color:#566;display:block}
.missing{border-left:3px solid #b58900;background:#fdf8e8;padding:1.5mm 3mm;margin:3mm 0;font-size:9.5pt}
figure{margin:4mm 0;break-inside:avoid}figcaption,caption{font-weight:600;text-align:left;font-size:10pt;padding:1mm 0}
figure svg{width:100%;height:auto}
table{border-collapse:collapse;width:100%;margin:3mm 0 1mm;font-size:9pt;font-variant-numeric:tabular-nums}
th{text-align:right;color:#445;border-bottom:1px solid #8a9aa8;padding:1mm 1.5mm;vertical-align:bottom}
td{text-align:right;border-bottom:1px solid #e4e9ed;padding:.8mm 1.5mm;vertical-align:top}
td:first-child{min-width:24mm}.dense td:first-child{min-width:0}
td:first-child,th:first-child,td.words,th.words{text-align:left}tr{break-inside:avoid}thead{display:table-header-group}
.dense{font-size:7.5pt}.dense td,.dense th{padding:.6mm .5mm;text-align:center}
.note{font-size:8.5pt;color:#566;margin:.5mm 0 3mm}
.hash{font-family:"DejaVu Sans Mono",monospace;font-size:7pt;overflow-wrap:anywhere}
.sign{display:flex;gap:10mm;margin-top:8mm;break-inside:avoid}
.sign div{flex:1;border-top:1px solid #333;padding-top:1mm;font-size:8.5pt}
footer{margin-top:8mm;border-top:1px solid #d5dde4;font-size:7.5pt;color:#566;overflow-wrap:anywhere}
@media screen and (max-width:190mm){table{display:block;overflow-x:auto}ul{padding-left:6mm}
.figures{grid-template-columns:repeat(auto-fill,minmax(32mm,1fr))}.figure b{white-space:normal}}
@media print{body{margin:0;padding:0;max-width:none;font-size:8.8pt}section.first{break-after:page}h1{font-size:17pt}
table{font-size:7.8pt;break-inside:avoid}.strong{font-size:10.5pt}figure{margin:2mm 0}header p{margin-bottom:2mm}
ul{margin:1mm 0}
.dense{font-size:6.6pt}.note{font-size:7.4pt}.missing{font-size:8pt;margin:2mm 0}h2{margin-top:6mm}
.figure b{font-size:9.2pt}
.figure{padding:1.2mm 1.5mm}.figure i{font-size:7pt}.sign{margin-top:7mm}.figures{margin:2mm 0}}
"""


def to_html(document: Document) -> bytes:
    """Return the page, in UTF-8."""
    parts = [
        "<!doctype html>",
        "<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{escape(document.title)}</title><style>{_STYLE}</style></head><body>",
        f"<header><h1>{escape(document.title)}</h1><p>{escape(document.subtitle)}</p></header>",
        *(_section(section, first=index == 0) for index, section in enumerate(document.sections)),
        f"<footer>Tidegauge, inputs SHA-256 {document.digest}</footer></body></html>",
    ]
    return ("\n".join(parts) + "\n").encode()


def _section(section: Section, *, first: bool) -> str:
    heading = "" if first else f"<h2>{escape(section.title)}</h2>"
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f"<section{' class=first' if first else ''}>{heading}{blocks}</section>"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p{' class=strong' if block.strong else ''}>{escape(block.text)}</p>"
    if isinstance(block, Missing):
        return f"<p class='missing'><b>{escape(block.what)}:</b> {escape(block.why)}.</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, KeyFigures):
        return "<div class='figures'>" + "".join(_card(one) for one in block.figures) + "</div>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Chart):
        return f"<figure><figcaption>{escape(block.name)}</figcaption>{svg_of(block)}</figure>"
    assert isinstance(block, Signature)  # noqa: S101 (the last kind of block)
    return "<div class='sign'>" + "".join(f"<div>{escape(role)}, date</div>" for role in block.roles) + "</div>"


def _card(one: KeyFigure) -> str:
    label, value, note = escape(one.label), escape(one.cell.text), escape(one.note)
    return f"<div class='figure'><i>{label}</i><b>{value}</b><i>{note}</i></div>"


def wordy_columns(table: Table) -> frozenset[int]:
    """Return the columns of words: those are set to the left, figures to the right."""
    return frozenset(
        index
        for index in range(len(table.columns))
        if any(isinstance(row[index].value, str) and row[index].value == row[index].text for row in table.rows)
    )


def _table(table: Table) -> str:
    words = wordy_columns(table)

    def cell(tag: str, index: int, text: str) -> str:
        is_hash = tag == "td" and len(text) == 64 and " " not in text
        kind = "words hash" if is_hash else "words" if index in words and not table.dense else ""
        return f"<{tag}{f' class={chr(39)}{kind}{chr(39)}' if kind else ''}>{escape(text)}</{tag}>"

    head = "".join(cell("th", index, name) for index, name in enumerate(table.columns))
    rows = "".join(
        "<tr>" + "".join(cell("td", index, one.text) for index, one in enumerate(row)) + "</tr>" for row in table.rows
    )
    note = f"<p class='note'>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<table{' class=dense' if table.dense else ''}><caption>{escape(table.name)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"
    )
