"""From the spool to the store: many batches become one insert, repeated until the store has it.

`flush_once` is one tick; the composition root runs it. The order of its steps is what makes a kill harmless: plan on
disk, insert under the plan's token, then settle.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from collector.clickhouse import Client, StoreRefusedError
from collector.instrument import Event
from collector.sources.spool import Block, Spool, id_of

MOST_BYTES_PER_BLOCK = 4 * 1024 * 1024  # bounds the memory of one insert; about 50,000 events
MOST_BATCHES_PER_BLOCK = 500
Send = Callable[[Spool, Client, Block], int]
_log = logging.getLogger("tidegauge.collector")


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one tick did. more_waits: a whole block, or the rest of a plan, is there for the next tick at once."""

    stored_batches: int = 0
    stored_events: int = 0
    dead_batches: int = 0
    more_waits: bool = False


def flush_once(spool: Spool, client: Client, *, send: Send | None = None) -> Flushed:
    """Send what waits, up to one block (or the rest of an unfinished plan). send: what stores a block; events' own.

    Raises StoreUnavailableError: everything stays in the spool, and the next tick sends the same blocks again.
    """
    stored_batches = stored_events = dead = 0
    blocks = spool.next_blocks(most_bytes=MOST_BYTES_PER_BLOCK, most_batches=MOST_BATCHES_PER_BLOCK)
    for number, block in enumerate(blocks):
        try:
            stored_events += (send or _send)(spool, client, block)
        except (StoreRefusedError, BlockUnreadableError) as error:
            if len(block.names) > 1:
                # One of them is at fault: each half becomes a block of its own, sent with the next tick, until it
                # is alone. The plan's later blocks were never sent, and keep their places after these.
                _log.warning("a block of %d batches cannot be stored, trying halves: %s", len(block.names), error)
                middle = len(block.names) // 2
                later = [each.names for each in blocks[number + 1 :]]
                spool.replan([block.names[:middle], block.names[middle:], *later])
                return Flushed(stored_batches, stored_events, dead, more_waits=True)
            _log.error("a batch went to dead-letter: %s", error)
            spool.bury(block, str(error))
            dead += 1
            continue
        spool.settle(block)
        stored_batches += len(block.names)
    waiting = spool.state()
    more = waiting.size_bytes >= MOST_BYTES_PER_BLOCK or waiting.batches >= MOST_BATCHES_PER_BLOCK
    return Flushed(stored_batches, stored_events, dead, more_waits=more)


class BlockUnreadableError(ValueError):
    """A file of the spool is not the JSON that was written to it."""


def _send(spool: Spool, client: Client, block: Block) -> int:
    try:
        documents = [json.loads(spool.read(name)) for name in block.names]
        events = event_columns(documents)
        batches = batch_columns(zip(block.names, documents, strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BlockUnreadableError(f"{', '.join(block.names)}: {error!r}") from error
    count = client.insert_columns("request_events", events, token=f"events/{block.block_id}")
    client.insert_columns("event_batches", batches, token=f"batches/{block.block_id}")
    return count


def event_columns(documents: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of request_events for accepted batches, in their order. `ts` is epoch microseconds."""
    columns: dict[str, list[Any]] = {"ts" if name == "ts_us" else name: [] for name in Event._fields}
    services: list[str] = []
    for document in documents:
        events = len(document["columns"]["ts_us"])
        for name, values in ({"country": [""] * events} | document["columns"]).items():
            columns["ts" if name == "ts_us" else name].extend(values)
        services.extend([document["client"]["service"]] * events)
    return {**columns, "service": services}


def batch_columns(named: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, list[Any]]:
    """Return the columns of event_batches for (file name, accepted batch) pairs."""
    rows = list(named)
    clients = [document["client"] for _, document in rows]
    return {
        "received_at": [int(name.split("-", 1)[0]) for name, _ in rows],
        "batch_id": [id_of(name) for name, _ in rows],
        "client_id": [client["id"] for client in clients],
        "service": [client["service"] for client in clients],
        "events": [len(document["columns"]["ts_us"]) for _, document in rows],
        "generated_total": [client["generated_total"] for client in clients],
        "dropped_total": [client["dropped_total"] for client in clients],
    }
