"""What `tidegauge up` and `tidegauge status` do and show: the parts, their states and where to look.

On a terminal the parts stand in a live table; anywhere else each change is one plain line on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegauge.clock import Clock
from tidegauge.part import Part, PartEvent
from tidegauge.settings import StackSettings, read_secrets
from tidegauge.stack import StackOf
from tidegauge.stack_directory import StackDirectory
from tidegauge.supervisor import Supervisor

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_COLOURS = {"ready": "green", "done": "green", "restarting": "red", "failed": "red", "stopped": "dim"}


async def run_stack(
    settings: StackSettings, clock: Clock, *, with_app: bool, with_dashboard: bool, with_load: bool
) -> None:
    """Run the stack until a signal. Raises StackError when it cannot come up."""
    screen = Screen()
    async with Supervisor(settings.data, on_event=screen.hear) as supervisor:
        supervisor.listen_to_signals()
        stack = StackOf(settings, read_secrets(settings.data), clock)
        parts = (
            stack.everything(with_dashboard=with_dashboard, with_load=with_load)
            if with_app
            else stack.without_app(with_dashboard=with_dashboard)
        )
        with screen.of(parts):
            if await supervisor.unless_stopped(supervisor.start(parts)):
                screen.say(f"Up. State and logs: {settings.data}. Ctrl-C stops everything.")
                await supervisor.stop_asked.wait()
            screen.say("Stopping.")
            await supervisor.stop_all()


@dataclass(slots=True)
class Screen:
    """Shows what happens to the parts: a live table on a terminal, plain lines elsewhere. Writes to stderr."""

    write: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: T201 - the screen
    is_terminal: bool = field(default_factory=lambda: sys.stderr.isatty())
    _last: dict[str, PartEvent] = field(default_factory=dict)
    _live: Live | None = None

    def of(self, parts: Sequence[Part]) -> AbstractContextManager[Any]:
        """Return the context in which these parts are shown."""
        self._last = {part.name: PartEvent(part, "waiting", 0) for part in parts}
        if not self.is_terminal:
            return nullcontext()
        from rich.console import Console
        from rich.live import Live

        self._live = Live(self._table(), console=Console(stderr=True), auto_refresh=False)
        return self._live

    def hear(self, event: PartEvent) -> None:
        """Show a change of a part."""
        known = self._last.get(event.part.name)
        self._last[event.part.name] = event
        if self._live:
            self._live.update(self._table(), refresh=True)
        elif known is None or known.state != event.state:
            self.write(_line(event))

    def say(self, words: str) -> None:
        """Show a sentence."""
        if self._live:
            self._live.console.print(words)
        else:
            self.write(words)

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table

        table = Table("part", "state", "restarts", "where", "", box=box.SIMPLE)
        for event in self._last.values():
            colour = _COLOURS.get(event.state, "yellow")
            restarts = str(event.restarts or "")
            table.add_row(event.part.name, f"[{colour}]{event.state}[/]", restarts, event.part.url, event.detail)
        return table


def _line(event: PartEvent) -> str:
    words = [f"{event.part.name:<17}", event.state]
    if event.state == "ready" and event.part.url:
        words.append(event.part.url)
    if event.detail and event.state in ("restarting", "failed"):
        words.append(f"({event.detail})")
    return " ".join(words)


def read_status(data: Path) -> dict[str, Any]:
    """Return the stack of a data directory: the supervisor's pid (None: it does not run) and its parts."""
    directory = StackDirectory(data)
    holder = directory.holder()
    parts = directory.read_state().get("parts", [])
    if holder is None:  # what a killed supervisor wrote last is not so any more
        parts = [{**part, "state": "stopped", "pid": None, "born": None} for part in parts]
    return {"data": str(directory.path), "supervisor": holder, "parts": parts}


def is_whole(status: dict[str, Any]) -> bool:
    """Tell whether the stack runs and every part is ready, or done if it is a step."""
    states = {part["state"] for part in status["parts"]}
    return status["supervisor"] is not None and bool(states) and states <= {"ready", "done"}


def status_lines(status: dict[str, Any]) -> list[str]:
    """Return the status for a person."""
    if status["supervisor"] is None:
        return [f"No stack runs in {status['data']}."]
    lines = [f"Stack in {status['data']}, supervisor pid {status['supervisor']}"]
    for part in status["parts"]:
        ports = ",".join(str(port["number"]) for port in part["ports"]) or "-"
        pid = str(part["pid"] or "-")
        lines.append(
            f"{part['name']:<17} {part['state']:<11} pid {pid:<8} port {ports:<10} "
            f"restarts {part['restarts']:<4} {part['url']}".rstrip()
        )
    return lines
