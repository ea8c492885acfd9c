"""Do we keep our promises: SLOs with their budgets and burn rates, the SLI over time, the classic rule by route."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, queries
from dashboard.context import View
from dashboard.parts import draw_figure, draw_page, nothing, window_of
from dashboard.slo_tables import burn_table, classic_table, promise, slo_table, worst_first
from dashboard.words import duration, percent, target, window


def draw(view: View) -> None:
    """Draw the table of SLOs, one SLI over time, and the classic rule."""
    if not view.service.slos:
        st.info(f"tidegauge.yaml promises nothing for {view.service.name}: it has no SLOs.")
    else:
        statuses = worst_first(queries.slo_statuses(view.service, view.minute))
        st.dataframe(slo_table(statuses), hide_index=True, width="stretch", key="slos")
        st.caption(
            "Weighted by requests, each over its own window up to now. Budget left: share of the allowed bad requests"
            " that is not spent yet. Counted within: the edge of the histogram's buckets that a latency is held to."
        )
        st.subheader("Burn rates", anchor=False)
        st.dataframe(burn_table(statuses), hide_index=True, width="stretch", key="burns")
        st.caption(
            "Over the long / the short window. 1 spends the budget exactly within the SLO's window; an SLO burns while"
            " both are above the number of the pair."
        )
        _draw_sli(view, [status.slo.name for status in statuses])
    _draw_classic(view)


def _draw_sli(view: View, names: list[str]) -> None:
    st.subheader("SLI over time", anchor=False)
    first = names[0]
    known = [slo.name for slo in view.service.slos]
    name = st.segmented_control("SLO", known, default=first, key="slo", label_visibility="collapsed") or first
    slo = next(slo for slo in view.service.slos if slo.name == name)
    series = queries.sli_series(view.service.name, slo, view.since, view.until, view.step)
    if series.empty:
        nothing(f"request that counts for {name}")
        return
    figure = charts.sli_chart(series, target=slo.target, step=view.step, window=window_of(view))
    draw_figure(figure, key="sli")
    bad = int((series["valid"] - series["good"]).sum())
    st.caption(
        f"{name}: {promise(slo)}, per {window(view.step)}. In this time range {bad:,} of {series['valid'].sum():,}"
        f" requests were bad: SLI {percent(1 - bad / series['valid'].sum(), 3)}."
    )


def _draw_classic(view: View) -> None:
    rule = view.service.classic_rule
    if rule is None:
        return
    st.subheader(f"By route, last {window(rule.window)}", anchor=False)
    found = queries.classic(view.service.name, rule, view.minute)
    if found:
        st.dataframe(classic_table(found, rule), hide_index=True, width="stretch", key="classic")
        limits = f"mean response over {duration(rule.mean_response)} or errors over {target(rule.error_ratio)}"
        st.caption(f"The classic rule: breached when a route's {limits}.")
    else:
        st.info(f"No request in the last {window(rule.window)}: the classic rule has nothing to judge.")


draw_page("SLO", draw)
