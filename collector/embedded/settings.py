"""The store's settings, read once from the environment by the composition root."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

GIB = 1 << 30
DEFAULT_PORT = 8123


class SettingsError(ValueError):
    """A setting is not as expected: names the variable, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the store needs to start.

    memory_bytes: what the engine may use in all; one query may use half of it.
    user, password: None means that no credentials are asked for (the store listens on loopback only).
    reader, reader_password: who may only read; without a password it is let in as the others are.
    """

    directory: Path
    port: int
    memory_bytes: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    reader: str = "tidegauge_reader"
    reader_password: str | None = field(default=None, repr=False)

    @property
    def query_memory_bytes(self) -> int:
        """What one query may use."""
        return self.memory_bytes // 2


def settings_from_environment(environ: Mapping[str, str], *, physical_memory_bytes: int) -> Settings:
    """Return the settings; raises SettingsError.

    TIDEGAUGE_DATA (default `.tidegauge`), TIDEGAUGE_CLICKHOUSE_PORT (8123), TIDEGAUGE_CLICKHOUSE_MEMORY_BYTES (half of
    the machine's memory, at most 4 GiB), TIDEGAUGE_CLICKHOUSE_USER and TIDEGAUGE_CLICKHOUSE_PASSWORD (both or only the
    password; none by default), TIDEGAUGE_CLICKHOUSE_READER_PASSWORD (of the account tidegauge_reader, who only reads).
    """
    password = environ.get("TIDEGAUGE_CLICKHOUSE_PASSWORD") or None
    user = environ.get("TIDEGAUGE_CLICKHOUSE_USER") or None
    return Settings(
        directory=Path(environ.get("TIDEGAUGE_DATA") or ".tidegauge") / "clickhouse",
        port=_whole(environ, "TIDEGAUGE_CLICKHOUSE_PORT", DEFAULT_PORT, low=1, high=65535),
        memory_bytes=_whole(
            environ,
            "TIDEGAUGE_CLICKHOUSE_MEMORY_BYTES",
            min(4 * GIB, physical_memory_bytes // 2),
            low=GIB // 2,
            high=1 << 50,
        ),
        user=user,
        password=password if password is not None or user is None else "",
        reader_password=environ.get("TIDEGAUGE_CLICKHOUSE_READER_PASSWORD") or None,
    )


def read_physical_memory_bytes() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _whole(environ: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise SettingsError(f"{name}: expected a whole number from {low} to {high}, got {text!r}")
    return int(text)
