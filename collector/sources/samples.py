"""Samples of metrics on their way into the record: one batch of them, from whichever source. Pure.

A source adds points; what the record cannot take is left out and counted, never changed. The document that comes out
goes through a spool of its own and is stored under its id; that the same series and instant replace each other makes a
second sending harmless even under another id.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal

from collector.record.exponential import Exponential

OLDEST_SAMPLE_SECONDS = 94 * 86400  # the table keeps 95 days; what is older would vanish at the insert
NEWEST_SAMPLE_SECONDS = 86400
Kind = Literal["gauge", "counter", "delta", "histogram", "histogram_delta"]
Labels = Mapping[str, str]
SAMPLE_COLUMNS = ("series_id", "ts", "value")
HISTOGRAM_COLUMNS = (
    "series_id", "ts", "count", "sum", "scale", "zero_threshold", "zero_count", "positive", "negative", "reset",
)  # fmt: skip
_MOST_BEGINNINGS = 200_000
_STALE = 0x7FF0000000000002  # Prometheus' mark that a series ended


def series_id(name: str, service: str, kind: str, labels: Labels) -> int:
    """Return the 64-bit id of a series: the same for the same labels in any order."""
    text = json.dumps([name, service, kind, sorted(labels.items())], separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class SampleBatch:
    """Collects the points of one export. `left_out` counts, by reason, what is not taken.

    admits(service, series id): False when the service has too many series already (see collector.sources.cardinality).
    """

    def __init__(self, source: str, *, now_seconds: float, admits: Callable[[str, int], bool]) -> None:
        self._source, self._admits = source, admits
        self._span_ms = ((now_seconds - OLDEST_SAMPLE_SECONDS) * 1e3, (now_seconds + NEWEST_SAMPLE_SECONDS) * 1e3)
        self._series: dict[int, list[Any]] = {}
        self._samples: dict[str, list[Any]] = {name: [] for name in SAMPLE_COLUMNS}
        self._histograms: dict[str, list[Any]] = {name: [] for name in HISTOGRAM_COLUMNS}
        self.left_out: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._samples["ts"]) + len(self._histograms["ts"])

    def add(self, name: str, service: str, kind: Kind, labels: Labels, *, ts_ms: int, value: float) -> int | None:
        """Take a value and return its series' id; None when it is left out."""
        if math.isnan(value):
            self.left_out["stale" if struct.pack(">d", value) == struct.pack(">Q", _STALE) else "not a number"] += 1
            return None
        identity = self._known(name, service, kind, labels, ts_ms)
        if identity is not None:
            self._append(self._samples, (identity, ts_ms, value))
        return identity

    def add_exponential(
        self, name: str, service: str, kind: Kind, labels: Labels, *, ts_ms: int, point: Exponential
    ) -> int | None:
        """Take a histogram and return its series' id; None when it is left out."""
        if math.isnan(point.sum) or math.isnan(point.count):
            self.left_out["stale"] += 1
            return None
        identity = self._known(name, service, kind, labels, ts_ms)
        if identity is not None:
            numbers = (point.count, point.sum, point.scale, point.zero_threshold, point.zero_count)
            buckets = (_pairs(point.positive), _pairs(point.negative), int(point.reset))
            self._append(self._histograms, (identity, ts_ms, *numbers, *buckets))
        return identity

    def document(self, batch_id: str) -> bytes:
        """Return the batch as the spool keeps it."""
        whole = {
            "schema": 1,
            "batch_id": batch_id,
            "source": self._source,
            "series": list(self._series.values()),
            "samples": self._samples,
            "histograms": self._histograms,
        }
        return json.dumps(whole, separators=(",", ":")).encode()

    def _known(self, name: str, service: str, kind: Kind, labels: Labels, ts_ms: int) -> int | None:
        if not self._span_ms[0] <= ts_ms <= self._span_ms[1]:
            self.left_out["too old" if ts_ms < self._span_ms[0] else "too new"] += 1
            return None
        identity = series_id(name, service, kind, labels)
        if identity not in self._series:
            if not self._admits(service, identity):
                self.left_out["too many series"] += 1
                return None
            self._series[identity] = [identity, name, service, kind, dict(labels)]
        return identity

    @staticmethod
    def _append(columns: dict[str, list[Any]], values: tuple[Any, ...]) -> None:
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)


class Beginnings:
    """Remembers at which instant each cumulative series said it began; the oldest are forgotten (and told again)."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, int] = OrderedDict()

    def is_new(self, identity: int, start_ms: int) -> bool:
        """Say whether this beginning was not told yet."""
        if self._known.get(identity) == start_ms:
            return False
        self._known[identity] = start_ms
        self._known.move_to_end(identity)
        if len(self._known) > _MOST_BEGINNINGS:
            self._known.popitem(last=False)
        return True


def _pairs(buckets: Mapping[int, float]) -> list[list[float]]:
    return [[index, buckets[index]] for index in sorted(buckets) if buckets[index]]
