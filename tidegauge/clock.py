"""One clock per process: the wall clock, or the demo's.

The demo plays a window of time that ends at the real present, `speed` times faster, so that a morning's ramp takes
minutes and no timestamp lies in the future. When the played time has caught up with the wall clock the two are the
same, and go on as one. Every composition root builds one clock and hands it down; pure code takes `now` instead.

This module is a leaf: it imports the standard library only, and is the one part of `tidegauge` that others may import.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

ENVIRONMENT_NAME = "TIDEGAUGE_CLOCK"


@dataclass(frozen=True, slots=True)
class Clock:
    """Maps real time to the time in use: `min(real, start + (real - real_start) * speed)`.

    start, real_start: epoch seconds of the first played instant, and of the real instant it is played at.
    speed: clock seconds per real second while the window is played; 1 afterwards.
    """

    start: float = 0.0
    real_start: float = 0.0
    speed: float = 1.0
    read_real: Callable[[], float] = field(default=time.time, compare=False)

    def now_seconds(self) -> float:
        """Return the time in use, in epoch seconds."""
        return self.at_real(self.read_real())

    def now(self) -> datetime:
        """Return the time in use as an aware UTC datetime."""
        return datetime.fromtimestamp(self.now_seconds(), UTC)

    def at_real(self, real_seconds: float) -> float:
        """Return what this clock shows at a real instant (both in epoch seconds)."""
        return min(real_seconds, self.start + (real_seconds - self.real_start) * self.speed)

    def real_at(self, clock_seconds: float) -> float:
        """Return the real instant at which this clock shows `clock_seconds` (both in epoch seconds)."""
        return max(clock_seconds, self.real_start + (clock_seconds - self.start) / self.speed)

    def speed_now(self) -> float:
        """Return clock seconds per real second at this moment: `speed` while the window is played, then 1."""
        real = self.read_real()
        return self.speed if self.at_real(real) < real else 1.0

    def real_seconds(self, clock_span_seconds: float) -> float:
        """Return how many real seconds a span of the clock in use lasts now: the way to set a timer."""
        return clock_span_seconds / self.speed_now()

    def to_environment(self) -> dict[str, str]:
        """Return the environment that makes a child process use this clock; empty for the wall clock."""
        if self == Clock():
            return {}
        return {ENVIRONMENT_NAME: f"{self.start!r}:{self.real_start!r}:{self.speed!r}"}


def clock_from_environment(environ: Mapping[str, str]) -> Clock:
    """Return the demo's clock if `TIDEGAUGE_CLOCK=<start>:<real start>:<speed>` is set, else the wall clock.

    Raises ValueError naming the variable, what was expected and what came.
    """
    text = environ.get(ENVIRONMENT_NAME, "")
    if not text:
        return Clock()
    try:
        start, real_start, speed = (float(part) for part in text.split(":"))
    except ValueError:
        expected = "expected <start>:<real start>:<speed> as numbers"
        raise ValueError(f"{ENVIRONMENT_NAME}: {expected}, got {text!r}") from None
    if speed < 1 or start > real_start:
        raise ValueError(f"{ENVIRONMENT_NAME}: expected speed >= 1 and start <= real start, got {text!r}")
    return Clock(start, real_start, speed)
