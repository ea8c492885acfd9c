"""What a sampler brings home: plain readings. What cannot be read raises, and is never told as a zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


class SourceUnreachableError(RuntimeError):
    """A sampler's source did not answer, or not as expected: says which and why, without secrets."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value now. kind `counter`: grows from zero since the source's start; `gauge`: a state."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["gauge", "counter"] = "gauge"
    started_at: float | None = None  # real epoch seconds at which a counter was zero, where the source tells it
