"""Every request of a run, on file until the collector has it: `requests.jsonl`, one line of columns per frame.

The columns are those of `POST /v1/load-runs`. The file is bounded: beyond `most_rows` requests are counted, and kept in
the seconds' histograms only; the summary says how many were kept. What could not be sent is on file with nulls.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.runs.files import write_json
from loadgen.sending.protocol import Outcome, Rows

MOST_ROWS = 500_000
ROWS_PER_BATCH = 20_000
COLUMNS = ("intended_us", "sent_us", "first_byte_us", "done_us", "status", "name", "error")


def request_columns(rows: Rows, routes: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of a report; times are epoch microseconds, null where it never came to that."""
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    names = ("seconds", "routes", "outcomes", "statuses", "lags_us", "first_bytes_us", "services_us", "sents_us")
    for second, route, outcome, status, lag, first_byte, service, sent in zip(
        *(rows.columns[name] for name in names), strict=True
    ):
        if outcome == Outcome.CANCELLED:
            continue
        was_sent = sent > 0
        done = Outcome(outcome) is Outcome.DONE
        values = (
            sent - lag if was_sent else second * 1_000_000, sent if was_sent else None,
            sent + first_byte if status else None, sent + service if status else None,
            status if 100 <= status <= 599 else None, routes[route],
            None if done else f"http_{status}" if status else Outcome(outcome).name.lower(),
        )  # fmt: skip
        for name, value in zip(COLUMNS, values, strict=True):
            found[name].append(value)
    return found


@dataclass(slots=True)
class RequestLog:
    """The file of one run's requests, and how far the collector has it."""

    folder: Path
    most_rows: int = MOST_ROWS
    kept: int = 0
    left_out: int = 0

    @property
    def path(self) -> Path:
        """Return where they are."""
        return self.folder / "requests.jsonl"

    def add(self, rows: Rows, routes: Sequence[str]) -> None:
        """Put a frame's requests on file, if there is room."""
        if self.kept + len(rows) > self.most_rows:
            self.left_out += len(rows)
            return
        columns = request_columns(rows, routes)
        self.kept += len(columns["name"])
        if columns["name"]:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(columns, separators=(",", ":")) + "\n")

    def next_batch(self, run_id: str) -> tuple[dict[str, list[Any]], str, int] | None:
        """Return columns that were not acknowledged, the batch's id and the offset behind them; None: there are none.

        The id is made of the place in the file: the same batch again is stored once.
        """
        offset = self._read_offset()
        if not self.path.exists():
            return None
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        begins = offset
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n") or len(columns["name"]) >= ROWS_PER_BATCH:
                    break
                for name, values in json.loads(line).items():
                    columns[name] += values
                offset += len(line)
        if offset == begins:
            return None
        name = f"tidegauge-load-requests:{run_id}:{begins}:{offset}"
        return columns, str(uuid.uuid5(uuid.NAMESPACE_URL, name)), offset

    def acknowledge(self, offset: int) -> None:
        """Note that the collector has everything before the offset."""
        write_json(self._state_path, {"acknowledged_bytes": offset})

    @property
    def _state_path(self) -> Path:
        return self.folder / "requests-reported.json"

    def _read_offset(self) -> int:
        if not self._state_path.exists():
            return 0
        return int(json.loads(self._state_path.read_text(encoding="utf-8"))["acknowledged_bytes"])
