"""A real Valkey cluster of three nodes with a password, and a single one that can die and come back on its port."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.integration.database_fixtures import wait_until
from tidegauge.valkey import find_program

HASH_SLOTS = 16_384  # of Redis Cluster's specification


@dataclass
class Node:
    """One valkey-server on a port of loopback; its data outlive it."""

    folder: Path
    port: int
    bus_port: int
    password: str
    cluster: bool
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        settings = self.folder / "valkey.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"requirepass {self.password}", f"dir {self.folder}"]
        lines += ["appendonly yes", "appendfsync everysec", 'save ""', "daemonize no"]
        if self.cluster:
            lines += ["cluster-enabled yes", f"cluster-port {self.bus_port}", "cluster-node-timeout 2000"]
        settings.write_text("\n".join(lines))
        self.process = subprocess.Popen(
            [str(find_program()), str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, what="valkey to answer")

    def _answers(self) -> bool:
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def valkey_node(*, cluster: bool = False, password: str | None = None) -> Iterator[Node]:
    """Run one node with a password and an append-only file."""
    folder = Path(tempfile.mkdtemp(prefix="tg-vk-"))
    port, bus_port = _free_ports(2)
    node = Node(folder, port, bus_port, password or secrets.token_urlsafe(12), cluster)
    try:
        node.start()
        yield node
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def valkey_cluster() -> Iterator[list[Node]]:
    """Run a cluster of three primaries that share the hash slots."""
    password = secrets.token_urlsafe(12)
    with ExitStack() as running:
        nodes = [running.enter_context(valkey_node(cluster=True, password=password)) for _ in range(3)]
        bounds = [HASH_SLOTS * number // 3 for number in range(4)]
        for number, node in enumerate(nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
                for other in nodes[:number]:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        wait_until(lambda: all(map(_is_whole, nodes)), what="the cluster to be whole")
        yield nodes


def _is_whole(node: Node) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
    return (info["cluster_state"], info["cluster_slots_assigned"], info["cluster_known_nodes"]) == (
        "ok",
        str(HASH_SLOTS),
        "3",
    )
