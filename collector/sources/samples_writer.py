"""From the spool of samples to the store: what `writer.flush_once` sends for one block of batches."""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import date
from typing import Any

from collector.clickhouse import Client
from collector.record.decimals import to_decimals
from collector.sources.samples import HISTOGRAM_COLUMNS, SAMPLE_COLUMNS
from collector.sources.spool import Block, Spool
from collector.sources.writer import BlockUnreadableError

MOST_REMEMBERED = 200_000  # series written today; forgotten ones are written again, which changes nothing
_DAY_US = 86_400_000_000


class SampleWriter:
    """Writes blocks of samples. Remembers which series it wrote today, so that each is written once a day."""

    def __init__(self) -> None:
        self._written: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._digits: OrderedDict[int, int] = OrderedDict()

    def send(self, spool: Spool, client: Client, block: Block) -> int:
        """Store the block's batches and return the number of points. Raises BlockUnreadableError, StoreError."""
        try:
            documents = [json.loads(spool.read(name)) for name in block.names]
            days = [int(name.split("-", 1)[0]) // _DAY_US for name in block.names]
            series = self._new_series(documents, days)
            samples = self._sample_columns(joined([each["samples"] for each in documents], SAMPLE_COLUMNS))
            histograms = joined([each["histograms"] for each in documents], HISTOGRAM_COLUMNS)
            for name in ("positive", "negative"):
                histograms[name] = [{int(index): count for index, count in row} for row in histograms[name]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BlockUnreadableError(f"{', '.join(block.names)}: {error!r}") from error
        client.insert_columns("series", series_columns(series), token=f"series/{block.block_id}")
        points = client.insert_columns("samples", samples, token=f"samples/{block.block_id}")
        points += client.insert_columns("sample_histograms", histograms, token=f"histograms/{block.block_id}")
        self._remember((row[0], row[-1]) for row in series)
        return points

    def _new_series(self, documents: list[dict[str, Any]], days: list[int]) -> list[list[Any]]:
        new: dict[tuple[int, int], list[Any]] = {}
        for document, day in zip(documents, days, strict=True):
            for row in document["series"]:
                if (row[0], day) not in self._written:
                    new[row[0], day] = [*row, document["source"], day]
        return list(new.values())

    def _sample_columns(self, samples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        # A repetition of a block after a restart may scale otherwise: its token, not its bytes, makes it the same.
        series = samples["series_id"]
        decimals = to_decimals(series, samples["value"], self._digits)
        for identity, digits in zip(series, decimals.digits, strict=True):
            self._digits[identity] = max(digits, self._digits.get(identity, 0))
        while len(self._digits) > MOST_REMEMBERED:
            self._digits.popitem(last=False)
        return {
            "series_id": series,
            "ts": samples["ts"],
            "digits": decimals.digits,
            "scaled": decimals.scaled,
            "raw": decimals.raw,
        }

    def _remember(self, keys: Any) -> None:
        for key in keys:
            self._written[key] = None
        while len(self._written) > MOST_REMEMBERED:
            self._written.popitem(last=False)


def joined(parts: list[dict[str, list[Any]]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the columns of several batches one after the other."""
    return {name: [value for part in parts for value in part[name]] for name in names}


def series_columns(rows: list[list[Any]]) -> dict[str, list[Any]]:
    """Return the columns of `series`; last_seen is the day since the epoch on which the batch was received."""
    names = ("series_id", "name", "service", "kind", "labels", "source", "last_seen")
    columns: dict[str, list[Any]] = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    columns["last_seen"] = [date.fromordinal(date(1970, 1, 1).toordinal() + day) for day in columns["last_seen"]]
    return columns
