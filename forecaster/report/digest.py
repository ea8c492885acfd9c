"""The hash of what a report rests on: canonical JSON of any input, SHA-256. Same inputs, same hash, on any machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from forecaster.report.document import InputNote
from forecaster.store.instants import text_of


def canonical(value: Any) -> Any:
    """Return JSON's own values: frames as columns, instants as text in UTC, spans as seconds, NaN as null."""
    if isinstance(value, pd.DataFrame):
        return {str(name): canonical(value[name].tolist()) for name in value.columns}
    if isinstance(value, np.ndarray):
        return canonical(value.tolist())
    if isinstance(value, pd.Timestamp):
        return text_of(value.to_pydatetime())
    if isinstance(value, datetime):  # an event's time as it was declared is local: its zone is the service's
        return text_of(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(canonical(key)): canonical(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(entry) for entry in value]
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def sha256_of(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a value's canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def notes_of(inputs: Mapping[str, Any]) -> tuple[tuple[InputNote, ...], str]:
    """Return a note per input (of one row when it is no list and no frame), and the hash over all of them."""
    notes = tuple(
        InputNote(
            name,
            len(value) if isinstance(value, (pd.DataFrame, list, tuple)) else int(value is not None),
            sha256_of(value),
        )
        for name, value in inputs.items()
    )
    return notes, sha256_of({note.name: note.digest for note in notes})
