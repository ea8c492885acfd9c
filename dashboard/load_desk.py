"""What the dashboard asks of the load generator's API, and its runs as a table. The view starts and stops, no more."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pandas as pd

TIMEOUT_SECONDS = 3.0
DEFAULT_URL = "http://127.0.0.1:9402"


class DeskUnavailable(Exception):  # noqa: N818 - a state of the world, not a mistake
    """The load generator does not answer."""


class DeskRefused(Exception):  # noqa: N818 - as above
    """The load generator will not do it: says why."""


def desk_url() -> str:
    """Return where the load generator listens."""
    return (os.environ.get("TIDEGAUGE_LOADGEN_URL") or DEFAULT_URL).rstrip("/")


def ask(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the API's answer. Raises DeskUnavailable, DeskRefused."""
    try:
        answer = httpx.request(
            method, desk_url() + path, json=None if method == "GET" else dict(body or {}), timeout=TIMEOUT_SECONDS
        )
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise DeskUnavailable(f"{desk_url()}: {error or type(error).__name__}") from error
    if answer.is_error:
        raise DeskRefused(str(found.get("error", answer.text))[:300])
    return found


def run_table(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return load runs for reading: a row each, absent where nothing is known."""
    rows = [_row(run) for run in runs]
    return pd.DataFrame(rows, columns=["Started (UTC)", "Scenario", "Verdict", "Requests", "Rate/s", "p95 ms", "Run"])


def _row(run: Mapping[str, Any]) -> list[Any]:
    summary = run.get("summary") or {}
    verdict = (summary.get("verdict") or {}).get("status") or run.get("error") or run.get("state") or run.get("status")
    p95 = (summary.get("response_ms") or {}).get("p95")
    return [
        pd.Timestamp(run["started_at"]).tz_convert("UTC").strftime("%d %b %H:%M"), run["scenario"], verdict,
        summary.get("sent"), summary.get("rps"), p95, run["run_id"],
    ]  # fmt: skip
