"""What the person at the terminal sees of the demo: stages, bars, a line per moment, the outcome; all on stderr."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from tidegauge.clock import Clock
from tidegauge.demo.story import Story
from tidegauge.part import Part, PartEvent
from tidegauge.settings import StackSettings

LOOK_SECONDS = 1.0
PLAIN_LINE_EVERY = 15  # looks, where there is no terminal to redraw


class Progress:
    """Tells the demo's progress, with live bars on a terminal and plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, words: str) -> None:
        """Say a sentence."""
        self._console.print(words, highlight=False, soft_wrap=True)

    def stage(self, words: str, *, parts: Sequence[Part]) -> None:
        """Say what begins, and which parts it starts."""
        self.say(f"{words}: {', '.join(part.name for part in parts)}")

    def hear(self, event: PartEvent) -> None:
        """Say when a part is ready, or in trouble."""
        if event.state == "ready" and event.part.url:
            self.say(f"  {event.part.name:<10} ready at {event.part.url}")
        elif event.state in ("restarting", "failed"):
            self.say(f"  {event.part.name:<10} {event.state} {event.detail}")

    @contextmanager
    def bar(self, words: str) -> Iterator[Callable[[float], None]]:
        """Show a bar; the function it gives takes the share done, 0..1."""
        if not self._console.is_terminal:
            self.say(f"{words} ...")
            yield lambda _share: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Bars(*columns, console=self._console) as bars:
            task = bars.add_task(words, total=1.0)
            yield lambda share: bars.update(task, completed=share)

    async def follow(self, settings: StackSettings, clock: Clock, story: Story) -> None:
        """Show the window as it is played, until its end."""
        start, end = story.window_from.timestamp(), story.window_to.timestamp()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        bars = Bars(*columns, console=self._console, disable=not self._console.is_terminal)
        looks = 0
        async with httpx.AsyncClient(timeout=1.0) as http:
            with bars:
                task = bars.add_task("starting", total=end - start)
                while (now := clock.now_seconds()) < end:
                    line = await _moment(http, settings, clock)
                    bars.update(task, completed=max(0.0, now - start), description=line)
                    if not self._console.is_terminal and looks % PLAIN_LINE_EVERY == 0:
                        self.say(line)
                    looks += 1
                    await asyncio.sleep(min(LOOK_SECONDS, max(0.05, clock.real_at(end) - clock.read_real())))

    def outcome(self, summary: dict[str, Any], path: Path) -> None:
        """Show the outcome as a table."""
        table = Table("", "under-provisioned", "replica-hours", title="What came of it")
        rows = {"measured": summary["measured"], **summary["simulated"]}
        for name, toll in rows.items():
            hours = toll["replica_seconds"] / 3600
            table.add_row(name.replace("_", " "), f"{toll['under_provisioned_seconds']:.0f} s", f"{hours:.1f}")
        self._console.print(table)
        seen, events = summary["observed"], summary["events"]
        raises = sum(row["floor_after"] > row["floor_before"] for row in summary["scaling"])
        lead = summary["lead_seconds"]
        ahead = "no raise was needed" if lead is None else f"the least lead was {lead / 60:.1f} min"
        self.say(f"Floor raised {raises} times; {ahead}.")
        self.say(
            f"{seen['requests']} requests, {seen['failed']} failed, {seen['unsent']} unsent, p95 {seen['p95_ms']} ms; "
            f"{events['generated']} events made, {events['acknowledged']} acknowledged, {events['stored']} stored."
        )
        self.say(f"Summary: {path}")


async def _moment(http: httpx.AsyncClient, settings: StackSettings, clock: Clock) -> str:
    """Return one line on how things stand; what does not answer is left out, never shown as zero."""
    words = [f"{clock.now():%H:%M}"]
    with suppress(httpx.HTTPError, KeyError, ValueError):
        hpa = (await http.get(f"{settings.url(settings.cluster_port)}/hpas/reference-app")).json()
        words.append(f"floor {hpa['min_replicas']}  replicas {hpa['ready']}/{hpa['desired']}")
        if hpa.get("offered_rps") is not None:
            words.append(f"{hpa['offered_rps'] * clock.speed_now():.0f} requests/s")
    with suppress(OSError, KeyError, ValueError):
        load = json.loads((settings.data / "load" / "load.json").read_text(encoding="utf-8"))
        p95 = load["response_ms"]["p95"]
        words.append(f"p95 {p95:.0f} ms" if p95 is not None else "")
        words.append(f"failed {load['failed']}")
    return "  ".join(word for word in words if word)
