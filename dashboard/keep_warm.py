"""The next minute's answers, asked for as soon as the minute is over, while somebody looks.

Pages ask for the newest whole minute, so once a minute the answers that are kept are of no use any more, and who goes
to a page then would wait for the record. As long as a dashboard is looked at, and for a while after, its own thread
asks first what the pages will ask. Nothing is shown that was not asked of the record, and nothing older than before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime

from collector.clickhouse import StoreError
from dashboard.context import Look, View, clock, looks, view_of
from dashboard.queries import ahead

LOOKED_AT_SECONDS = 600.0
MOST_LOOKS = 3
EVERY_SECONDS = 0.5


def keep_warm(stop: threading.Event, *, every_seconds: float = EVERY_SECONDS) -> None:
    """Ask ahead until told to stop. A demo's minutes pass too fast for it."""
    asked: dict[Look, datetime] = {}
    while not stop.wait(every_seconds):
        recent = looks().since(time.monotonic() - LOOKED_AT_SECONDS)[:MOST_LOOKS]
        if recent and clock().speed_now() == 1:
            asked = ask_for(recent, asked, view_of=view_of, questions=ahead.of_all_pages)


def ask_for(
    recent: Iterable[Look],
    asked: dict[Look, datetime],
    *,
    view_of: Callable[[Look], View],
    questions: Callable[[View], Iterable[ahead.Question]],
) -> dict[Look, datetime]:
    """Ask what is new since `asked` (by look: the minute it was asked for), one at a time; return what is asked now."""
    done: dict[Look, datetime] = {}
    for look in recent:
        view = view_of(look)
        if view.live and asked.get(look) != view.minute:
            for question in questions(view):
                with suppress(StoreError):  # told where it is drawn
                    question()
        done[look] = view.minute
    return done
