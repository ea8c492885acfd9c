"""Why is the floor what it is: the plan for the next day, every decision with its reasons, the policy's proof."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import charts, queries
from dashboard.context import View
from dashboard.parts import clock_time, draw_page, nothing
from forecaster.store import StoredDecision


def draw(view: View) -> None:
    """Draw floor and replicas over time, then the plan, the decisions and the backtest."""
    name = view.service.name
    states = queries.replica_states(name, view.since, view.until)
    demand = queries.demand(name, view.since, view.until, view.step)
    if states.empty:
        nothing("state of the autoscaler")
    else:
        st.altair_chart(charts.replica_chart(states, demand), width="stretch")
    found = queries.decisions(name, view.since, view.until)
    left, right = st.columns([2, 1])
    with left:
        st.subheader("Decisions")
        if found:
            st.dataframe(decision_table(found), hide_index=True, width="stretch")
        else:
            nothing("decision")
    with right:
        st.subheader("Plan")
        if found and found[0].decision.plan:
            st.dataframe(plan_table(found[0]), hide_index=True, width="stretch")
        else:
            nothing("plan")
        _proof(name)


def decision_table(found: list[StoredDecision]) -> pd.DataFrame:
    """Return one row per decision, newest first."""
    return pd.DataFrame(
        [
            {
                "at (UTC)": clock_time(stored.decision.at),
                "outcome": stored.decision.outcome,
                "floor": f"{stored.decision.floor_before} → {stored.decision.floor_after}",
                "applied": stored.applied,
                "why": "; ".join(stored.decision.reasons) + (f" (failed: {stored.error})" if stored.error else ""),
                "mode": stored.decision.mode,
            }
            for stored in found
        ]
    )


def plan_table(stored: StoredDecision) -> pd.DataFrame:
    """Return the floors that the newest decision plans."""
    return pd.DataFrame(
        [
            {"from (UTC)": clock_time(step.starts_at), "floor": step.floor, "why": step.reason}
            for step in stored.decision.plan
        ]
    )


def _proof(service: str) -> None:
    st.subheader("Policy backtest")
    verdict = queries.latest_backtest(service)
    if verdict is None:
        st.info("Never judged: `tidegauge backtest policy` does it. Mode act is refused until it has passed.")
        return
    say = st.success if verdict.passed else st.warning
    say(f"{'Passed' if verdict.passed else 'Not passed'}: {verdict.report.get('reason', 'no reason stored')}")


draw_page("Scaling", draw)
