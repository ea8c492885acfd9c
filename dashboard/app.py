"""The dashboard's composition root: `streamlit run dashboard/app.py`. Pages are files; this only lists them."""

from __future__ import annotations

import streamlit as st

PAGES = {
    "overview": ("pages/overview.py", "Overview", ":material/monitoring:"),
    "slo": ("pages/slo.py", "SLO", ":material/verified:"),
    "traffic": ("pages/traffic.py", "Traffic", ":material/traffic:"),
    "scaling": ("pages/scaling.py", "Scaling", ":material/stacked_bar_chart:"),
}


def main() -> None:
    """Draw the page that the URL names."""
    st.set_page_config(page_title="Tidegauge", page_icon=":material/waves:", layout="wide")
    pages = [
        st.Page(path, title=title, icon=icon, url_path=name, default=name == "overview")
        for name, (path, title, icon) in PAGES.items()
    ]
    st.navigation(pages).run()


main()
