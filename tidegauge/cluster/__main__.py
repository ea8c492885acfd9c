"""`python -m tidegauge.cluster`: the composition root of the local cluster. One asyncio process, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine

from aiohttp import web

from collector.catalog import CatalogError
from collector.instrument import EventClient
from tidegauge.clock import Clock, clock_from_environment
from tidegauge.cluster.api import Api
from tidegauge.cluster.autoscaler import Autoscaler
from tidegauge.cluster.fleet import Fleet
from tidegauge.cluster.front import Front, FrontSettings, Refusals, open_session
from tidegauge.cluster.metrics import ClusterMetrics
from tidegauge.cluster.refusals import RecordedRefusals, UntoldRefusals
from tidegauge.cluster.replica import ReplicaSettings, http_probe
from tidegauge.cluster.rotation import Rotation
from tidegauge.cluster.settings import ClusterSettings, SettingsError, settings_from_environment
from tidegauge.cluster.state import ClusterState, Journal, StateError

log = logging.getLogger("tidegauge.cluster")

_FRONT = "front"
_BACKLOG = 1024
_FINISH_SECONDS = 10.0
"""Real seconds that requests in flight get to end when the cluster stops."""
_TELL_SECONDS = 3.0
"""Real seconds that the collector gets to take the last refused requests."""


class PortTakenError(OSError):
    """A port is in use: says which, and the setting that changes it."""


def listen(port: int, *, what: str, setting: str, address: str = "127.0.0.1") -> socket.socket:
    """Return a listening socket. Raises PortTakenError naming port and setting."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTakenError(f"port {port} ({what}) is in use; set {setting} to another") from error
    return listener


async def serve(settings: ClusterSettings, clock: Clock) -> None:
    """Run the cluster until SIGTERM or SIGINT, then finish what was accepted and end every replica."""
    stop = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        # Ports first: a cluster that cannot serve must not start a replica, nor touch the state of the one that does.
        address = settings.bind_address
        front_socket = listen(settings.front_port, what="front", setting="TIDEGAUGE_APP_PORT", address=address)
        stack.callback(front_socket.close)
        api_socket = listen(settings.api_port, what="cluster API", setting="TIDEGAUGE_CLUSTER_PORT", address=address)
        stack.callback(api_socket.close)
        journal = _open_journal(settings, clock)
        refusals = _open_refusals(stack, settings, clock)
        rotation, front_settings = Rotation(), FrontSettings()
        session = await stack.enter_async_context(open_session(front_settings))
        front = Front(rotation=rotation, session=session, refusals=refusals, settings=front_settings)
        fleet = Fleet(
            service=settings.service,
            settings=ReplicaSettings(
                settings.command, settings.replica_environ, least_start_seconds=settings.least_start_seconds
            ),
            rotation=rotation,
            probe=http_probe(session),
            note=journal.note,
            now_seconds=clock.now_seconds,
            starting_limit=settings.starting_limit,
        )
        autoscaler = Autoscaler(
            scaling=settings.scaling,
            clock=clock,
            journal=journal,
            fleet=fleet,
            arrivals=lambda: front.traffic.arrivals,
        )
        metrics = ClusterMetrics(autoscaler=autoscaler, fleet=fleet, traffic=front.traffic)
        api = Api(autoscaler=autoscaler, fleet=fleet, journal=journal, metrics=metrics, session=session)
        # Left in reverse order: the front finishes what it accepted, then the replicas end, then the API.
        await _serve_on(stack, web.AppRunner(api.application(), access_log=None), api_socket)
        stack.push_async_callback(fleet.stop)
        front_server = web.Server(front.answer, handler_cancellation=True, access_log=None)
        await _serve_on(stack, web.ServerRunner(front_server, shutdown_timeout=_FINISH_SECONDS), front_socket)
        stack.callback(api.stop)
        log.info("front on %s:%d, API on %s:%d", address, settings.front_port, address, settings.api_port)
        await _until(stop, fleet.run(), autoscaler.run())


def _open_journal(settings: ClusterSettings, clock: Clock) -> Journal:
    least = settings.scaling.min_replicas
    initial = ClusterState(floor=least, desired=least)
    journal = Journal(settings.folder, initial=initial, now_seconds=clock.now_seconds)
    journal.note_lost()
    return journal


def _open_refusals(stack: contextlib.AsyncExitStack, settings: ClusterSettings, clock: Clock) -> Refusals:
    if settings.collector_url is None:
        return UntoldRefusals()
    client = EventClient(settings.collector_url, service=settings.service, instance=_FRONT)
    stack.callback(client.close, timeout=_TELL_SECONDS)
    return RecordedRefusals(client, instance=_FRONT, now_seconds=clock.now_seconds)


async def _serve_on(
    stack: contextlib.AsyncExitStack, runner: web.AppRunner | web.ServerRunner, listener: socket.socket
) -> None:
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()


async def _until(stop: asyncio.Event, *loops: Coroutine[None, None, None]) -> None:
    """Run the loops until told to stop. A loop that fails ends the cluster with its error: a supervisor restarts it."""
    waiting = asyncio.ensure_future(stop.wait())
    running = [asyncio.ensure_future(loop) for loop in loops]
    try:
        done, _ = await asyncio.wait({waiting, *running}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        for task in (waiting, *running):
            task.cancel()
        await asyncio.gather(waiting, *running, return_exceptions=True)


def main() -> int:
    """Read the settings, serve, and return the exit status: 0 stopped as asked, 1 failed, 2 misconfigured."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        clock = clock_from_environment(os.environ)
        settings = settings_from_environment(os.environ)
    except (SettingsError, CatalogError, ValueError) as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all; a traceback is no help to who misconfigured
        return 2
    try:
        asyncio.run(serve(settings, clock))
    except (PortTakenError, StateError) as error:
        log.error("%s", error)  # noqa: TRY400 - as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
