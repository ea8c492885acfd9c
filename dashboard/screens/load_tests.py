"""What does it carry: start a load test, watch it, stop it; every run in full, two of them compared."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from collector.record.store import LoadRun
from dashboard.charts import load as charts_load
from dashboard.confirm import Confirmation, confirmed, for_operators
from dashboard.context import View, zone
from dashboard.parts import beneath, draw_figure, draw_page, draw_table, heading
from dashboard.queries import record as queries
from dashboard.services import LOADGEN, PartRefused, PartUnavailable, ask
from dashboard.tables.load import compared_table, route_table, run_table, threshold_table, verdict_of
from dashboard.timerange import MOST_POINTS
from dashboard.words import NONE, clock_time, milliseconds, percent, roughly, rps

MOST_RUNS = 30
SHADES = {"pass": "green", "fail": "red", "invalid": "orange"}  # beside a shape: colour alone tells too few


def draw(view: View) -> None:
    """Draw the run under way, then the runs of the record, then the schedules."""
    try:
        runs = ask(LOADGEN, "GET", "/v1/runs")["runs"]
        current = next((run for run in runs if run["state"] in ("starting", "running", "stopping")), None)
        if current is not None:
            _draw_current(current)
        _draw_schedules()
    except (PartUnavailable, PartRefused) as error:
        runs = []
        st.warning(f"The load generator does not answer at {LOADGEN.url}: nothing can be started or stopped.")
        st.caption(str(error))
    _draw_runs(view, runs)


def _draw_current(run: dict[str, Any]) -> None:
    heading(f"{run['scenario']} on {run['target']}")
    now = run["progress"]
    if not now:
        st.info("The generating processes are being started.")
        return
    done = min(1.0, now["seconds"] / now["total_seconds"])
    st.progress(done, text=f"{now['seconds']:.0f} of {now['total_seconds']:.0f} s, {run['state']}")
    cells = [
        ("Requests/s", NONE if now["rps"] is None else rps(now["rps"])), ("Users", f"{now['users']}"),
        ("p95", _ms(now["response_ms"]["p95"])), ("Failed", f"{now['failed']:,}"),
        ("Unsent", f"{now['unsent']:,}"), ("Send lag p99", _ms(now["send_lag_ms"]["p99"])),
    ]  # fmt: skip
    for column, (name, value) in zip(st.columns(len(cells)), cells, strict=True):
        column.metric(name, value)


def _draw_runs(view: View, own: list[dict[str, Any]]) -> None:
    heading("Runs")
    stored = [{**asdict(run), "started_at": run.started_at.isoformat()} for run in queries.load_runs(view.service.name)]
    known = {run["run_id"] for run in stored}
    runs = [run for run in own if run["run_id"] not in known and run["service"] == view.service.name] + stored
    if runs:
        draw_table(run_table(runs[:MOST_RUNS], zone()), key="load-runs")
        st.caption("Response from the intended start. A verdict of invalid means the generator was not up to it.")
    else:
        st.info(f"No load test of {view.service.name} has been run yet.")


def _draw_schedules() -> None:
    schedules = ask(LOADGEN, "GET", "/v1/schedules")["schedules"]
    if schedules:
        heading("Schedules")
        for one in schedules:
            when = f"nightly at {one['nightly']} UTC" if one["nightly"] else f"on builds of {one['on_new_build_of']}"
            st.markdown(f"**{one['name']}**: {one['scenario']}, {when}")


def act(view: View) -> None:
    """Draw what starts and stops a run, then one run in full and two beside each other."""
    _draw_order()
    runs = queries.load_runs(view.service.name)
    if runs:
        heading("One run in full")
        run = st.selectbox("Run", runs, format_func=_named, key="run", label_visibility="collapsed")
        if run is not None:
            _draw_run(run)
    if len(runs) > 1:
        beneath()
        heading("Two runs compared")
        left, right = st.columns(2)
        before = left.selectbox("Before", runs, index=1, format_func=_named, key="run-before")
        after = right.selectbox("After", runs, index=0, format_func=_named, key="run-after")
        if before is not None and after is not None:
            _draw_compared(before, after)


def _draw_order() -> None:
    heading("Start or stop")
    if not for_operators("start and stop load tests"):
        return
    try:
        names = ask(LOADGEN, "GET", "/v1/scenarios")["scenarios"]
        runs = ask(LOADGEN, "GET", "/v1/runs")["runs"]
    except (PartUnavailable, PartRefused):
        st.caption("The load generator is away.")
        return
    current = next((run for run in runs if run["state"] in ("starting", "running", "stopping")), None)
    left, middle, right, last = st.columns([3, 3, 1, 1], vertical_alignment="bottom")
    scenario = left.selectbox("Scenario", names, key="load-scenario")
    target = middle.text_input("Target", placeholder="the scenario's own", key="load-target")
    order = {"scenario": scenario, **({"target": target} if target else {})}

    def start(_: Confirmation) -> str:
        return f"Started {ask(LOADGEN, 'POST', '/v1/runs', order)['run_id']}. It is shown above, live."

    def stop(_: Confirmation) -> str:
        ask(LOADGEN, "POST", f"/v1/runs/{(current or {}).get('run_id', '')}/stop")
        return "The run is being stopped."

    with right:
        says = f"**{scenario}** is sent to {target or 'its own target'}: real requests, within the generator's limits."
        off = "" if current is None else "A run is under way: one at a time."
        confirmed("Start", key="load-start", says=says, run=start, asks_why=False, disabled=off)
    with last:
        says = "The run ends, and what it measured is kept."
        off = "No run is under way." if current is None else ""
        off = "It is being stopped." if current is not None and current["state"] == "stopping" else off
        confirmed("Stop", key="load-stop", says=says, run=stop, asks_why=False, disabled=off)


def _draw_run(run: LoadRun) -> None:
    summary = run.summary
    verdict = summary.get("verdict") or {}
    reasons = "; ".join(str(reason) for reason in verdict.get("reasons") or [])
    shade = SHADES.get(str(verdict.get("status")), "gray")
    told = verdict_of({"summary": summary, "status": run.status})
    st.markdown(f"**:{shade}[{told}]**{f': {reasons}' if reasons else ''}")
    response, sent = summary.get("response_ms") or {}, summary.get("sent") or 0
    failed, users = summary.get("failed"), summary.get("users")
    cells = [
        ("Requests", f"{sent:,}" if sent else NONE),
        ("Requests/s", rps(summary.get("rps"))),
        ("p50", milliseconds(response.get("p50"))), ("p95", milliseconds(response.get("p95"))),
        ("p99", milliseconds(response.get("p99"))),
        ("Failed", percent(failed / sent) if sent and failed is not None else NONE),
        ("Unsent", NONE if summary.get("unsent") is None else f"{summary['unsent']:,}"),
    ]  # fmt: skip
    if users is not None:
        cells.append(("Users, at most", f"{users:,}"))
    for column, (name, value) in zip(st.columns(len(cells)), cells, strict=True):
        column.metric(name, value)
    steps = _steps(run)
    left, right = st.columns(2, gap="large")
    if steps.empty:
        st.info("The seconds of this run are not in the record (they are kept 95 days).")
    else:
        with left:
            draw_figure(charts_load.run_rate_chart(steps), key="run-rates")
            if (at_work := charts_load.run_users_chart(steps)) is not None:
                draw_figure(at_work, key="run-users")
        with right:
            draw_figure(charts_load.run_latency_chart(steps), key="run-latency")
        st.caption("Response times from the intended start: what waits for a slow answer is counted as slow, too.")
    one, other = st.columns(2, gap="large")
    for column, name, table in ((one, "thresholds", threshold_table(summary)), (other, "routes", route_table(summary))):
        with column:
            if table.empty:
                st.caption(f"The run tells of no {name}.")
            else:
                draw_table(table, key=f"run-{name}")
    lag = (summary.get("send_lag_ms") or {}).get("p99")
    st.caption(
        f"{run.run_id}, {clock_time(run.started_at, zone())}, {roughly(run.ended_at - run.started_at)} on {run.target}."
        f" Validity: the generator sent 99 % within {milliseconds(lag)} of when it meant to."
    )


def _draw_compared(before: LoadRun, after: LoadRun) -> None:
    if before.run_id == after.run_id:
        st.info("The same run twice: choose another one to compare it with.")
        return
    names = (f"before: {_named(before)}", f"after: {_named(after)}")
    left, right = st.columns(2, gap="large")
    with left:
        table = compared_table(before.summary, after.summary, ("before", "after"))
        draw_table(table, key="compared")
    steps = (_steps(before), _steps(after))
    with right:
        if steps[0].empty or steps[1].empty:
            st.info("The seconds of one of the runs are not in the record.")
        else:
            draw_figure(charts_load.compared_chart(*steps, names), key="compared-p95")
            st.caption("p95 of the response time, ms, from each run's begin.")


def _steps(run: LoadRun) -> pd.DataFrame:
    seconds = max(1.0, (run.ended_at - run.started_at).total_seconds())
    return queries.load_steps(run.run_id, timedelta(seconds=-(-seconds // MOST_POINTS)))


def _named(run: LoadRun) -> str:
    return f"{clock_time(run.started_at, zone())}, {run.scenario}"


def _ms(value: float | None) -> str:
    return "no data" if value is None else f"{value:.0f} ms"


draw_page("Load tests", draw, act=act, watches_record=False)
