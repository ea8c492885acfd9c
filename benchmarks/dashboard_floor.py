"""A Streamlit app of two pages that hold a title and nothing else: what of a page's time is Streamlit's own.

`benchmarks.dashboard` measures it beside the dashboard, in the same browser and the same run.
"""

from __future__ import annotations

import streamlit as st


def empty() -> None:
    """Draw nothing but a title."""
    st.title("Empty", anchor=False)


def empty_too() -> None:
    """Draw nothing but another title, so that there is somewhere to go to and to come back from."""
    st.title("Nothing", anchor=False)


def main() -> None:
    """Draw the page that the URL names, as the dashboard's own root does."""
    st.set_page_config(page_title="Floor", layout="wide")
    st.navigation(
        [st.Page(empty, title="Empty", default=True), st.Page(empty_too, title="Nothing", url_path="nothing")]
    ).run()


main()
