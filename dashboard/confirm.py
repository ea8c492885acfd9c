"""Buttons that change something: for operators only, each with a confirmation that says what will happen."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.services import PartRefused, PartUnavailable
from dashboard.session import may_act, person

_TOLD, _ASKING = "told", "asking"


def say_outcome() -> None:
    """Say once what became of the last thing that was confirmed."""
    told: tuple[bool, str] | None = st.session_state.pop(_TOLD, None)
    if told is not None:
        (st.success if told[0] else st.error)(told[1])


def confirmed(
    label: str,
    *,
    key: str,
    says: str,
    run: Callable[[str], str],
    asks_why: bool = True,
    disabled: bool = False,
) -> None:
    """Draw a button that asks before it runs. says: what will happen; run: why -> what was done, in words.

    It is drawn outside of what refreshes itself, and for viewers not to be pressed. Raises nothing: what a part refuses
    is told on the page.
    """
    allowed = may_act()
    hint = None if allowed else f"For operators; you ({person().name}) are a viewer."
    if st.button(label, key=key, disabled=disabled or not allowed, help=hint, width="stretch"):
        st.session_state[_ASKING] = key
    if allowed and st.session_state.get(_ASKING) == key:
        _ask(label, key, says, run, asks_why=asks_why)


def _ask(label: str, key: str, says: str, run: Callable[[str], str], *, asks_why: bool) -> None:
    @st.dialog(label, on_dismiss=_close)
    def dialog() -> None:
        st.markdown(says)
        why = st.text_input("Why", key=f"{key}-why", placeholder="kept with what is done") if asks_why else ""
        yes, no = st.columns(2)
        if yes.button("Confirm", type="primary", key=f"{key}-yes", width="stretch"):
            if asks_why and not why.strip():
                st.warning("Say why first: it is kept with what is done.")
            else:
                st.session_state[_TOLD] = _outcome(run, why.strip())
                _close()
                st.rerun()
        if no.button("Cancel", key=f"{key}-no", width="stretch"):
            _close()
            st.rerun()

    dialog()


def _close() -> None:
    st.session_state.pop(_ASKING, None)


def _outcome(run: Callable[[str], str], why: str) -> tuple[bool, str]:
    try:
        return True, run(why)
    except PartRefused as error:
        return False, f"Refused: {error}"
    except PartUnavailable as error:
        return False, f"Nothing was changed, for it does not answer: {error}"
