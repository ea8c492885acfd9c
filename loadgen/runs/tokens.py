"""The token that a collector may ask for: TIDEGAUGE_INGEST_TOKEN to report, TIDEGAUGE_READ_TOKEN to read demand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal


def collector_headers(role: Literal["INGEST", "READ"]) -> dict[str, str]:
    """Return the Authorization header of a role's setting (or of the file its _FILE names); empty without one."""
    name = f"TIDEGAUGE_{role}_TOKEN"
    text, file = os.environ.get(name, ""), os.environ.get(f"{name}_FILE")
    if not text and file:
        text = Path(file).read_text(encoding="utf-8")
    token = next(iter(text.replace(",", " ").split()), None)
    return {} if token is None else {"Authorization": f"Bearer {token}"}
