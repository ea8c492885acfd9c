"""What the demo plays: which window of a traffic curve, how high, and when. Pure.

A story is a demand curve cut in two: history, which is imported, and a window, which is played live. The window is
chosen to hold the steepest sustained 30-minute rise of the last third of the curve and a fall, the rates are scaled to
what this machine can serve, and time is moved so that the window ends at the present.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

RISE = timedelta(minutes=30)
LEAD_IN = timedelta(minutes=60)  # of the window before the rise: the loop must be seen to act before it
COARSEST_STEP = timedelta(minutes=5)  # a coarser curve is interpolated to this


class StoryError(ValueError):
    """The curve cannot be played: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is imported and what is played, in the demo's time.

    history: `timestamp` (aware UTC, start of step), `value` (requests in the step), up to the window.
    curve: `timestamp`, `rps` (requests/s of the demo's clock) from the window's start to the end of the curve.
    """

    source: str
    step: timedelta
    history: pd.DataFrame
    curve: pd.DataFrame
    window_from: datetime
    window_to: datetime
    rise_at: datetime
    peak_rps: float


def tell_story(
    rates: pd.DataFrame,
    *,
    source: str,
    length: timedelta,
    peak_rps: float,
    ends_at: datetime,
) -> Story:
    """Return the story of a curve. rates: `timestamp` (aware UTC, ascending), `rps` (any scale, gaps absent).

    length: of the window, in the demo's time. peak_rps: what the window's highest 5-minute mean becomes.
    ends_at: when the window shall end; moved back to the step grid, so that nothing lies in the future.
    Raises StoryError when the curve is too short.
    """
    grid, step = _regular(rates)
    first, rise = choose_window(grid["rps"].to_numpy(), step=step, length=length)
    steps = int(length / step)
    shift = _floor(ends_at, step) - (grid["timestamp"].iloc[first] + length)
    played = grid["rps"].iloc[first : first + steps + 1]
    scale = peak_rps / float(_smooth(played.to_numpy(), step).max())
    moved = pd.DataFrame({"timestamp": grid["timestamp"] + shift, "rps": grid["rps"] * scale})
    history = moved.iloc[:first]
    return Story(
        source=source,
        step=step,
        history=pd.DataFrame(
            {"timestamp": history["timestamp"], "value": history["rps"] * step.total_seconds()}
        ).reset_index(drop=True),
        curve=moved.iloc[first:].reset_index(drop=True),
        window_from=moved["timestamp"].iloc[first].to_pydatetime(),
        window_to=(moved["timestamp"].iloc[first] + length).to_pydatetime(),
        rise_at=moved["timestamp"].iloc[rise].to_pydatetime(),
        peak_rps=peak_rps,
    )


def choose_window(rps: npt.NDArray[np.float64], *, step: timedelta, length: timedelta) -> tuple[int, int]:
    """Return (first index of the window, index at which the steepest sustained rise of the last third begins).

    The rise is sustained when each third of its half hour rises. Among the windows that hold it, with a lead-in before
    it, one whose fall after the peak is the deepest (or within a tenth of it) is taken; of these the latest, which
    shows most of what follows.
    """
    steps = int(length / step)
    lead_in = math.ceil(min(LEAD_IN, length / 4) / step)
    rise_steps = max(1, round(RISE / step))
    earliest = max(2 * len(rps) // 3, lead_in + 1)
    latest = len(rps) - 1 - rise_steps
    if steps < lead_in + rise_steps + 1 or latest <= earliest or len(rps) - steps <= 1:
        raise StoryError(
            f"the curve has {len(rps)} steps of {step}: too short for a window of {length} after two thirds of history"
        )
    smooth = _smooth(rps, step)
    starts = np.arange(earliest, latest)
    rise = smooth[starts + rise_steps] - smooth[starts]
    rise[~_sustained(smooth, starts, rise_steps)] = -np.inf
    if not np.isfinite(rise.max()):
        rise = smooth[starts + rise_steps] - smooth[starts]
    at = int(starts[int(np.argmax(rise))])
    firsts = np.arange(max(1, at + rise_steps + 1 - steps), at - lead_in + 1)
    firsts = firsts[firsts + steps < len(rps)]
    if len(firsts) == 0:
        firsts = np.array([len(rps) - steps - 1])
    falls = np.array([_fall(smooth[at : first + steps + 1]) for first in firsts])
    return int(firsts[falls >= 0.9 * falls.max()][-1]), at


def _sustained(
    smooth: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], rise_steps: int
) -> npt.NDArray[np.bool_]:
    """Tell for each start whether every third of the rise rises; a rise of fewer than three steps always is."""
    if rise_steps < 3:
        return np.ones(len(starts), dtype=bool)
    marks = [0, rise_steps // 3, 2 * rise_steps // 3, rise_steps]
    levels = np.stack([smooth[starts + mark] for mark in marks])
    return np.asarray((np.diff(levels, axis=0) > 0).all(axis=0))


def _fall(from_rise: npt.NDArray[np.float64]) -> float:
    """Return how far the curve comes down again after the peak that the rise leads to."""
    peak = int(np.argmax(from_rise))
    return float(from_rise[peak] - from_rise[peak:].min())


def _smooth(rps: npt.NDArray[np.float64], step: timedelta) -> npt.NDArray[np.float64]:
    """Return the centred 5-minute mean: one odd minute is no rise and no peak."""
    width = max(1, round(COARSEST_STEP / step))
    padded = np.pad(rps, (width // 2, (width - 1) // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _regular(rates: pd.DataFrame) -> tuple[pd.DataFrame, timedelta]:
    """Return the curve on its own regular grid, or on a 5-minute one where its own is coarser; gaps interpolated."""
    if len(rates) < 3:
        raise StoryError(f"a curve needs at least three rows, got {len(rates)}")
    series = rates.set_index("timestamp")["rps"].sort_index()
    step = min(series.index.to_series().diff().dropna().mode().iloc[0].to_pytimedelta(), COARSEST_STEP)
    grid = pd.date_range(series.index[0], series.index[-1], freq=step)
    dense = series.reindex(series.index.union(grid)).interpolate(method="time").reindex(grid)
    return pd.DataFrame({"timestamp": grid, "rps": dense.to_numpy(dtype=float)}), step


def _floor(moment: datetime, step: timedelta) -> pd.Timestamp:
    return pd.Timestamp(moment).floor(step)
