"""Finds, before anything starts, every port that somebody else has, and names the setting that changes it."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tidegauge.part import Part, StackError


def check_ports(parts: Sequence[Part]) -> None:
    """Raise StackError naming every port that cannot be had, its part and its setting: all of them at once."""
    problems: list[str] = []
    owners: dict[int, str] = {}
    for part in parts:
        for port in part.ports:
            why = f"{owners[port.number]} has it too" if port.number in owners else _why_not(port.number)
            owners.setdefault(port.number, part.name)
            if why:
                problems.append(f"port {port.number} for {part.name}: {why}; choose another with {port.setting}")
    if problems:
        raise StackError("\n".join(problems))


def _why_not(number: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is closing does not count
        try:
            probe.bind(("127.0.0.1", number))
            probe.listen(1)
        except PermissionError:
            return "this user may not use it"
        except OSError:
            return "it is in use"
    return ""
