"""What a measured figure depends on besides the code: the machine, its load, the versions, the commit, the seed."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version


def circumstances(*, seed: int, packages: tuple[str, ...] = ()) -> dict[str, object]:
    """Return what belongs beside every figure, ready for JSON; a package that is not installed has no version."""
    system = f"{platform.system()} {platform.release()}"
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or None,
        "seed": seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, {system}",
        "load_average": os.getloadavg()[0],
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
