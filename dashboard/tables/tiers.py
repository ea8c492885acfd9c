"""Caches, statements, partitions and queues as rows to be read, pure. What nobody counts has no row."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd

from dashboard.words import NONE, percent

# In the order in which a request passes them; what the last one answers was in no cache. Both vocabularies are in use.
LEVELS = ("edge", "l1", "local", "l2", "shared", "db", "miss")
SOURCES_OF_ALL = ("db", "miss")
LEVEL_NAMES = {
    "edge": "edge", "l1": "L1, in the process", "local": "L1, in the process", "l2": "L2, shared",
    "shared": "L2, shared", "db": "the database", "miss": "the database",
}  # fmt: skip


def cache_table(totals: pd.DataFrame) -> pd.DataFrame:
    """Return one row per level: requests that came to it, those it answered, its hit ratio. totals: by cache_level.

    Requests that no cache may answer (writes, `none`) count for no level.
    """
    kept = totals[totals["cache_level"].isin(LEVELS)]
    counts = dict(zip(kept["cache_level"].astype(str), kept["requests"].astype(int), strict=True))
    rows, left = [], sum(counts.values())
    for level in LEVELS:
        if level not in counts:
            continue
        answered = counts[level]
        last = level in SOURCES_OF_ALL
        rows.append(
            {
                "level": LEVEL_NAMES[level],
                "came to it": f"{left:,}",
                "answered": f"{answered:,}",
                "hit ratio": NONE if last or not left else percent(answered / left, 1),
                "of all": percent(answered / sum(counts.values()), 1),
            }
        )
        left -= answered
    return pd.DataFrame(rows)


def hit_frame(by_level: pd.DataFrame) -> pd.DataFrame:
    """Return `ds, what, value`: each cache's hit ratio in percent per step. by_level: of read_red by cache_level."""
    counts = by_level[by_level["cache_level"].isin(LEVELS)]
    if counts.empty:
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "what": [], "value": []})
    wide = counts.pivot_table(index="ds", columns="cache_level", values="requests", aggfunc="sum", fill_value=0)
    left, parts = wide.sum(axis=1), []
    for level in LEVELS:
        if level not in wide or level in SOURCES_OF_ALL:
            continue
        ratio = (wide[level] / left.where(left > 0) * 100).dropna()
        parts.append(pd.DataFrame({"ds": ratio.index, "what": LEVEL_NAMES[level], "value": ratio.to_numpy()}))
        left = left - wide[level]
    return pd.concat(parts, ignore_index=True) if parts else hit_frame(counts.iloc[:0])


def ratio_frame(gained: pd.DataFrame, hits: str, misses: str, label: str) -> pd.DataFrame:
    """Return `ds, what, value`: hits / (hits + misses) in percent by a label, of counters' increases."""
    if gained.empty:
        return pd.DataFrame({"ds": gained["ds"], "what": [], "value": []})
    wide = gained.pivot_table(index=["ds", label], columns="name", values="gained", aggfunc="sum").fillna(0)
    for name in (hits, misses):
        if name not in wide:
            wide[name] = 0.0
    asked = wide[hits] + wide[misses]
    ratio = (wide[hits] / asked.where(asked > 0) * 100).dropna().reset_index(name="value")
    return ratio.rename(columns={label: "what"})[["ds", "what", "value"]]


def delay_frame(gained: pd.DataFrame, prefix: str, label: str) -> pd.DataFrame:
    """Return `ds, what, value`: a Prometheus histogram's mean in ms by a label, of what `_sum` and `_count` gained."""
    names = (f"{prefix}_sum", f"{prefix}_count")
    if gained.empty or not set(names) <= set(gained["name"]):
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "what": [], "value": []})
    wide = gained.pivot_table(index=["ds", label], columns="name", values="gained", aggfunc="sum")
    mean = (wide[names[0]] / wide[names[1]].where(wide[names[1]] > 0) * 1000).dropna().reset_index(name="value")
    named = mean.assign(what=mean[label].map(lambda name: LEVEL_NAMES.get(name, name)))
    return named[["ds", "what", "value"]]


def statement_table(gained: pd.DataFrame) -> pd.DataFrame:
    """Return one row per statement and server, the most time first.

    gained: increases of `.._statement_calls_total`, `.._seconds_total` and `.._rows_total`.
    """
    if gained.empty:
        return pd.DataFrame()
    place = next((label for label in ("server", "target") if label in gained), None)
    by = ["statement", *([place] if place else [])]
    kind = gained["name"].str.extract(r"statement_(calls|seconds|rows)_total$")[0]
    wide = gained.assign(kind=kind).pivot_table(index=by, columns="kind", values="gained", aggfunc="sum").reset_index()
    for name in ("calls", "seconds", "rows"):
        if name not in wide:
            wide[name] = float("nan")
    wide = wide[wide["calls"] > 0].sort_values("seconds", ascending=False, ignore_index=True)
    return pd.DataFrame(
        {
            "statement": wide["statement"],
            "server": wide[place] if place else NONE,
            "calls": wide["calls"].round().astype("int64"),
            "time, s": wide["seconds"],
            "mean, ms": wide["seconds"] / wide["calls"] * 1000,
            "rows per call": wide["rows"] / wide["calls"],
            "share of time": wide["seconds"] / wide["seconds"].sum() * 100,
        }
    )


def partition_table(latest: pd.DataFrame) -> pd.DataFrame:
    """Return one row per partitioned table: how many partitions, about how many rows, and who has it.

    Servers that tell the same of a table (a primary and its replicas) share its row.
    """
    if latest.empty:
        return pd.DataFrame()
    wide = latest.pivot_table(index=["server", "table"], columns="name", values="value", aggfunc="last").reset_index()
    for name in ("pg_partitions", "pg_partitions_rows_estimate"):
        if name not in wide:
            wide[name] = float("nan")
    figures = {"pg_partitions": "partitions", "pg_partitions_rows_estimate": "rows, about"}
    same = wide.groupby(["table", *figures], dropna=False, as_index=False).agg(servers=("server", ", ".join))
    return same.rename(columns=figures).sort_values(["table", "servers"], ignore_index=True)


def newest_rows(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the newest row of each group."""
    if frame.empty:
        return frame
    return frame.sort_values("ds").groupby(by, dropna=False).tail(1).reset_index(drop=True)


def told_every(frame: pd.DataFrame, step: timedelta) -> timedelta:
    """Return how far apart the rows of a series usually are, a step at least: what is further apart is a gap."""
    seconds = frame.groupby("what")["ds"].diff().dt.total_seconds().median() if len(frame) else float("nan")
    return step if pd.isna(seconds) else max(step, timedelta(seconds=float(seconds)))


def silent_sources(up: pd.DataFrame) -> list[str]:
    """Return which sources of samples did not answer when they were last asked, as `sampler at source`."""
    if up.empty:
        return []
    last = newest_rows(up, ["sampler", "source"])
    return sorted(f"{row.sampler} at {row.source}" for row in last[last["value"] < 1].itertuples())
