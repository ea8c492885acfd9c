"""Caches, databases and queues: who answers, how fresh, how busy, and which query is slow."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pandas as pd
import streamlit as st

from dashboard.charts import traffic as charts_traffic
from dashboard.context import View, zone
from dashboard.parts import beneath, draw_figure, draw_page, draw_table, heading, window_of
from dashboard.queries import ahead
from dashboard.queries import record as queries
from dashboard.queries import tiers as tier_queries
from dashboard.side_by_side import ask_ahead
from dashboard.tables.tiers import (
    cache_table,
    delay_frame,
    hit_frame,
    newest_rows,
    partition_table,
    ratio_frame,
    silent_sources,
    statement_table,
    told_every,
)
from dashboard.words import clock_time, window

STATEMENTS = tuple(f"pg_statement_{name}_total" for name in ("calls", "seconds", "rows"))
STATEMENTS_OF_APP = tuple(f"app_statement_{name}_total" for name in ("calls", "seconds", "rows"))
LAGS = ("pg_replication_lag_seconds", "pg_replay_lag_seconds", "app_database_lag_seconds")
DELAY = "reference_app_invalidation_seconds"
DELAYS = (f"{DELAY}_sum", f"{DELAY}_count")
REDIS = ("redis_keyspace_hits_total", "redis_keyspace_misses_total")
PARTITIONS = ("pg_partitions", "pg_partitions_rows_estimate")
JOBS = tuple(f"reference_app_jobs_{name}_total" for name in ("done", "retried", "failed"))


def draw(view: View) -> None:
    """Draw the sources that are silent, then caches, statements, databases, partitions and queues."""
    ask_ahead(*ahead.data_tier(view), *(partial(_gained, view, *names) for names in (REDIS, DELAYS, STATEMENTS)))
    _say_silent(view)
    _draw_caches(view)
    _draw_statements(view)
    beneath()
    left, right = st.columns(2, gap="large")
    with left:
        _draw_lag(view)
    with right:
        _draw_pools(view)
    left, right = st.columns(2, gap="large")
    with left:
        _draw_partitions(view)
    with right:
        _draw_queues(view)


def _gauges(view: View, *names: str) -> pd.DataFrame:
    return tier_queries.gauges(view.service.name, names, view.since, view.until + view.step, view.step)


def _gained(view: View, *names: str) -> pd.DataFrame:
    return tier_queries.increases(view.service.name, names, view.since, view.until, view.step)


def _say_silent(view: View) -> None:
    up = _gauges(view, "sampler_up")
    if up.empty:
        st.info("No sampler told anything in this time range: databases, caches and queues are not known.")
        return
    for source in silent_sources(up)[:10]:
        st.warning(f"{source} does not answer: what is shown of it is what it told before.")
    newest = up["ds"].max()
    if view.live and view.now - newest > max(3 * view.step, timedelta(minutes=10)):
        st.warning(f"The samplers are silent: the newest sample is of {clock_time(newest, zone())}.")


def _draw_caches(view: View) -> None:
    heading("Caches")
    red = queries.red(view.service.name, view.since, view.until, view.step, "cache_level", view.region)
    hits = hit_frame(red) if len(red) else pd.DataFrame()
    redis = ratio_frame(_gained(view, *REDIS), *REDIS, "server")
    left, right = st.columns(2, gap="large")
    with left:
        if len(hits):
            figure = charts_traffic.lines_chart(hits, title="hit ratio, %", step=view.step, window=window_of(view))
            draw_figure(figure, key="hits")
            totals = queries.red_totals(view.service.name, view.since, view.until, "cache_level", view.region)
            draw_table(cache_table(totals), key="levels")
            st.caption("Of the requests that came to a level, those it answered. Writes pass all caches by.")
        else:
            st.info("No request of this time range says which cache answered it.")
    with right:
        delay = delay_frame(_gained(view, *DELAYS), DELAY, "tier")
        if len(delay):
            figure = charts_traffic.lines_chart(
                delay, title="invalidation delay, ms", step=told_every(delay, view.step), window=window_of(view)
            )  # fmt: skip
            draw_figure(figure, key="delay")
            st.caption("From a change's commit until a cache forgot what it made stale, the mean per step.")
        else:
            st.info("No sampler told of the delay of invalidation in this time range.")
        if len(redis):
            figure = charts_traffic.lines_chart(
                redis, title="found in Redis, %", step=told_every(redis, view.step), window=window_of(view), height=180
            )  # fmt: skip
            draw_figure(figure, key="redis")


def _draw_statements(view: View) -> None:
    heading("Slowest queries")
    table = statement_table(_gained(view, *STATEMENTS))
    told = "as PostgreSQL counts them (pg_stat_statements)"
    if table.empty:
        table = statement_table(_gained(view, *STATEMENTS_OF_APP))
        told = "as the service's own driver counts them"
    if table.empty:
        st.info("No sampler told of any statement in this time range.")
        return
    first = table.iloc[0]
    st.markdown(
        f"Most time went into one statement: **{first['share of time']:.0f} %**, {first['mean, ms']:,.3g} ms each time."
    )
    config = {
        "statement": st.column_config.TextColumn(width="large"),
        "share of time": st.column_config.ProgressColumn(format="%.1f %%", min_value=0, max_value=100),
        "calls": st.column_config.NumberColumn(format="localized"),
        **{name: st.column_config.NumberColumn(format="%.1f") for name in ("time, s", "mean, ms", "rows per call")},
    }
    draw_table(table, key="statements", column_config=config)
    st.caption(f"Over the time range, {told}; the most time first.")


def _draw_lag(view: View) -> None:
    heading("Replica lag")
    lag = _gauges(view, *LAGS)
    if lag.empty:
        st.info("No sampler told of a replica's lag in this time range.")
        return
    who = lag.reindex(columns=["target", "standby", "server"]).bfill(axis=1).iloc[:, 0].fillna("replica")
    frame = pd.DataFrame({"ds": lag["ds"], "what": who, "value": lag["most"]})
    frame = frame.groupby(["ds", "what"])["value"].max().reset_index()
    draw_figure(
        charts_traffic.lines_chart(
            frame, title="behind the primary, s", step=told_every(frame, view.step), window=window_of(view)
        ),
        key="lag",
    )
    st.caption(f"The most within each {window(view.step)}, as the primary, the standby or the service sees it.")


def _draw_pools(view: View) -> None:
    heading("Connections")
    used = _gauges(view, "pg_connections")
    if used.empty:
        st.info("No sampler told of connections in this time range.")
        return
    busy = used.assign(what=used["server"] + ", " + used["state"])
    frame = busy.groupby(["ds", "what"])["most"].max().reset_index(name="value")
    draw_figure(
        charts_traffic.lines_chart(
            frame, title="connections", step=told_every(frame, view.step), window=window_of(view)
        ),
        key="pools",
    )
    most = newest_rows(_gauges(view, "pg_connections_max"), ["server"])
    total = newest_rows(used, ["server", "state"]).groupby("server")["value"].sum()
    parts = [f"{row.server}: {total.get(row.server, 0):.0f} of {row.value:.0f} in use" for row in most.itertuples()]
    waiting = newest_rows(_gauges(view, "app_pool_waiting"), ["instance", "target"])
    if len(waiting):
        parts.append(f"{waiting['value'].sum():.0f} requests wait for one of the pools")
    st.caption("; ".join(parts) + "." if parts else "By server and state.")


def _draw_partitions(view: View) -> None:
    heading("Partitions")
    told = _gauges(view, *PARTITIONS)
    missing = newest_rows(_gauges(view, "app_partitions_missing"), ["instance"])
    if len(missing) and missing["value"].max() > 0:
        st.warning(f"{missing['value'].max():.0f} partitions that will be needed are not there yet.")
    table = partition_table(newest_rows(told, ["name", "server", "table"])) if len(told) else pd.DataFrame()
    if table.empty:
        st.info("No sampler told of a partitioned table in this time range.")
        return
    number = st.column_config.NumberColumn
    config = {name: number(format="localized") for name in ("partitions", "rows, about")}
    draw_table(table, key="partitions", column_config=config)


def _draw_queues(view: View) -> None:
    heading("Queues")
    depth = _gauges(view, "reference_app_jobs")
    if depth.empty:
        st.info("No sampler told of a queue in this time range.")
        return
    waits = depth[depth["state"].isin(["waiting", "delayed", "prioritized", "active"])]
    frame = waits.groupby(["ds", "queue"])["most"].sum().reset_index(name="value").rename(columns={"queue": "what"})
    figure = charts_traffic.lines_chart(
        frame, title="jobs that wait or run", step=told_every(frame, view.step),
        window=window_of(view),
    )  # fmt: skip
    draw_figure(figure, key="queues")
    gained = _gained(view, *JOBS)
    if len(gained):
        kind = gained["name"].str.extract(r"jobs_(done|retried|failed)_total$")[0]
        wide = gained.assign(kind=kind).pivot_table(index="queue", columns="kind", values="gained", aggfunc="sum")
        counts = {str(name): st.column_config.NumberColumn(format="localized") for name in wide}
        draw_table(wide.fillna(0).round().astype("int64").reset_index(), key="jobs", column_config=counts)
        st.caption("Jobs done, attempts tried again and jobs given up, over the time range.")


draw_page("Data tier", draw)
