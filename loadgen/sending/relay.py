"""The parent's child when other machines send: Locust's master, which passes lines and frames on. Imports locust first.

`python -m loadgen.sending.relay HOST PORT MACHINES`, started by `machines` beside it. Each machine that joins (`join`)
is one child to the parent: on stdin `{"to": index, "line": {..}}`, on stdout frames of kind M with the index before
the inner frame. A machine that Locust misses is told as gone. Nothing is decided here.
"""

from __future__ import annotations

from locust.env import Environment  # the first import of the process: it patches sockets, time and threads

# isort: split

import logging
import os
import sys
import time
from typing import Any

import gevent

from loadgen.sending.frames import FrameWriter, read_lines
from loadgen.sending.protocol import MACHINE, frame, status_frame

LOOK_SECONDS = 0.5


def main() -> None:
    """Pass everything on until stdin ends."""
    host, port, machines = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    writer = FrameWriter(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get between the frames
    logging.getLogger("locust").setLevel(logging.ERROR)
    runner = Environment(user_classes=[]).create_master_runner(master_bind_host=host, master_bind_port=port)
    joined: list[str] = []
    gone: set[str] = set()

    def on_hello(*, msg: Any, **_more: Any) -> None:
        if len(joined) < machines and msg.node_id not in joined:
            joined.append(msg.node_id)
            index = len(joined) - 1
            runner.send_message(
                "welcome", {"index": index, "asked_at": msg.data["at"], "now": time.time()}, msg.node_id
            )
            writer.write(frame(MACHINE, bytes([index]) + status_frame({"state": "joined"})[4:]))

    def on_frame(*, msg: Any, **_more: Any) -> None:
        if msg.node_id in joined:
            writer.write(frame(MACHINE, bytes([joined.index(msg.node_id)]) + msg.data))

    def tell_who_is_gone() -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            for index, node in enumerate(joined):
                node_state = runner.clients.get(node)
                if node not in gone and (node_state is None or node_state.state == "missing"):
                    gone.add(node)
                    writer.write(frame(MACHINE, bytes([index]) + status_frame({"state": "gone"})[4:]))

    runner.register_message("hello", on_hello)
    runner.register_message("frame", on_frame)
    gevent.spawn(tell_who_is_gone)
    writer.write(status_frame({"state": "listening"}))
    for line in read_lines(sys.stdin.fileno()):
        if line["to"] < len(joined):
            runner.send_message("line", line["line"], joined[line["to"]])
    for node in joined:
        runner.send_message("bye", None, node)
    gevent.sleep(0.2)
    os._exit(0)


if __name__ == "__main__":
    main()
