"""What does it carry: start a load test, watch it, stop it; the runs and the schedules there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import streamlit as st

from collector.record import store as record
from dashboard.context import View, client
from dashboard.load_desk import DeskRefused, DeskUnavailable, ask, desk_url, run_table
from dashboard.parts import draw_page

MOST_RUNS = 30


def draw(view: View) -> None:
    """Draw the run under way or the form that starts one, then the runs of the record, then the schedules."""
    try:
        runs = ask("GET", "/v1/runs")["runs"]
        current = next((run for run in runs if run["state"] in ("starting", "running", "stopping")), None)
        if current is None:
            _draw_start()
        else:
            _draw_current(current)
        _draw_schedules()
    except DeskUnavailable as error:
        runs = []
        st.warning(f"The load generator does not answer at {desk_url()}: nothing can be started or stopped.")
        st.caption(str(error))
    _draw_runs(view, runs)


def _draw_start() -> None:
    st.subheader("Start a run", anchor=False)
    names = ask("GET", "/v1/scenarios")["scenarios"]
    left, right, button = st.columns([3, 3, 1], vertical_alignment="bottom")
    scenario = left.selectbox("Scenario", names, key="load-scenario")
    target = right.text_input("Target", placeholder="the scenario's own", key="load-target")
    if button.button("Start", type="primary", key="load-start"):
        order = {"scenario": scenario, **({"target": target} if target else {})}
        try:
            ask("POST", "/v1/runs", order)
        except DeskRefused as error:
            st.error(str(error))
        else:
            st.rerun()


def _draw_current(run: dict[str, Any]) -> None:
    st.subheader(f"{run['scenario']} on {run['target']}", anchor=False)
    now = run["progress"]
    if not now:
        st.info("The generating processes are being started.")
    else:
        done = min(1.0, now["seconds"] / now["total_seconds"])
        st.progress(done, text=f"{now['seconds']:.0f} of {now['total_seconds']:.0f} s")
        cells = [
            ("Rate", "no data" if now["rps"] is None else f"{now['rps']:.1f}/s"), ("Users", f"{now['users']}"),
            ("p95", _ms(now["response_ms"]["p95"])), ("Failed", f"{now['failed']:,}"),
            ("Unsent", f"{now['unsent']:,}"), ("Send lag p99", _ms(now["send_lag_ms"]["p99"])),
        ]  # fmt: skip
        for column, (name, value) in zip(st.columns(len(cells)), cells, strict=True):
            column.metric(name, value)
    if st.button("Stop", key="load-stop", disabled=run["state"] == "stopping"):
        ask("POST", f"/v1/runs/{run['run_id']}/stop")
        st.rerun()


def _draw_runs(view: View, own: list[dict[str, Any]]) -> None:
    st.subheader("Runs", anchor=False)
    stored = [
        {**asdict(run), "started_at": run.started_at.isoformat()}
        for run in record.read_load_runs(client(), view.service.name, limit=MOST_RUNS)
    ]
    known = {run["run_id"] for run in stored}
    runs = [run for run in own if run["run_id"] not in known and run["service"] == view.service.name] + stored
    if runs:
        st.dataframe(run_table(runs), hide_index=True, width="stretch", key="load-runs")
        st.caption("Response from the intended start. A verdict of invalid means the generator was not up to it.")
    else:
        st.info(f"No load test of {view.service.name} has been run yet.")


def _draw_schedules() -> None:
    schedules = ask("GET", "/v1/schedules")["schedules"]
    if schedules:
        st.subheader("Schedules", anchor=False)
        for one in schedules:
            when = f"nightly at {one['nightly']} UTC" if one["nightly"] else f"on builds of {one['on_new_build_of']}"
            st.markdown(f"**{one['name']}**: {one['scenario']}, {when}")


def _ms(value: float | None) -> str:
    return "no data" if value is None else f"{value:.0f} ms"


draw_page("Load tests", draw)
