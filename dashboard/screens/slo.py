"""Do we keep our promises: SLOs, budgets and burn rates over time, the classic rule, the alert policy's proof."""

from __future__ import annotations

from functools import partial

import streamlit as st

from collector.catalog import Slo
from collector.slo.objectives import SloStatus
from dashboard.charts import slo as charts_slo
from dashboard.context import View, catalog, zone
from dashboard.parts import beneath, draw_figure, draw_page, draw_table, heading, nothing, say_marks, window_of
from dashboard.queries import ahead
from dashboard.queries import record as queries
from dashboard.side_by_side import ask_ahead
from dashboard.tables.slo import (
    burn_table,
    classic_table,
    judgement_table,
    promise,
    replay_table,
    slo_table,
    worst_first,
)
from dashboard.timerange import step_for
from dashboard.words import clock_time, duration, percent, roughly, target, window

LONGEST_REPLAY_DAYS = 31


def draw(view: View) -> None:
    """Draw the table of SLOs, their burn rates, one of them over time, and the classic rule."""
    slos = [slo for slo in view.service.slos if view.region is None or slo.region in (None, view.region)]
    if not slos:
        st.info(f"tidegauge.yaml promises nothing for {view.service.name}: it has no SLOs.")
    else:
        ask_ahead(*ahead.slo(view))
        known = {slo.name for slo in slos}
        found = queries.slo_statuses(view.service, view.minute)
        statuses = worst_first([status for status in found if status.slo.name in known])
        draw_table(slo_table(statuses), key="slos")
        st.caption(
            "Weighted by requests, each over its own window up to now. Budget left: share of the allowed bad requests"
            " that is not spent yet; spent in: when it is, if the last hour's burn goes on. Coverage: minutes of the"
            " window that are in the record, maintenance left out. Counted within: the edge of the histogram's buckets"
            " that a latency is held to."
        )
        _draw_burns(statuses)
        beneath()
        _draw_one(view, slos, statuses)
    _draw_classic(view)


def _draw_burns(statuses: list[SloStatus]) -> None:
    heading("Burn rates")
    if charts_slo.burn_frame(statuses).empty:
        nothing("valid request")
        return
    draw_figure(charts_slo.burn_chart(statuses), key="burn-rates")
    draw_table(burn_table(statuses), key="burns")
    st.caption(
        "Over every window; the ticks are what a window's pair alerts above. In the table over the long / the short"
        " window: 1 spends the budget exactly within the SLO's window, and an SLO burns while both are above."
    )


def _draw_one(view: View, slos: list[Slo], statuses: list[SloStatus]) -> None:
    heading("One SLO over time")
    first = statuses[0].slo.name
    known = [slo.name for slo in slos]
    name = st.segmented_control("SLO", known, default=first, key="slo", label_visibility="collapsed") or first
    slo = next((slo for slo in slos if slo.name == name), slos[0])
    marks, step = queries.marks(view), step_for(view.until - view.since, ahead.BUDGET_POINTS)
    ask_ahead(
        partial(queries.sli_series, view.service.name, slo, view.since, view.until, view.step),
        partial(queries.budget_history, view.service.name, slo, view.since, view.until, step),
    )
    left, right = st.columns(2, gap="large")
    with left:
        _draw_sli(view, slo)
    with right:
        points = queries.budget_history(view.service.name, slo, view.since, view.until, step)
        if all(point.budget_left is None for point in points):
            nothing(f"request that counts for {slo.name}")
        else:
            figure = charts_slo.budget_chart(points, step=step, window=window_of(view), marks=marks)
            draw_figure(figure, key="budget")
            st.caption(
                f"Error budget left of the {window(slo.window)} window, per {window(step)};"
                f" below the line it is overspent.{say_marks(marks)}"
            )
    _draw_happened(view)


def _draw_sli(view: View, slo: Slo) -> None:
    series = queries.sli_series(view.service.name, slo, view.since, view.until, view.step)
    if series.empty:
        nothing(f"request that counts for {slo.name}")
        return
    figure = charts_slo.sli_chart(
        series, target=slo.target, step=view.step, window=window_of(view), marks=queries.marks(view)
    )
    draw_figure(figure, key="sli")
    bad = int((series["valid"] - series["good"]).sum())
    st.caption(
        f"{slo.name}: {promise(slo)}, per {window(view.step)}. In this time range {bad:,} of {series['valid'].sum():,}"
        f" requests were bad: SLI {percent(1 - bad / series['valid'].sum(), 3)}."
    )


def _draw_happened(view: View) -> None:
    fired = queries.fired(view.service.name, view.since, view.until)
    quiet = [one for one in queries.markers(view.service.name, view.since, view.until) if one.excludes_slo]
    lines = [
        f"- ✖ {clock_time(one.fired_at, zone())}: **{one.name}** ({one.severity}) {one.summary}" for one in fired[:20]
    ]
    lines += [
        f"- ▬ {clock_time(one.starts_at, zone())}, {roughly(one.ends_at - one.starts_at)}: {one.text or 'maintenance'}"
        for one in quiet[:20]
    ]
    with st.expander(f"In this time range: alerts that fired {len(fired)}, spells of maintenance {len(quiet)}"):
        st.markdown("\n".join(lines) if lines else "None.")


def _draw_classic(view: View) -> None:
    rule = view.service.classic_rule
    if rule is None:
        return
    heading(f"By route, last {window(rule.window)}")
    found = queries.classic(view.service.name, rule, view.minute)
    if found:
        draw_table(classic_table(found, rule), key="classic")
        slow, failing = duration(rule.mean_response), target(rule.error_ratio)
        st.caption(f"The classic rule: a route breaches it by a mean response over {slow} or by errors over {failing}.")
    else:
        st.info(f"No request in the last {window(rule.window)}: the classic rule has nothing to judge.")


def replay(view: View) -> None:
    """Draw the replay of the alert policy over the range, when somebody asks for it: every minute is judged anew."""
    if not view.service.slos:
        return
    heading("Backtest of the alert policy")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    slo = left.selectbox("SLO to replay", view.service.slos, format_func=lambda one: one.name, key="replay-slo")
    days = (view.until - view.since).days
    if days > LONGEST_REPLAY_DAYS:
        st.caption(f"A replay looks at {LONGEST_REPLAY_DAYS} days at most; this range has {days}.")
        return
    if not right.toggle("Replay this range", key="replay"):
        st.caption(
            "Runs the live alert policy at the end of every stored minute: which alerts it would have sent, how soon,"
            " and how many of them were right."
        )
        return
    result = queries.alert_backtest(view.service, slo, catalog().alerts.policy, view.since, view.until)
    one, other = st.columns(2, gap="large")
    with one:
        draw_table(judgement_table(result), key="judgements")
        st.caption("Precision: alerts that met an incident. Recall: incidents that an alert met. – : nothing to count.")
    with other:
        told = replay_table(result, zone())
        if told.empty:
            st.info("No incident and no alert in this range.")
        else:
            draw_table(told, key="replayed")


draw_page("SLO", draw, act=replay)
