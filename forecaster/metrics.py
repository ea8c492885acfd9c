"""The forecaster's own metrics, and its own SLO: a forecast young enough, a record fresh enough.

A value that nobody knows is absent, never 0. The registry is made by the composition root; the ticks know nothing of
this module, the scheduler reports to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from forecaster.forecast.types import Forecast, NoForecast
from forecaster.loop.tick import Decided
from forecaster.scores.drift import Drift
from forecaster.scores.score import Summary
from forecaster.settings import Settings
from forecaster.store import ReplicaState
from tidegauge.clock import Clock

_TICK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# The platform's own objectives, in time of the clock in use: a refresh may fail twice before the forecast is too old.
_REFRESHES_IN_AGE = 4
_RECORD_FRESHNESS = timedelta(minutes=10)


class ForecasterMetrics:
    """What `/metrics` shows. Ages are computed when they are asked for, so that a stuck loop shows."""

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._oldest_forecast = settings.refresh * _REFRESHES_IN_AGE
        self.registry = CollectorRegistry()
        by_service = ("service",)
        self._forecast = self._gauge("forecast_rps", "Highest demand forecast for the lead time", "service", "quantile")
        self._forecast_age = self._gauge("forecast_age_seconds", "Clock time since the forecast's origin", *by_service)
        self._record_age = self._gauge("record_age_seconds", "Clock time since the newest recorded step", *by_service)
        self._wanted = self._gauge("floor_wanted", "Floor that the plan asked for before guardrails", *by_service)
        self._floor = self._gauge("floor", "Floor in force", *by_service)
        self._replicas = self._gauge("replicas", "Replicas as the autoscaler sees them", "service", "state")
        self._capacity = self._gauge("capacity_rps", "Requests/s one replica serves", "service", "bound")
        self._skill = self._gauge(
            "forecast_skill", "1 - quantile loss / seasonal naive one, of the last day's truths", "service", "bucket"
        )
        self._coverage = self._gauge(
            "forecast_coverage", "Share of the last day's truths at or below it", "service", "bucket", "quantile"
        )
        self._drift = self._gauge("forecast_drift", "1: the forecast is not what it was, 0: it is", *by_service)
        self._leader = self._gauge("leader", "1: this forecaster acts, 0: it stands by")
        self._decisions = Counter(
            "tidegauge_decisions", "Decisions taken", ("service", "outcome"), registry=self.registry
        )
        self._applied = Counter(
            "tidegauge_floor_writes", "Floors written to the cluster", ("service", "result"), registry=self.registry
        )
        self._ticks = Histogram(
            "tidegauge_tick_seconds", "Real time a tick took", ("tick",), buckets=_TICK_BUCKETS, registry=self.registry
        )
        self._errors = Counter("tidegauge_tick_errors", "Ticks that failed", ("tick", "error"), registry=self.registry)
        self._checks = Counter(
            "tidegauge_slo_checks",
            "Own SLO: checks made (valid), and checks that found the objective kept (good)",
            ("service", "objective", "result"),
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    @contextmanager
    def timed(self, tick: str) -> Iterator[None]:
        """Measure one tick, and count the kind of error that ends it."""
        with self._ticks.labels(tick).time():
            try:
                yield
            except Exception as error:
                self._errors.labels(tick, type(error).__name__).inc()
                raise

    def saw_decision(self, decided: Decided) -> None:
        """Take over what a decide tick saw and said, and check the own SLO."""
        situation, decision = decided.situation, decided.stored.decision
        service = situation.service
        self._decisions.labels(service, decision.outcome).inc()
        if decision.apply:
            self._applied.labels(service, "applied" if decided.stored.applied else "failed").inc()
        if decision.outcome == "no_plan":
            with suppress(KeyError):
                self._wanted.remove(service)
        else:
            self._wanted.labels(service).set(decision.floor_wanted)
        if situation.capacity is not None:
            self._capacity.labels(service, "low").set(situation.capacity.low_rps)
            self._capacity.labels(service, "high").set(situation.capacity.high_rps)
        self._saw_forecast(service, situation.forecast, lead=situation.scaling.lead, now=situation.now)
        if situation.metric_at is not None:
            self._record_age.labels(service).set_function(_age(self._clock, situation.metric_at))
        self._check(service, situation.forecast, situation.metric_at, situation.now)

    def saw_state(self, state: ReplicaState) -> None:
        """Take over what an observe tick saw of the autoscaler."""
        self._floor.labels(state.service).set(state.hpa.floor)
        for name in ("desired", "current", "ready"):
            self._replicas.labels(state.service, name).set(getattr(state.hpa, name))

    def saw_scores(self, service: str, summaries: Sequence[Summary], drift: Drift) -> None:
        """Take over what the last day's scores say."""
        for summary in summaries:
            if summary.skill is not None:
                self._skill.labels(service, summary.bucket).set(summary.skill)
            for level, share in summary.coverage.items():
                self._coverage.labels(service, summary.bucket, f"{level:g}").set(share)
        if drift.compared:
            self._drift.labels(service).set(1 if drift.reasons else 0)

    def saw_leadership(self, leads: bool) -> None:
        """Take over whether this forecaster acts."""
        self._leader.set(1 if leads else 0)

    def _saw_forecast(self, service: str, forecast: Forecast | NoForecast, *, lead: timedelta, now: datetime) -> None:
        if isinstance(forecast, NoForecast):
            return
        self._forecast_age.labels(service).set_function(_age(self._clock, forecast.origin))
        frame = forecast.frame
        ahead = frame[(frame["ds"] > now - forecast.step) & (frame["ds"] <= now + lead)]
        if ahead.empty:
            return
        for level, column in zip(forecast.quantiles, frame.columns.drop("ds"), strict=True):
            self._forecast.labels(service, f"{level:g}").set(float(ahead[column].max()))

    def _check(self, service: str, forecast: Forecast | NoForecast, metric_at: datetime | None, now: datetime) -> None:
        young = isinstance(forecast, Forecast) and now - forecast.origin <= self._oldest_forecast
        fresh = metric_at is not None and now - metric_at <= _RECORD_FRESHNESS
        for objective, good in (("forecast_age", young), ("record_freshness", fresh)):
            self._checks.labels(service, objective, "valid").inc()
            self._checks.labels(service, objective, "good").inc(int(good))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"tidegauge_{name}", text, labels, registry=self.registry)


def _age(clock: Clock, since: datetime) -> Callable[[], float]:
    """Return a function that says how many seconds of the clock in use have passed since an instant."""
    return lambda: max(0.0, clock.now_seconds() - since.timestamp())
