"""What `python -m dashboard` has Streamlit serve: the pages of app.py, and their document with a head start."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from streamlit import config, file_util
from streamlit.starlette import App

from dashboard.head_start import document
from dashboard.sitemap import PAGES

BASE = config.get_option("server.baseUrlPath").strip("/")
DOCUMENT = document(Path(file_util.get_static_dir()), base_path=BASE)


def serve(_request: Request) -> HTMLResponse:
    """Answer a page's address."""
    return HTMLResponse(DOCUMENT, headers={"Cache-Control": "no-cache"})


app = App(
    Path(__file__).with_name("app.py"),
    routes=[Route("/" + "/".join(filter(None, (BASE, name))), serve) for name in ("", *PAGES)],
)
