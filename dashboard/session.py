"""Who looks at this moment, as Streamlit knows it: the login, the proxy's headers, or nobody asked on loopback."""

from __future__ import annotations

import os

import streamlit as st

from dashboard.access import (
    AccessRefusedError,
    AccessSettings,
    AccessSettingsError,
    Person,
    local_person,
    person_by_claims,
    person_by_proxy,
    read_access,
)

_KEY = "person"


def admit() -> bool:
    """Find out who looks, and remember it for the page; False: a login or a refusal is drawn instead of the page."""
    try:
        settings = read_access(os.environ, host=_listens_on())
        person = _person(settings)
    except (AccessSettingsError, AccessRefusedError) as error:
        st.error(f"No access: {error}")
        return False
    if person is None:
        _draw_login()
        return False
    st.session_state[_KEY] = person
    if settings.way != "loopback":
        _draw_person(person, settings)
    return True


def person() -> Person:
    """Return who looks; only on a page that `admit` let through."""
    found: Person = st.session_state[_KEY]
    return found


def may_act() -> bool:
    """Say whether who looks may change anything."""
    return person().role == "operator"


def _listens_on() -> str:
    return str(st.get_option("server.address") or "")  # without an address Streamlit listens on all of them


def _person(settings: AccessSettings) -> Person | None:
    if settings.way == "loopback":
        return local_person()
    if settings.way == "proxy":
        return person_by_proxy(settings, dict(st.context.headers))
    return person_by_claims(settings, st.user.to_dict()) if getattr(st.user, "is_logged_in", False) else None


def _draw_login() -> None:
    st.title("Tidegauge", anchor=False)
    st.markdown("Sign in to see how your services stand.")
    st.button("Sign in", type="primary", on_click=st.login, key="login")


def _draw_person(person: Person, settings: AccessSettings) -> None:
    with st.sidebar:
        st.caption(f"{person.name} · {person.role}")
        if settings.way == "oidc":
            st.button("Sign out", on_click=st.logout, key="logout", type="tertiary")
