"""Ties a program's life to its starter's: run as a script, it becomes the program and dies with its parent.

`python -I -S tether.py PARENT_PID SIGNAL PROGRAM ARGUMENT...` asks the kernel to send SIGNAL to this process when the
parent ends however it ends (kill -9 too), and then turns into the program. It is a script on the standard library alone
because it runs before every part (about 15 ms), and because code between fork and exec in a threaded starter may hang.
Where the kernel has no such call (anything but Linux) it turns into the program without it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_GET_PDEATHSIG = 2


def tethered(argv: list[str], *, parent: int, death_signal: int) -> list[str]:
    """Return the command line that runs `argv` so that it gets `death_signal` when process `parent` ends.

    The parent must start it from a thread that lives as long as itself: the kernel watches the thread.
    """
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(parent), str(int(death_signal)), *argv]


def prctl(option: int, *arguments: int) -> None:
    """Make one prctl call to the Linux kernel. Raises OSError with its reason."""
    libc = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(ctypes.c_int(option), *values) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def read_death_signal() -> int:
    """Return the signal this process gets when its parent ends; 0 when none was asked for."""
    if not sys.platform.startswith("linux"):
        return 0
    signal_number = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(ctypes.c_int(PR_GET_PDEATHSIG), ctypes.byref(signal_number), 0, 0, 0)
    return signal_number.value


def die_with_parent(death_signal: int) -> None:
    """Ask for `death_signal` when the parent ends. A change of user forgets this: ask again after it."""
    if sys.platform.startswith("linux"):
        prctl(PR_SET_PDEATHSIG, death_signal)


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and become the program."""
    parent, death_signal, *argv = arguments
    die_with_parent(int(death_signal))
    if os.getppid() != int(parent):  # it ended before the kernel was asked
        raise SystemExit("tether: the process that started this one is gone")
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - becoming the program is the purpose
    except OSError as error:
        raise SystemExit(f"{argv[0]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
