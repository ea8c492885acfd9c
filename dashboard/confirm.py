"""Buttons that change something: for operators only, each with a confirmation that says what will happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.services import PartRefused, PartUnavailable
from dashboard.session import may_act, person

_TOLD, _ASKING = "told", "asking"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What somebody confirmed with: why, and whether against what would refuse it."""

    why: str = ""
    forced: bool = False


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
    run: Callable[[Confirmation], str],
    asks_why: bool = True,
    force: str = "",
    disabled: str = "",
) -> None:
    """Draw a button that asks before it runs. says: what will happen; run: confirmation -> what was done, in words.

    It is drawn outside of what refreshes itself, and not at all for viewers. force: what may be forced, and what that
    means; nothing where there is nothing to force. disabled: why it can't be pressed now; nothing where it can. Raises
    nothing: what a part refuses is told on the page.
    """
    if not may_act():
        return
    if st.button(label, key=key, disabled=bool(disabled), help=disabled or None, width="stretch"):
        st.session_state[_ASKING] = key
        # Asked anew: neither the reason nor the force of an earlier time is this one's.
        st.session_state[f"{key}-why"], st.session_state[f"{key}-force"] = "", False
    if st.session_state.get(_ASKING) == key:
        _ask(label, key, says, run, asks_why=asks_why, force=force)


def choice_key(key: str, options: Sequence[object]) -> str:
    """Return the key of a choice among what may come and go: of none, Streamlit would remember that none was chosen."""
    return key if options else f"{key}-none"


def for_operators(what: str) -> bool:
    """Say to a viewer that only operators do something; True for an operator, to whom it is to be drawn."""
    if not may_act():
        st.caption(f"Only operators {what}; you ({person().name}) are a viewer.")
        return False
    return True


def _ask(
    label: str, key: str, says: str, run: Callable[[Confirmation], str], *, asks_why: bool, force: str
) -> None:  # fmt: skip
    @st.dialog(label, on_dismiss=_close)
    def dialog() -> None:
        st.markdown(says)
        forced = bool(force) and st.checkbox(f":orange[▲ Force it]: {force}", key=f"{key}-force")
        why = st.text_input("Why", key=f"{key}-why", placeholder="kept with what is done") if asks_why else ""
        yes, no = st.columns(2)
        if yes.button("Confirm", type="primary", key=f"{key}-yes", width="stretch"):
            if asks_why and not why.strip():
                st.warning("Say why first: it is kept with what is done.")
            else:
                st.session_state[_TOLD] = _outcome(run, Confirmation(why.strip(), forced))
                _close()
                st.rerun()
        if no.button("Cancel", key=f"{key}-no", width="stretch"):
            _close()
            st.rerun()

    dialog()


def _close() -> None:
    st.session_state.pop(_ASKING, None)


def _outcome(run: Callable[[Confirmation], str], confirmation: Confirmation) -> tuple[bool, str]:
    try:
        return True, run(confirmation)
    except PartRefused as error:
        return False, f"Refused: {error}"
    except PartUnavailable as error:
        return False, f"Nothing was changed, for it does not answer: {error}"
