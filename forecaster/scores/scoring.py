"""The ticks that score: read the forecasts whose truth has come, score them, write; from the stored watermark on.

Called again, late or after a kill, it goes on where the table ends, so a missed run is caught up by the next. A part of
a long backlog is done at each call. What is scored already is scored again when its truth has changed since
(`rescore_once`). What a score is, is decided in `score`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from collector.catalog import Service
from collector.clickhouse import Client
from forecaster.forecast.demand import DemandError, clean_series
from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.history import read_history, read_known
from forecaster.scores.changed import changed
from forecaster.scores.drift import BEFORE, RECENT, Drift, came_between, drift_of
from forecaster.scores.score import BUCKETS, NAIVE_HISTORY, Bucket, Score, Summary, score_forecast, summarise
from forecaster.scores.score_store import (
    read_forecasts_after,
    read_forecasts_from,
    read_scored,
    read_scored_until,
    read_scores,
    write_scores,
)
from forecaster.settings import Settings
from forecaster.store.instants import floored
from tidegauge.clock import Clock

SCORED_AGAIN = timedelta(days=7)  # forecasts made before that keep the score they have
MOST_AT_ONCE = 96  # forecasts of a bucket per call: a long backlog is worked off without blocking the other services


def score_once(client: Client, service: Service, *, clock: Clock, settings: Settings) -> int:
    """Score every forecast whose bucket's truth is settled, oldest first; return how many scores were written.

    Raises StoreError: nothing is lost, the next call does the same again.
    """
    now = clock.now()
    known = read_known(client, service.name, finest=settings.step)
    if known is None:
        return 0
    settled = floored(min(now - settings.settle * clock.speed_now(), known.end), known.step)
    done = read_scored_until(client, service.name)
    written = 0
    for bucket in BUCKETS:
        if bucket.after >= settings.horizon:
            continue
        due = read_forecasts_after(
            client,
            service.name,
            after=done.get(bucket.name),
            until=settled - bucket.until,
            reach=bucket.until,
            most=MOST_AT_ONCE,
        )
        scores = _scores(client, service, due, bucket)
        write_scores(client, scores, scored_at=now)
        written += len(scores)
    return written


def rescore_once(client: Client, service: Service, *, clock: Clock) -> int:
    """Score again every forecast of the last week whose truth has changed since; return how many scores were written.

    Late data, a back-fill, a mark or a load run that masks: whatever changed the truth. Done twice, the second time
    finds nothing to do. Raises StoreError: the next call does the same again.
    """
    now = clock.now()
    scored = read_scored(client, service.name, since=now - SCORED_AGAIN)
    written = 0
    for step_seconds in scored["step_seconds"].unique():
        rows, step = scored[scored["step_seconds"] == step_seconds], timedelta(seconds=int(step_seconds))
        since, until = (datetime.fromtimestamp(edge, UTC) for edge in (rows["origin"].min(), now.timestamp()))
        told = read_history(client, service.name, since=since, until=until, step=step)
        if told.empty:
            continue
        due = changed(rows, clean_series(service.name, told, step=step))
        for bucket in BUCKETS:
            origins = due["origin"][due["bucket"] == bucket.name].tolist()
            for first in range(0, len(origins), MOST_AT_ONCE):
                part = origins[first : first + MOST_AT_ONCE]
                again = read_forecasts_from(client, service.name, part, reach=bucket.until)
                scores = _scores(client, service, again, bucket)
                write_scores(client, scores, scored_at=now)
                written += len(scores)
    return written


def judge(client: Client, service: str, *, now: datetime) -> tuple[tuple[Summary, ...], Drift]:
    """Return what the last day's scores say by bucket, and whether the forecast has drifted."""
    scores = read_scores(client, service, since=now - RECENT - BEFORE - BUCKETS[-1].until, until=now)
    return summarise(came_between(scores, now - RECENT, now)), drift_of(scores, now=now)


def _scores(client: Client, service: Service, due: list[Forecast], bucket: Bucket) -> list[Score]:
    """Return the scores of forecasts that may have steps of different lengths (a step changes with the settings)."""
    found = []
    for step in sorted({forecast.step for forecast in due}):
        of_step = [forecast for forecast in due if forecast.step == step]
        series = _series(client, service, of_step, bucket)
        if series is not None:
            found += [score_forecast(forecast, series, bucket) for forecast in of_step]
    return sorted(found, key=lambda score: score.origin)


def _series(client: Client, service: Service, due: list[Forecast], bucket: Bucket) -> DemandSeries | None:
    step = due[0].step
    since, until = due[0].origin - NAIVE_HISTORY, due[-1].origin + bucket.until
    rows = read_history(client, service.name, since=since, until=until, step=step)
    try:
        return clean_series(service.name, rows, step=step, until=until)
    except DemandError:
        return None  # the record has forgotten these days
