"""Which formats there are: a document in, bytes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from forecaster.report.document import Document

Format = Literal["html", "pdf", "md", "csv", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "md": "text/markdown; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}


def parse_format(text: str) -> Format:
    """Return a format by its name. Raises ValueError."""
    for form in FORMATS:
        if form == text:
            return form
    raise ValueError(f"expected {', '.join(FORMATS)}, got {text!r}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report in one format. name: a file name for it; digest: of its inputs."""

    name: str
    format: Format
    content: bytes
    title: str
    digest: str

    @property
    def media_type(self) -> str:
        """Its type for HTTP and e-mail."""
        return MEDIA_TYPES[self.format]


def render(document: Document, form: Format) -> Rendered:
    """Return a document in a format. The libraries that draw are imported when they are needed."""
    from forecaster.report import render_text

    if form == "html":
        from forecaster.report.render_html import to_html

        content = to_html(document)
    elif form == "pdf":
        from forecaster.report.render_pdf import to_pdf

        content = to_pdf(document)
    else:
        plain = {"md": render_text.to_markdown, "csv": render_text.to_csv, "json": render_text.to_json}
        content = plain[form](document)
    name = f"{document.service}-{document.kind}-{document.as_of:%Y-%m-%d}.{form}"
    return Rendered(name, form, content, document.title, document.digest)
