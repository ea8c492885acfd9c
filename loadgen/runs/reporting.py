"""Tells the collector of the run, `POST /v1/load-runs`: whatever is on file and was not acknowledged, oldest first.

What is sent as one batch is noted before it is sent, and its id is made from it: after a crash the same batch goes out
under the same id, and the collector stores it once. A collector that is away is tried again; nothing waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loadgen.runs.files import RunFiles, write_json
from loadgen.runs.request_log import RequestLog
from loadgen.runs.tokens import collector_headers

log = logging.getLogger(__name__)

SECONDS_PER_BATCH = 120
PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 30.0
TIMEOUT_SECONDS = 5.0
COUNTS = ("intended", "sent", "done", "failed", "unsent", "send_lag_us_max", "response_histogram", "service_histogram")


def load_run_batch(
    run: Mapping[str, Any], seconds: list[dict[str, Any]], *, run_id: str, batch: tuple[int, int]
) -> dict[str, Any]:
    """Return the body of one report. run: load.json. batch: where in seconds.jsonl it begins and ends, in bytes."""
    columns = {"second": [second["second"] for second in seconds]}
    columns |= {name: [second[name] for second in seconds] for name in COUNTS}
    columns["users"] = [second.get("users") for second in seconds]
    return {
        "batch_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"tidegauge-load-run:{run_id}:{batch[0]}:{batch[1]}")),
        **{name: run[name] for name in ("run_id", "service", "scenario", "target", "started_at", "ended_at", "status")},
        "summary": dict(run),
        "seconds": columns,
    }


async def post_run(client: httpx.AsyncClient, collector_url: str, body: Mapping[str, Any]) -> None:
    """Send one report. Raises httpx.HTTPError when the collector did not acknowledge it."""
    headers = collector_headers("INGEST")
    response = await client.post(f"{collector_url}/v1/load-runs", json=body, headers=headers, timeout=TIMEOUT_SECONDS)
    response.raise_for_status()


@dataclass(slots=True)
class Reporter:
    """Reports one run. `read_run` returns what load.json says now."""

    files: RunFiles
    run_id: str
    collector_url: str
    client: httpx.AsyncClient
    read_run: Callable[[], Mapping[str, Any]]
    requests: RequestLog | None = None
    _last_status: str | None = None

    async def report_for_ever(self) -> None:
        """Report every two seconds; wait longer while the collector is away."""
        pause = PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self.report_once()
            except httpx.HTTPError as error:
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                log.warning(
                    "the collector took no report, next try in %.0f s: %s", pause, error or type(error).__name__
                )
            else:
                pause = PAUSE_SECONDS

    async def report_last(self) -> None:
        """Report what is left, once and briefly: the run is over. What is not taken stays on file."""
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECONDS / 2):
                while await self.report_once():
                    pass

    async def report_once(self) -> bool:
        """Send one batch of seconds and one of requests if there are any; return whether there were.

        Raises httpx.HTTPError when the collector did not acknowledge them.
        """
        told = await self._report_seconds()
        return await self._report_requests() or told

    async def _report_requests(self) -> bool:
        found = None if self.requests is None else self.requests.next_batch(self.run_id)
        if self.requests is None or found is None:
            return False
        columns, batch_id, ends = found
        body = load_run_batch(self.read_run(), [], run_id=self.run_id, batch=(0, 0))
        await self._post({**body, "requests": columns, "batch_id": batch_id})
        self.requests.acknowledge(ends)
        return True

    async def _post(self, body: Mapping[str, Any]) -> None:
        await post_run(self.client, self.collector_url, body)

    async def _report_seconds(self) -> bool:
        begins, begun_end = self._read_state()
        seconds, ends = self.files.read_from(begins, most_lines=SECONDS_PER_BATCH, end=begun_end)
        run = self.read_run()
        if not seconds and run["status"] == self._last_status:
            return False
        if seconds:
            self._write_state(begins, ends)
        body = load_run_batch(run, seconds, run_id=self.run_id, batch=(begins, ends))
        if not seconds:
            body["batch_id"] = str(uuid.uuid4())  # it tells the run's new status only, and twice does no harm
        await self._post(body)
        self._write_state(ends, None)
        self._last_status = str(run["status"])
        return True

    @property
    def _state_path(self) -> Path:
        return self.files.folder / "reported.json"

    def _read_state(self) -> tuple[int, int | None]:
        if not self._state_path.exists():
            return 0, None
        state = json.loads(self._state_path.read_text(encoding="utf-8"))
        return int(state["acknowledged_bytes"]), state["sending_to_byte"]

    def _write_state(self, acknowledged: int, sending_to: int | None) -> None:
        write_json(self._state_path, {"acknowledged_bytes": acknowledged, "sending_to_byte": sending_to})
