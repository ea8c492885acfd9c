"""A calendar over any forecast: learn the kinds of event ahead, admit those that proved themselves, apply. Pure.

Nothing of the base model is known here but that it can be asked for a forecast from an earlier origin. Where events
come from is left to `sources`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from forecaster.calendar.effects import (
    AHEAD,
    Base,
    Effect,
    Occurrence,
    Trial,
    applied,
    bins_of,
    epoch_of,
    learn,
    observe,
    prove,
    window_of,
)
from forecaster.calendar.types import Calendar, CalendarError, Event
from forecaster.forecast.types import DemandSeries, Forecast

MOST_OCCURRENCES = 8  # of a kind: the newest
LEAST_HISTORY = timedelta(days=2)  # before the origin an occurrence is forecast from


@dataclass(slots=True)
class Remembered:
    """Past occurrences of ONE series and set of quantiles that were forecast already: only a saving."""

    occurrences: dict[tuple[Event, tuple[float, ...]], Occurrence | None] = field(default_factory=dict)


def with_calendar(
    forecast: Forecast, series: DemandSeries, calendar: Calendar, *, base: Base, remembered: Remembered | None = None
) -> Forecast:
    """Return the forecast with the admitted effects of the events ahead, and with what is supposed; its notes say why.

    series: what the forecast rests on; rows from its origin on are not looked at. base: the same model without a
    calendar, with the same quantiles. Raises CalendarError when something is supposed of which nobody knows an effect.
    """
    remembered = remembered or Remembered()
    end = forecast.frame["ds"].iloc[-1].to_pydatetime() + forecast.step
    ahead = [event for event in calendar.events if _touches(event, forecast.origin, end)]
    trials = {
        kind: _trial(kind, forecast, series, calendar, base, remembered)
        for kind in sorted({event.kind for event in (*ahead, *calendar.supposed)})
    }
    values = forecast.frame.drop(columns="ds").to_numpy(dtype=np.float64)
    seconds = epoch_of(forecast)
    notes = []
    for kind in sorted({event.kind for event in ahead}):
        trial = trials[kind]
        notes.append(f"{kind}: {'its effect is in' if trial.admitted else 'left out'}; {trial.words}")
        for event in (event for event in ahead if event.kind == kind and trial.admitted):
            values = applied(values, bins_of(event, seconds), event, trial.effect, forecast.quantiles)
    for event in calendar.supposed:
        effect, words = _supposed(event, trials[event.kind])
        values = applied(values, bins_of(event, seconds), event, effect, forecast.quantiles)
        outside = "" if _touches(event, forecast.origin, end) else ", outside the horizon"
        notes.append(f"supposed: {event.kind} at {event.starts_at:%Y-%m-%dT%H:%MZ}, {words}{outside}")
    changed = calendar.supposed or any(trials[event.kind].admitted for event in ahead)
    frame = forecast.frame.copy()
    frame[frame.columns.drop("ds")] = values
    model = f"{forecast.model}+calendar" if changed else forecast.model
    return replace(forecast, frame=frame, model=model, notes=(*forecast.notes, *notes))


def past_of(kind: str, calendar: Calendar, series: DemandSeries, origin: datetime) -> list[Event]:
    """Return the newest occurrences of a kind that are over and have history before them, oldest first."""
    first = series.frame["ds"].iloc[0].to_pydatetime() + LEAST_HISTORY + AHEAD
    over = [
        event
        for event in calendar.events
        if event.kind == kind and window_of(event)[1] <= origin and window_of(event)[0] >= first
    ]
    return sorted(over, key=lambda event: event.starts_at)[-MOST_OCCURRENCES:]


def _trial(
    kind: str, forecast: Forecast, series: DemandSeries, calendar: Calendar, base: Base, remembered: Remembered
) -> Trial:
    found = []
    for event in past_of(kind, calendar, series, forecast.origin):
        key = (event, forecast.quantiles)
        if key not in remembered.occurrences:
            remembered.occurrences[key] = observe(event, series, base)
        found.append(remembered.occurrences[key])
    return prove(kind, [one for one in found if one is not None], forecast.quantiles)


def _supposed(event: Event, trial: Trial) -> tuple[Effect, str]:
    if event.factor is not None:
        return replace(learn(event.kind, []), deviation=trial.effect.deviation), f"times {event.factor:g}"
    if trial.effect.occurrences == 0:
        raise CalendarError(
            f"what if {event.kind!r}: expected a factor (such as x1.8), or past occurrences to learn from; got neither"
        )
    return trial.effect, f"as {trial.effect.occurrences} past occurrences taught"


def _touches(event: Event, since: datetime, until: datetime) -> bool:
    start, end = window_of(event)
    return start < until and end > since
