"""Several questions to the record at once: a page then waits for the slowest of them, not for their sum.

Only for questions whose answers are kept (`st.cache_data`): the page asks them again where it draws, and finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from collector.clickhouse import StoreError

MOST_AT_ONCE = 6


def ask_ahead(*questions: Callable[[], object]) -> None:
    """Ask all of them, and return when every answer is there. What the record refuses is told where it is drawn."""
    context = get_script_run_ctx(suppress_warning=True)

    def ask(question: Callable[[], object]) -> None:
        add_script_run_ctx(ctx=context)
        with suppress(StoreError):
            question()

    with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="ask-ahead") as pool:
        list(pool.map(ask, questions))
