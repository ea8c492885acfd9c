"""Runs as the record has them, over HTTP: each as its own summary says, with what the record adds."""

from __future__ import annotations

from typing import Any

import httpx

from loadgen.runs.tokens import collector_headers

TIMEOUT_SECONDS = 10.0


def read_stored_runs(collector_url: str, service: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest runs, `GET /v1/load-runs`. Raises ValueError with what came instead."""
    query = {"limit": str(limit), **({"service": service} if service else {})}
    answer = _get(f"{collector_url}/v1/load-runs", query)
    return [_as_run(one) for one in answer.json()["runs"]]


def read_stored_run(collector_url: str, run_id: str) -> dict[str, Any] | None:
    """Return one run, None when the record has none of that name. Raises ValueError with what came instead."""
    answer = _get(f"{collector_url}/v1/load-runs/{run_id}", {})
    return None if answer.status_code == httpx.codes.NOT_FOUND else _as_run(answer.json())


def _get(url: str, query: dict[str, str]) -> httpx.Response:
    try:
        answer = httpx.get(url, params=query, headers=collector_headers("READ"), timeout=TIMEOUT_SECONDS)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ValueError(f"expected load runs from {url}, got {error!r}") from error
    return answer


def _as_run(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored["summary"], **{key: value for key, value in stored.items() if key != "summary"}}
