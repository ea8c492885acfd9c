"""A machine that sends for another one: Locust's worker, with the same player as any child. Imports locust first.

`python -m loadgen.sending.join HOST PORT`, or `tidegauge load join HOST:PORT`. The plan comes from there; the target
has to be allowed here too. Clocks may differ: the difference is measured when it joins, to half a round trip.
"""

from __future__ import annotations

from locust.env import Environment  # the first import of the process: it patches sockets, time and threads

# isort: split

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import gevent
import gevent.queue

from loadgen.safety import limits_from_environment
from loadgen.sending.worker import obey, player_of

CONNECT_SECONDS = 30.0


def main() -> int:
    """Send what the other machine says until it says goodbye; return the exit code."""
    host, port = sys.argv[1], int(sys.argv[2])
    logging.getLogger("locust").setLevel(logging.ERROR)
    allowed = limits_from_environment(os.environ).allowed_hosts
    runner = Environment(user_classes=[]).create_worker_runner(host, port)
    said: Any = gevent.queue.Queue()
    for kind in ("welcome", "line", "bye"):
        runner.register_message(kind, lambda *, msg, kind=kind, **_more: said.put((kind, msg.data)))
    runner.send_message("hello", {"at": time.time()})
    try:
        kind, welcome = said.get(timeout=CONNECT_SECONDS)
    except gevent.queue.Empty:
        print(f"nobody at {host}:{port} had room for this machine", file=sys.stderr)  # noqa: T201 - its only word
        return 1
    if kind != "welcome":
        return 1
    skew = welcome["now"] - (welcome["asked_at"] + time.time()) / 2

    def lines() -> Iterator[Mapping[str, Any]]:
        while (heard := said.get())[0] == "line":
            yield heard[1]

    heard = lines()
    plan = next(heard, None)
    if plan is None:
        return 0
    if plan["host"] not in allowed:
        print(f"target: expected a host of {sorted(allowed)}, got {plan['host']!r}", file=sys.stderr)  # noqa: T201
        return 2
    player = player_of(plan)
    player.epoch = lambda: time.time() + skew
    obey(player, heard, lambda data: runner.send_message("frame", data[4:]))
    while said.get()[0] != "bye":
        pass
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
