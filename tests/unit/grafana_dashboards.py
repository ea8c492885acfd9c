"""The Grafana dashboards as their tests read them: panels, queries, and macros expanded as the plugin expands them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}


@dataclass(frozen=True)
class Query:
    """One target of a panel (or of an annotation or a variable)."""

    dashboard: str
    panel: str
    text: str
    kind: str  # sql | promql
    series: bool  # a time series: its first column is `time`
    legend: str = ""


def queries() -> Iterator[Query]:
    for name, board in DASHBOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if "rawSql" in target:
                    yield Query(name, panel["title"], target["rawSql"], "sql", target["queryType"] == "timeseries")
                else:
                    yield Query(name, panel["title"], target["expr"], "promql", True, target["legendFormat"])
        for annotation in board["annotations"]["list"]:
            yield Query(name, annotation["name"], annotation["target"]["rawSql"], "sql", True)
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield Query(name, f"variable {variable['name']}", variable["query"], "sql", False)


def expanded(sql: str, *, service: str, since: datetime, until: datetime, interval_seconds: int = 60) -> str:
    """The SQL as the plugin sends it (its README's table of macros); the variable as Grafana quotes it."""
    first, last = int(since.timestamp()), int(until.timestamp())
    macros: dict[str, Any] = {
        r"\$__timeFilter\(([^()]+)\)": rf"\1 >= toDateTime({first}) AND \1 <= toDateTime({last})",
        r"\$__timeInterval\(([^()]+)\)": rf"toStartOfInterval(toDateTime(\1), INTERVAL {interval_seconds} second)",
        r"\$__interval_s\b": str(interval_seconds),
        r"\$__fromTime\b": f"toDateTime({first})",
        r"\$__toTime\b": f"toDateTime({last})",
        r"\$\{service:singlequote\}": f"'{service}'",
    }
    for pattern, replacement in macros.items():
        sql = re.sub(pattern, replacement, sql)
    assert "$" not in sql, sql
    return sql
