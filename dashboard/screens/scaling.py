"""Why is the floor what it is: replicas against demand, decisions with reasons, the plan, its proof."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import streamlit as st

from dashboard import charts, queries
from dashboard.context import View, clock
from dashboard.parts import draw_figure, draw_page, look_ahead, nothing, window_of
from dashboard.scaling_tables import decision_table, plan_table, planned, planned_until, verdict_table
from dashboard.words import NONE, clock_time, rps
from forecaster.store import StoredDecision

TABLE_HEIGHT, ROWS_IN_SIGHT = 420, 8


def draw(view: View) -> None:
    """Draw floor and replicas over time, then why, the decisions, the plan and the backtest."""
    name = view.service.name
    if view.service.scaling is None:
        st.info(f"{name} is not scaled by Tidegauge: tidegauge.yaml has no scaling block for it.")
        return
    states = queries.replica_states(name, view.since, view.now, view.step)
    newest = next(iter(queries.decisions(name, view.since, view.now, limit=1)), None)
    _draw_numbers(states, newest)
    if states.empty:
        nothing("state of the autoscaler")
    else:
        _draw_replicas(view, states, newest, view.service.scaling.lead)
    _draw_why(newest)
    st.subheader("Decisions", anchor=False)
    _draw_decisions(view)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Plan", anchor=False)
        if newest is not None and newest.decision.plan:
            st.table(plan_table(newest), hide_index=True, border="horizontal")
        else:
            nothing("plan")
    with right:
        st.subheader("Policy backtest", anchor=False)
        _draw_proof(view)


def _draw_numbers(states: pd.DataFrame, newest: StoredDecision | None) -> None:
    last = states.iloc[-1] if len(states) else None
    capacity = None if last is None or pd.isna(last["capacity_rps"]) else float(last["capacity_rps"])
    speed = clock().speed_now()
    real = "" if capacity is None or speed == 1 else f"{rps(capacity * speed)} in real time"
    cells = st.columns(5)
    cells[0].metric("Mode", NONE if newest is None else newest.decision.mode, help="As of the newest decision.")
    cells[1].metric(
        "Floor",
        NONE if last is None else str(last["floor"]),
        delta=None if last is None else f"operator's is {last['operator_floor']}",
        delta_color="off",
        delta_arrow="off",
    )
    cells[2].metric("Replicas ready", NONE if last is None else f"{last['ready']} of {last['desired']}")
    cells[3].metric("Ceiling", NONE if last is None else str(last["ceiling"]))
    cells[4].metric(
        "One replica carries, requests/s",
        rps(capacity),
        delta=real or None,
        delta_color="off",
        delta_arrow="off",
        help="The low end of its capacity, in requests per second of the clock in use.",
    )


def _draw_replicas(view: View, states: pd.DataFrame, newest: StoredDecision | None, lead: timedelta) -> None:
    forecast = queries.latest_forecast(view.service.name, view.now)
    step = max(view.step, forecast.step) if forecast is not None else view.step
    demand = queries.demand(view.service.name, view.since, view.until, step)
    end = planned_until(forecast, now=view.now, until=look_ahead(view), lead=lead)
    plan = planned(newest, now=view.now, until=end) if newest is not None else pd.DataFrame()
    needed = charts.needed_replicas(states, demand, step=step)
    draw_figure(charts.replica_chart(states, needed, plan, window=window_of(view)), key="scale")


def _draw_why(newest: StoredDecision | None) -> None:
    if newest is None:
        return
    decision = newest.decision
    lines = "\n".join(f"- {reason}" for reason in decision.reasons)
    rested = f"the forecast of {clock_time(newest.forecast_origin)}" if newest.forecast_origin else "no forecast"
    head = f"**Why the floor is {decision.floor_after}** (decided {clock_time(decision.at)}, on {rested})"
    st.markdown(f"{head}\n{lines}")


def _draw_decisions(view: View) -> None:
    changes_only = st.toggle("Changes only", value=True, key="changes")
    found = queries.decisions(view.service.name, view.since, view.now, changes_only=changes_only)
    if not found:
        nothing("change of the floor" if changes_only else "decision")
        return
    with st.container(height=TABLE_HEIGHT if len(found) > ROWS_IN_SIGHT else "content", border=False):
        st.table(decision_table(found), hide_index=True, border="horizontal")
    if len(found) == queries.MOST_DECISIONS:
        st.caption(f"The newest {queries.MOST_DECISIONS} of this time range.")


def _draw_proof(view: View) -> None:
    verdict = queries.latest_backtest(view.service.name)
    if verdict is None:
        st.info("Never judged: `tidegauge backtest policy` does it. Mode act is refused until it has passed.")
        return
    say = st.success if verdict.passed else st.warning
    say(f"{'Passed' if verdict.passed else 'Not passed'}: {verdict.report.get('reason', 'no reason stored')}")
    table = verdict_table(verdict.report, view.service.cost)
    if len(table):
        st.dataframe(table, hide_index=True, width="stretch", key="verdict")
    st.caption(
        f"Judged {clock_time(verdict.run_at)} on the demand of {clock_time(verdict.window_from)} to"
        f" {clock_time(verdict.window_to)}, by the decisions that run live."
    )


draw_page("Scaling", draw)
