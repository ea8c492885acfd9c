"""What a check found, and how a list of findings is told to people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["well", "warning", "broken", "left out"]


@dataclass(frozen=True, slots=True)
class Finding:
    """state: left out: there was nothing to look at. found: what is so. advice: what to do about it, if anything."""

    check: str
    state: State
    found: str
    advice: str = ""


def is_broken(findings: Iterable[Finding]) -> bool:
    """Tell whether something has to be mended."""
    return any(each.state == "broken" for each in findings)


def lines(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each finding, what to do beneath it, and the sum."""
    width = max((len(each.check) for each in findings), default=0)
    told = []
    for each in findings:
        told.append(f"{each.state:<8}  {each.check:<{width}}  {each.found}")
        if each.advice:
            told.append(f"{'':<8}  {'':<{width}}  -> {each.advice}")
    counts = {
        state: sum(each.state == state for each in findings) for state in ("well", "warning", "broken", "left out")
    }
    return [*told, ", ".join(f"{count} {state}" for state, count in counts.items())]
