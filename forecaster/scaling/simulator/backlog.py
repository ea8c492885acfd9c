"""What users wait for: a fluid queue in front of the ready replicas, whose users lose patience.

Between two ticks demand a and capacity m (requests/s) are constant. Requests wait in line, first come first served;
nobody joins whose wait would pass the patience p, so the line is never longer than m p:

    line' = min(max(0, line + (a - m) dt), m p)        dropped = what the min takes away
    served = line + a dt - dropped - line'

A request violates the SLO when it is dropped, or joins while the wait (line / m) is above the bearable one. Requests of
a span with any such wait at its end count as violating: at a tick of seconds the error is that of one tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.scaling.simulator.course import Course

Array = npt.NDArray[Any]
PATIENCE_SECONDS = 10.0
BEARABLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Queued:
    """Requests by lane: arrived = served + dropped + waiting (at the end). violating: dropped or waited too long."""

    arrived: Array
    served: Array
    dropped: Array
    waiting: Array
    violating: Array


def queue_up(
    course: Course,
    *,
    capacity_rps: float,
    patience_seconds: float = PATIENCE_SECONDS,
    bearable_seconds: float = BEARABLE_SECONDS,
) -> Queued:
    """Let the demand of a course queue in front of its ready replicas. A gap in demand brings nobody."""
    arriving = np.nan_to_num(course.rps) * course.spans
    lanes = course.ready.shape[1]
    line, served, dropped, violating = (np.zeros(lanes) for _ in range(4))
    spans = course.spans.tolist()
    busy = (np.nan_to_num(course.rps) > course.ready.min(axis=1) * capacity_rps).tolist()
    calm = 0.0  # requests since the last busy tick, served at once by every lane
    for index, (span, arrived) in enumerate(zip(spans, arriving.tolist(), strict=True)):
        if not busy[index] and not line.any():
            calm += arrived
            continue
        able = course.ready[index] * capacity_rps
        wanting = np.maximum(line + arrived - able * span, 0.0)
        left = np.minimum(wanting, able * patience_seconds)
        gone = wanting - left
        dropped += gone
        served += line + arrived - gone - left
        slow = (np.maximum(left, line) > able * bearable_seconds) | (able <= 0)
        violating += np.maximum(np.where(slow, arrived, 0.0), np.minimum(gone, line + arrived))
        line = left
    total = np.full(lanes, float(arriving.sum()))
    return Queued(total, served + calm, dropped, line, np.minimum(violating, total))
