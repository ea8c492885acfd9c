"""How often another field manager has set our floor back, over restarts: what is seen now and what the patches tell.

An autoscaler shows who holds its floor now, not who held it before; a process remembers what it saw, and forgets it
when it ends. The stored patches do not: where one of ours was applied and the next attempt found another floor,
somebody has set ours back in between. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from forecaster.scaling.types import HpaState
from forecaster.store.outcomes import Patch

REVERTS_WITHIN = timedelta(minutes=30)  # of real time: who sets us back less often than that may have meant it once
_SECOND = timedelta(seconds=1)  # the API server tells no less


@dataclass(frozen=True, slots=True)
class Revert:
    """A floor of ours of `after` was another's by `by`, and ours again at `ended` (None: not since); real time."""

    after: datetime
    by: datetime
    ended: datetime | None

    def was_at(self, at: datetime) -> bool:
        """Say whether the API server's instant of a revert is this one's: we were set back once between two of ours."""
        return self.after - _SECOND <= at and (self.ended is None or at <= self.ended)


def reverts_in(patches: Iterable[Patch], *, real: Callable[[datetime], datetime]) -> tuple[Revert, ...]:
    """Return the reverts that patches tell of, oldest first. real: the real time of an instant of the clock in use.

    An attempt that was not applied, or of which nobody knows, leaves the floor as it found it or as it wanted it.
    """
    found: list[Revert] = []
    ours: Patch | None = None  # the newest that was applied, until somebody is seen to have changed it
    left: set[int | None] = set()
    for patch in sorted(patches, key=lambda one: (one.at, one.id)):
        if ours is not None and patch.floor_before is not None and patch.floor_before not in left:
            found.append(Revert(real(ours.at), real(patch.at), None))
            ours = None
        if patch.applied:
            ours = patch if patch.action == "apply" else None
            if found and found[-1].ended is None:
                found[-1] = replace(found[-1], ended=real(patch.at))
        left = {patch.floor_after} if patch.applied else {*left, patch.floor_before, patch.floor_after}
    return tuple(found)


def with_reverts_before(state: HpaState, told: Sequence[Revert], *, now: datetime) -> HpaState:
    """Return the state with the reverts of the last half hour that the stored patches tell of, each counted once.

    now: real time. A state whose actuator counts none (`reverted_at` None) is returned as it is.
    """
    if state.reverted_at is None:
        return state
    seen = state.reverted_at
    unseen = [one.by for one in told if now - one.by < REVERTS_WITHIN and not any(map(one.was_at, seen))]
    all_known = tuple(sorted((*unseen, *seen)))
    return replace(state, reverts=len(all_known), reverted_at=all_known)
