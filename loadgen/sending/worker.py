"""The child that sends: the only process that imports locust, which patches all of it as it is imported.

`python -m loadgen.sending.worker`, started by `child` beside it as a subprocess, never forked. It is told what to send
and when (protocol), and tells what came of it; it keeps no files and ends as soon as its stdin does. Users of the
closed model are locust's; its statistics stay unused: they round to two digits and grow for as long as a run lasts.
"""

from __future__ import annotations

from locust import User, task  # the first import of the process: it patches sockets, time and threads
from locust.env import Environment
from locust.exception import StopUser

# isort: split

import gc
import logging
import os
import ssl
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import gevent

from loadgen.sending.declared import DeclaredUsers
from loadgen.sending.frames import FrameWriter, read_lines
from loadgen.sending.http_client import LeanClient
from loadgen.sending.iterations import iterations_from_plan
from loadgen.sending.player import Part, Player


def player_of(plan: Mapping[str, Any]) -> Player:
    """Return the player of a plan, with locust's runner holding its users."""
    logging.getLogger("locust").setLevel(logging.ERROR)  # it tells of each start of users

    class VirtualUser(User):
        @task
        def live(self) -> None:
            player.live()
            raise StopUser

    environment = Environment(user_classes=[VirtualUser])
    runner = environment.create_local_runner()
    actor: Any
    if plan.get("users"):
        from loadgen.sending.user_class import user_class_actor

        actor = user_class_actor(plan, environment)
    else:
        client = LeanClient(
            plan["host"], plan["port"], plan["timeout_seconds"], ssl.create_default_context() if plan["tls"] else None
        )
        parts, seed, run_id = [part["journeys"] for part in plan["parts"]], plan["seed"], plan["run_id"]
        actor = DeclaredUsers(
            iterations_from_plan(plan["journeys"], parts, seed=seed, run_id=run_id, authority=client.authority), client
        )
    player = actor.player = Player(
        actor=actor,
        parts=[Part(index, part["most_users"], part["most_waiting"]) for index, part in enumerate(plan["parts"])],
        share=(plan["share"][0], plan["share"][1]),
        spawn_users=lambda count: runner.spawn_users({"VirtualUser": count}),
    )
    return player


def obey(player: Player, lines: Iterable[Mapping[str, Any]], write: Any) -> bool:
    """Play what the lines say until told to stop; return whether that was said, not only that there were no more."""
    schedulers = [gevent.spawn(player.schedule, part) for part in player.parts]
    prober, flusher = gevent.spawn(player.probe), gevent.spawn(player.flush_for_ever, write)
    player.flush(write, "ready")
    for line in lines:
        if "arrivals" in line:
            player.take(line["arrivals"])
        for index, users in line.get("users", {}).items():
            player.want(player.parts[int(index)], users)
        if "stop" in line:
            gevent.killall([*schedulers, prober])
            player.drain(line["stop"])
            flusher.join()
            player.flush(write, "stopped")
            return True
    return False


def main() -> None:
    """Do what stdin says, then end at once: what users still think about needs no farewell."""
    writer = FrameWriter(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get between the frames
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # rows are no garbage: looking through them again and again costs a tenth
    lines = read_lines(sys.stdin.fileno())
    told = obey(player_of(next(lines)), lines, writer.write)
    sys.stderr.flush()
    os._exit(0 if told else 1)  # without a word the parent is gone, and nobody would read what is still to come


if __name__ == "__main__":
    main()
