"""Gives up root for servers that refuse it, without asking the user to move or re-mode anything.

PostgreSQL will not run as root. Started as root, it runs under an ordinary account instead. When its files lie below
a directory that this account may not enter (a repository in /root, say), the account keeps one capability: to look
below such directories. That leaves modes of foreign directories alone, copies nothing and keeps all state in one
directory. It leaves to others which files to chown and what to run.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tidegauge.tether import die_with_parent, prctl, read_death_signal

ACCOUNT_NAMES = ("postgres", "nobody")  # a database's own account where there is one
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
_PR_SET_SECUREBITS = 28
_NO_SETUID_FIXUP = 4  # without it access(2), by which PostgreSQL looks at its programs, forgets the capability
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True, slots=True)
class Account:
    """An ordinary user of the system."""

    name: str
    user_id: int
    group_id: int


def account_for_servers() -> Account | None:
    """Return the account that servers run under: None (stay who we are) unless this process is root.

    Raises LookupError when this is root and the system has none of the accounts we know.
    """
    if os.geteuid() != 0:
        return None
    for name in ACCOUNT_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise LookupError(f"PostgreSQL does not run as root, and this system has no account of {', '.join(ACCOUNT_NAMES)}")


def can_enter(account: Account, path: Path) -> bool:
    """Tell whether the account may search every directory above `path`, by their plain modes."""
    return all(_may_search(account, parent.stat()) for parent in path.resolve().parents)


def _may_search(account: Account, directory: os.stat_result) -> bool:
    if directory.st_uid == account.user_id:
        return bool(directory.st_mode & stat.S_IXUSR)
    if directory.st_gid == account.group_id:
        return bool(directory.st_mode & stat.S_IXGRP)
    return bool(directory.st_mode & stat.S_IXOTH)


def become(account: Account, *, paths: Iterable[Path]) -> None:
    """Turn this process into `account`, able to reach each of `paths`; what it executes stays so.

    A death signal that was asked for stays asked for. Raises PermissionError naming the path that cannot be reached.
    """
    blocked = [path for path in paths if not can_enter(account, path)]
    death_signal = read_death_signal()
    os.setgroups([])
    os.setgid(account.group_id)
    if blocked:
        _become_searching(account, blocked[0])
    else:
        os.setuid(account.user_id)
    if death_signal:
        die_with_parent(death_signal)


def _become_searching(account: Account, blocked: Path) -> None:
    refusal = PermissionError(f"user {account.name!r} may not enter a directory above {blocked}")
    try:
        prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP)
    except OSError:
        raise refusal from None
    os.setuid(account.user_id)
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):  # the second is what a plain container grants
        try:
            _set_capability(capability)
            prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)
        except OSError:
            continue
        return
    raise refusal


def _set_capability(capability: int) -> None:
    """Keep one capability and no other: permitted, effective and inheritable."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if not sys.platform.startswith("linux") or libc.capset(header, data) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")
