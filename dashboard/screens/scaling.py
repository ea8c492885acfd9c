"""Why is the floor what it is: replicas against demand, decisions with reasons, the plan, with us and without us."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts import scaling as charts
from dashboard.confirm import Confirmation, confirmed, for_operators
from dashboard.context import View, clock, zone
from dashboard.orders import CONFIGURED, LABELS, MODES, Verb, force_says, in_force_text, order, says
from dashboard.parts import (
    beneath,
    draw_figure,
    draw_page,
    draw_table,
    heading,
    look_ahead,
    nothing,
    say_marks,
    window_of,
)
from dashboard.queries import forecaster as forecast_queries
from dashboard.queries import record as queries
from dashboard.services import FORECASTER, PartRefused, PartUnavailable, ask, scaling_in_force
from dashboard.session import person
from dashboard.tables.scaling import (
    decision_table,
    decision_text,
    outcome_table,
    plan_table,
    planned,
    planned_until,
    verdict_table,
)
from dashboard.timerange import step_for
from dashboard.words import NONE, clock_time, rps
from forecaster.store import StoredDecision

TABLE_HEIGHT, ROWS_IN_SIGHT = 420, 8
LONGEST_SIMULATED = timedelta(days=31)
SIMULATED_POINTS = 500
AWAY = "The forecaster does not answer"


def draw(view: View) -> None:
    """Draw floor and replicas over time, then why, the decisions, the plan and the proofs."""
    name = view.service.name
    if view.service.scaling is None:
        st.info(f"{name} is not scaled by Tidegauge: tidegauge.yaml has no scaling block for it.")
        return
    states = forecast_queries.replica_states(name, view.since, view.now, view.step)
    newest = next(iter(forecast_queries.decisions(name, view.since, view.now, limit=1)), None)
    _draw_numbers(view, states, newest)
    if states.empty:
        nothing("state of the autoscaler")
    else:
        _draw_replicas(view, states, newest, view.service.scaling.lead)
    _draw_why(newest)
    heading("Decisions")
    _draw_decisions(view)
    beneath()
    left, right = st.columns(2, gap="large")
    with left:
        heading("Plan for the next day")
        if newest is not None and newest.decision.plan:
            st.table(plan_table(newest, zone()), hide_index=True, border="horizontal")
        else:
            nothing("plan")
    with right:
        heading("With us, without us")
        _draw_outcome(view, states)
        heading("Policy backtest")
        _draw_proof(view)


def _draw_numbers(view: View, states: pd.DataFrame, newest: StoredDecision | None) -> None:
    last = states.iloc[-1] if len(states) else None
    capacity = None if last is None or pd.isna(last["capacity_rps"]) else float(last["capacity_rps"])
    speed = clock().speed_now()
    real = "" if capacity is None or speed == 1 else f"{rps(capacity * speed)} in real time"
    cells = st.columns(5)
    told = _in_force(view.service.name) if view.live else None
    decided = NONE if newest is None else newest.decision.mode
    mode, known = (decided, "As of the newest decision.") if told is None else (str(told["mode"]), "In force now.")
    paused = "paused" if told and told.get("paused") else None
    cells[0].metric("Mode", mode, delta=paused, delta_color="off", delta_arrow="off", help=known)
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
    forecast = forecast_queries.latest_forecast(view.service.name, view.minute)
    step = max(view.step, forecast.step) if forecast is not None else view.step
    demand = queries.demand(view.service.name, view.since, view.until, step)
    end = planned_until(forecast, now=view.now, until=look_ahead(view), lead=lead)
    plan = planned(newest, now=view.now, until=end) if newest is not None else pd.DataFrame()
    needed = charts.needed_replicas(states, demand, step=step)
    marks = queries.marks(view)
    draw_figure(charts.replica_chart(states, needed, plan, window=window_of(view), marks=marks), key="scale")
    st.caption(f"Replicas; demand over what one of them carries is what was needed.{say_marks(marks)}")


def _draw_why(newest: StoredDecision | None) -> None:
    if newest is not None:
        st.markdown(decision_text(newest, zone(), head=f"Why the floor is {newest.decision.floor_after}"))


def _draw_decisions(view: View) -> None:
    changes_only = st.toggle("Changes only", value=True, key="changes")
    found = forecast_queries.decisions(view.service.name, view.since, view.now, changes_only=changes_only)
    if not found:
        nothing("change of the floor" if changes_only else "decision")
        return
    with st.container(key="decisions", height=TABLE_HEIGHT if len(found) > ROWS_IN_SIGHT else "content", border=False):
        st.table(decision_table(found, zone()), hide_index=True, border="horizontal")
    if len(found) == forecast_queries.MOST_DECISIONS:
        st.caption(f"The newest {forecast_queries.MOST_DECISIONS} of this time range.")


def _draw_outcome(view: View, states: pd.DataFrame) -> None:
    scaling, last = view.service.scaling, states.iloc[-1] if len(states) else None
    if scaling is None or last is None or pd.isna(last["capacity_rps"]) or view.until - view.since > LONGEST_SIMULATED:
        st.info("Nothing to compare: it takes replicas, a capacity, and a range of a month at most.")
        return
    step = max(view.step, step_for(view.until - view.since, SIMULATED_POINTS))
    capacity = float(last["capacity_rps"])
    alone = forecast_queries.without_us(view.service.name, scaling, capacity, view.since, view.until, step)
    demand = queries.demand(view.service.name, view.since, view.until, step)
    table = outcome_table(
        charts.needed_replicas(states, demand, step=step), states, alone, step=step, cost=view.service.cost
    )
    if table.empty:
        nothing("demand to compare")
        return
    draw_table(table, key="outcome")
    st.caption(
        "With us: as it was. Without us: the same demand, simulated with the autoscaler alone on the operator's floor."
    )


def _draw_proof(view: View) -> None:
    verdict = forecast_queries.latest_backtest(view.service.name)
    if verdict is None:
        st.info("Never judged: `tidegauge backtest policy` does it. Mode act is refused until it has passed.")
        return
    say = st.success if verdict.passed else st.warning
    say(f"{'Passed' if verdict.passed else 'Not passed'}: {verdict.report.get('reason', 'no reason stored')}")
    table = verdict_table(verdict.report, view.service.cost)
    if len(table):
        draw_table(table, key="verdict")
    st.caption(
        f"Judged {clock_time(verdict.run_at, zone())} on the demand from {clock_time(verdict.window_from, zone())} to"
        f" {clock_time(verdict.window_to, zone())}, by the decisions that run live."
    )


def act(view: View) -> None:
    """Draw what explains one decision, and the buttons of operators: mode, decide now, pause, resume, release."""
    if view.service.scaling is None:
        return
    _draw_one(view)
    heading("Change how it scales")
    told = _in_force(view.service.name)
    if told is None:
        st.warning(f"{AWAY}: which mode is in force is not known.")
    else:
        st.markdown(in_force_text(told, zone()))
    if for_operators("change how it scales"):
        _draw_orders(view.service.name, view.service.scaling.mode, told)


def _draw_orders(service: str, configured: str, told: dict[str, Any] | None) -> None:
    now = configured if told is None else str(told["mode"])
    # The key holds what is in force: when that changes, whoever changed it, the control begins anew with it.
    mode = st.segmented_control(
        "Mode", (*MODES, CONFIGURED), default=now, key=f"mode-{now}",
        format_func=lambda one: f"as configured ({configured})" if one == CONFIGURED else one,
        disabled=told is None,
    ) or now  # fmt: skip
    for column, (verb, label) in zip(st.columns(len(LABELS)), LABELS.items(), strict=True):
        with column:
            _draw_order(service, verb, label, mode, away=told is None)
    if told is None:
        st.caption(f"{AWAY}, so nothing can be changed. These buttons come back with it.")
        return
    st.caption("Each is sent to the forecaster, which decides, and keeps who asked for it and why.")


def _draw_order(service: str, verb: Verb, label: str, mode: str, *, away: bool) -> None:
    def run(said: Confirmation) -> str:
        path, body = order(verb, service, who=person().name, why=said.why, mode=mode, forced=said.forced)
        ask(FORECASTER, "POST", path, body)
        return f"{label}: done for {service}{', forced' if said.forced else ''}. Why: {said.why}"

    confirmed(
        label, key=f"act-{verb}", says=f"{service}: {says(verb, mode)}", run=run, force=force_says(verb, mode),
        disabled=AWAY if away else "",
    )  # fmt: skip


def _in_force(service: str) -> dict[str, Any] | None:
    try:
        return scaling_in_force(service)
    except (PartUnavailable, PartRefused):
        return None


def _draw_one(view: View) -> None:
    found = forecast_queries.decisions(view.service.name, view.since, view.now, changes_only=True)
    if not found:
        return
    heading("Why did it scale at …")
    stored = st.selectbox(
        "A change of the floor", found, key="explained", label_visibility="collapsed",
        format_func=lambda one: (
            f"{clock_time(one.decision.at, zone())}: {one.decision.floor_before} → {one.decision.floor_after}"
        ),
    )  # fmt: skip
    if stored is not None:
        st.markdown(
            decision_text(stored, zone(), head=f"{stored.decision.floor_before} → {stored.decision.floor_after}")
        )


draw_page("Scaling", draw, act=act)
