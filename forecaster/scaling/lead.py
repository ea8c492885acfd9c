"""How long a raise of the floor takes to serve, from our own raises: what a plan must be ahead by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

RAISES_NEEDED = 20
RAISES_COUNTED = 100
LEAD_SHARE = 0.95


def measured_lead(ready_after: Sequence[timedelta]) -> timedelta | None:
    """Return the lead that 95 % of the newest raises kept; None until RAISES_NEEDED are known.

    ready_after: per raise that started replicas, oldest first, the span from the patch to the last of them ready.
    """
    newest = sorted(ready_after[-RAISES_COUNTED:])
    if len(newest) < RAISES_NEEDED:
        return None
    return newest[math.ceil(LEAD_SHARE * len(newest)) - 1]
