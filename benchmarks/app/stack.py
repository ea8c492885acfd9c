"""A reference app with everything behind it, on free ports of loopback, for one benchmark.

PostgreSQL primary and search replica, Valkey and the seeded tables come up once; replicas of the app, the job worker,
an edge and nginx as balancer are started and stopped as a measure wants them. Nothing of the platform runs: what is
measured is the app.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

from tidegauge.clock import Clock
from tidegauge.part import Part, Port, answers_http
from tidegauge.settings import StackSettings, app_environment, read_secrets
from tidegauge.stack import StackOf
from tidegauge.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

# The supplier bounds a replica on purpose; where the app itself is measured, its fares are asked for once an hour.
UNBOUNDED = {"REFERENCE_APP_FARES": "hourly", "REFERENCE_APP_SUPPLIER_LATENCY_MS": "0"}
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
_COUNT = re.compile(
    r'^http_request_duration_seconds_count\{cache_level="(?P<level>\w*)".*?\} (?P<count>\S+)$', re.MULTILINE
)
_NGINX_TERMS = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=answers:20m max_size=512m use_temp_path=off;
  proxy_cache_key "$uri?$args $http_accept_encoding";
  proxy_cache_lock on;
  proxy_ignore_headers Vary;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_hide_header Surrogate-Key;
  upstream app {{ least_conn; {servers} keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} backlog=16384;
    location / {{ proxy_pass http://app; }}
    location ~ ^/api/(flights/search|flights/[0-9]+|airports/[A-Z]+)$ {{
      proxy_pass http://app; {cache}
    }}
  }}
}}
"""


@dataclass(slots=True)
class AppStack:
    """The running databases, and what starts and stops the app before them."""

    supervisor: Supervisor
    stack: StackOf
    folder: Path
    scale: float
    started: list[str] = field(default_factory=list)
    replica_ports: list[int] = field(default_factory=list)

    async def replicas(self, count: int, environment: Mapping[str, str] = UNBOUNDED) -> list[int]:
        """Start replicas of the app and return their ports."""
        parts = [self._replica(number, environment) for number in range(1, count + 1)]
        await self._start(parts)
        self.replica_ports = [part.ports[0].number for part in parts]
        return self.replica_ports

    def _replica(self, number: int, environment: Mapping[str, str]) -> Part:
        port = free_port()
        own = {"REFERENCE_APP_PORT": str(port), "REFERENCE_APP_INSTANCE": f"replica-{number}"}
        return _server(f"replica-{number}", "reference_app", port, {**self._app(), **environment, **own})

    async def jobs(self, environment: Mapping[str, str] = UNBOUNDED) -> None:
        """Start the job worker."""
        port = free_port()
        own = {"REFERENCE_APP_JOBS_PORT": str(port)}
        await self._start([_server("jobs", "reference_app.jobs", port, {**self._app(), **environment, **own})])

    async def edge(self, origin: int, environment: Mapping[str, str] = UNBOUNDED) -> int:
        """Start an edge before one replica and return its port."""
        port = free_port()
        own = {
            "REFERENCE_APP_EDGE_PORT": str(port),
            "REFERENCE_APP_EDGE_ORIGINS": f"http://127.0.0.1:{origin}",
            "REFERENCE_APP_EDGE_LEAST_USES": "1",
        }
        await self._start([_server("edge", "reference_app.edge", port, {**self._app(), **environment, **own})])
        return port

    async def nginx(self, *, caching: bool) -> int:
        """Start nginx as balancer of the replicas, with the edge's shelves if asked; return its port."""
        if NGINX is None:
            raise LookupError("nginx is not installed")
        port, folder = free_port(), Path(tempfile.mkdtemp(prefix="nginx-", dir=self.folder))
        folder.chmod(0o755)
        servers = " ".join(f"server 127.0.0.1:{one} max_fails=0;" for one in self.replica_ports)
        cache = (
            'proxy_cache answers; proxy_cache_bypass $http_authorization; add_header X-Cache "$upstream_cache_status";'
        )
        text = _NGINX_TERMS.format(folder=folder, servers=servers, port=port, cache=cache if caching else "")
        if os.geteuid() == 0:
            text = "user root;\n" + text  # its worker writes to a folder that is ours
        path = folder / "nginx.conf"
        path.write_text(text, encoding="utf-8")
        argv = [NGINX, "-c", str(path), "-p", str(folder), "-g", "daemon off;"]
        parts = [Part("nginx", argv, ready=answers_http(f"http://127.0.0.1:{port}/readyz"))]
        if caching:
            forgetting = [sys.executable, "-m", "reference_app.edge", "--forget-in", str(folder / "cache")]
            parts.append(Part("nginx-forgetting", forgetting, self._app()))
        await self._start(parts)
        return port

    async def stop_app(self) -> None:
        """Stop whatever was started before the databases."""
        for name in reversed(self.started):
            await self.supervisor.stop(name)
        self.started.clear()

    async def _start(self, parts: Sequence[Part]) -> None:
        self.started += [part.name for part in parts]
        await self.supervisor.start(parts)

    def _app(self) -> dict[str, str]:
        return dict(app_environment(self.stack.settings, self.stack.secrets)) | {"TIDEGAUGE_DATA": str(self.folder)}

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the running parts' processes, their children included."""
        found: dict[str, list[psutil.Process]] = {}
        for part in self.supervisor.directory.read_state()["parts"]:
            if part["pid"]:
                with suppress(psutil.NoSuchProcess):
                    parent = psutil.Process(part["pid"])
                    found[part["name"]] = [parent, *parent.children(recursive=True)]
        return found


def _server(name: str, module: str, port: int, environment: Mapping[str, str]) -> Part:
    ready = answers_http(f"http://127.0.0.1:{port}/readyz")
    argv = [sys.executable, "-m", module]
    return Part(name, argv, environment, ready=ready, ports=(Port(port, name),), stop_seconds=20.0)


@asynccontextmanager
async def app_stack(*, scale: float) -> AsyncIterator[AppStack]:
    """Yield the databases, seeded at a scale; stop everything and remove the folder afterwards."""
    with tempfile.TemporaryDirectory(prefix="tidegauge-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        settings = StackSettings(
            data=folder,
            postgres_port=free_block(6),
            valkey_port=free_port(),
            postgres_replicas=1,
            postgres_standby=False,
        )
        async with Supervisor(folder) as supervisor:
            stack = StackOf(settings, read_secrets(folder), Clock())
            prepare = stack.prepare()
            seeding = replace(prepare, environment={**prepare.environment, "REFERENCE_APP_SEED_SCALE": str(scale)})
            await supervisor.start([*stack.databases(), seeding])
            yield AppStack(supervisor, stack, folder, scale)


def free_port() -> int:
    """Return a port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def free_block(count: int) -> int:
    """Return the first of so many consecutive free ports."""
    for first in range(21000, 30000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
            return first
    raise OSError(f"no {count} consecutive free ports between 21000 and 30000")


async def cache_levels(ports: Iterable[int]) -> Counter[str]:
    """Return how many requests servers have answered, by the cache level that they count in /metrics."""
    levels: Counter[str] = Counter()
    async with httpx.AsyncClient() as client:
        for port in ports:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            for found in _COUNT.finditer(text):
                levels[found["level"]] += int(float(found["count"]))
    return levels


def cpu_seconds(processes: Mapping[str, list[psutil.Process]]) -> dict[str, float]:
    """Return the CPU seconds that processes have used so far, by part."""
    used = {}
    for name, family in processes.items():
        used[name] = 0.0
        for process in family:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used[name] += times.user + times.system
    return used


def memory_megabytes(processes: Mapping[str, list[psutil.Process]]) -> dict[str, float]:
    """Return the proportional set size by part, in MB: shared pages are counted once over those who share them."""
    held = {}
    for name, family in processes.items():
        held[name] = 0.0
        for process in family:
            with suppress(psutil.NoSuchProcess):
                held[name] += process.memory_full_info().pss / 1e6
    return held
