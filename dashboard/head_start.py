"""What a browser is told with the very first answer, so that it need not find out step by step.

Streamlit's page asks for what draws figures and tables only when the first of them has come, in three rounds, and
looks for its server beneath the path of the page that was asked for before it looks at the root: two tenths of a second
and more on every visit by an address. So its document is served with both answers in its head. Which files these are is
read out of Streamlit's own folder when the server starts; one that a later Streamlit has no more is left out.
"""

from __future__ import annotations

import json
from pathlib import Path

# What the pages draw with, by the names of Streamlit's own modules without their hashes, the largest first.
DRAWN_WITH = ("ArrowVegaLiteChart", "DataFrame", "Selectbox", "Metric", "Html", "ButtonGroup")
_HEAD_ENDS = "</head>"
_SERVER = "<script>window.__streamlit = {BACKEND_BASE_URL: location.origin + %s}</script>"
# A module of its own, which runs when Streamlit's own has: what that is made of does not wait for these.
_IMPORTS = """<script type="module">
for (const module of %s) import(module);
</script>"""


def document(static: Path, *, base_path: str = "") -> str:
    """Return Streamlit's document with more in its head. static: Streamlit's folder; base_path: of its addresses."""
    root = "/".join(["", *filter(None, base_path.split("/")), ""])
    found = [each for stem in DRAWN_WITH for each in sorted((static / "static" / "js").glob(f"{stem}.*.js"))]
    added = _SERVER % json.dumps(root) + _IMPORTS % json.dumps([f"{root}static/js/{each.name}" for each in found])
    return (static / "index.html").read_text(encoding="utf-8").replace(_HEAD_ENDS, added + _HEAD_ENDS, 1)
