"""The dashboard's composition root: `streamlit run dashboard/app.py`. Pages are files; this only lists them.

Their folder is not called `pages`: Streamlit would take one beside this file for its older kind of app, and run a page
that a link names without what stands here.
"""

from __future__ import annotations

import streamlit as st

from collector.catalog import CatalogError
from dashboard.context import catalog, choose
from dashboard.session import admit
from dashboard.sitemap import FIRST, PAGES

# What a page refreshes by itself is not greyed meanwhile, a page begins near its top, and on a phone figures in large
# print stand in pairs, whole, and a decision is a block of lines instead of a row of five narrow cells.
STYLE = """<style>
[data-testid=stMain] [data-stale=true] { opacity: 1 !important; transition: none !important; }
[data-testid=stMainBlockContainer] { padding-top: 3rem; padding-bottom: 4rem; }
[data-testid=stSidebarHeader] { height: 2.5rem; margin-bottom: 0; }
@media (max-width: 640px) {
  [data-testid=stColumn]:has([data-testid=stMetric]):not(:has([data-testid=stVegaLiteChart])) {
    flex: 1 1 40% !important; min-width: 40% !important;
  }
  [data-testid=stMetric] :is([data-testid=stMetricLabel], [data-testid=stMetricValue]),
  [data-testid=stMetric] :is([data-testid=stMetricLabel], [data-testid=stMetricValue]) :not(svg, svg *) {
    white-space: normal !important; overflow: visible !important; text-overflow: clip !important;
  }
  [data-testid=stMetricValue] { font-size: 1.6rem !important; line-height: 1.2 !important; }
  .st-key-decisions thead { display: none; }
  .st-key-decisions tbody tr { display: flex; flex-wrap: wrap; column-gap: 1rem; padding: 0.5rem 0; }
  .st-key-decisions tbody td { border: none !important; padding: 0.1rem 0 !important; width: auto !important; }
  .st-key-decisions tbody td:is(:first-child, :last-child) { flex: 1 1 100%; }
  .st-key-decisions tbody td:first-child { font-weight: 600; }
  .st-key-decisions tbody td:nth-child(3)::before { content: "done: "; }
  .st-key-decisions tbody td:nth-child(4)::before { content: "needed at "; }
}
</style>"""


def main() -> None:
    """Draw the page that the URL names, beneath the choices that all pages share."""
    st.set_page_config(page_title="Tidegauge", page_icon="🌊", layout="wide")
    pages = [
        st.Page(path, title=title, icon=icon, url_path=name, default=name == FIRST)
        for name, (path, title, icon) in PAGES.items()
    ]
    st.html(STYLE)
    admitted = admit()
    page = st.navigation(pages, position="sidebar" if admitted else "hidden")
    if not admitted:
        return
    try:
        known = catalog().services
    except CatalogError as error:
        st.error(f"tidegauge.yaml cannot be read: {error}")
        return
    if not known:
        st.info("tidegauge.yaml names no service yet: there is nothing to watch.")
        return
    choose()
    page.run()


main()
