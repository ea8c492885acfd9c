"""Thresholds in k6's syntax, and the verdict of a run. Pure: what was measured is an argument.

`metric` or `metric{route:search}`, then `p(95)<2000`, or an object {threshold, abortOnFail, delayAbortEval, window,
allowNoData}. Unlike k6: http_req_duration counts from the intended start (http_req_service from sent), no data fails,
arrivals that were not sent fail unless a threshold on dropped_iterations says what is allowed, and a `window` is judged
over each span of that length, not over the whole run. Durations are milliseconds; `rate` of http_req_failed and checks
is a share 0..1, of counters per second.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loadgen.metrics import Measured, Trend, merged

TRENDS: dict[str, Callable[[Measured], Trend]] = {
    "http_req_duration": lambda measured: measured.response,
    "http_req_service": lambda measured: measured.service,
    "http_req_waiting": lambda measured: measured.first_byte,
    "send_lag": lambda measured: measured.lag,
}
AGGREGATES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(TRENDS, ("avg", "min", "max", "med", "p(N)")),
    "http_req_failed": ("rate",),
    "checks": ("rate",),
    "http_reqs": ("count", "rate"),
    "dropped_iterations": ("count", "rate"),
    "vus": ("value",),
}
OPERATORS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "===": operator.eq, "!=": operator.ne,
}  # fmt: skip
EXPRESSION = re.compile(
    r"\s*(avg|min|max|med|count|rate|value|p\(\s*(\d+(?:\.\d+)?)\s*\))\s*(<=|>=|===|==|!=|<|>)\s*(-?\d+(?:\.\d+)?)\s*"
)
METRIC = re.compile(r"\s*([a-z_]+)\s*(?:\{\s*([a-z_]+)\s*:\s*([^{}]+?)\s*\})?\s*")
TAGS = ("route",)
NOT_SENT = "dropped_iterations"

Status = Literal["pass", "fail", "invalid"]


class ThresholdError(ValueError):
    """The threshold is not as expected: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One promise: `aggregate` (with its quantile 0..1) of `metric`, of one route or all, compared with `bound`."""

    metric: str
    aggregate: str
    comparison: str
    bound: float
    quantile: float | None = None
    route: str | None = None
    abort_on_fail: bool = False
    delay_abort_seconds: float = 0.0
    window_seconds: int | None = None
    allow_no_data: bool = False

    @property
    def name(self) -> str:
        """Return the threshold as people write it."""
        tag = f"{{route:{self.route}}}" if self.route else ""
        what = self.aggregate if self.quantile is None else f"p({100 * self.quantile:g})"
        window = f" in each {self.window_seconds} s" if self.window_seconds else ""
        return f"{self.metric}{tag}: {what}{self.comparison}{self.bound:g}{window}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A threshold, the value it was compared with (None: no data), and whether it held."""

    threshold: Threshold
    value: float | None
    held: bool

    def to_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {"threshold": self.threshold.name, "value": self.value, "held": self.held}


@dataclass(frozen=True, slots=True)
class Verdict:
    """pass, fail or invalid, and why. Invalid: the figures may not be believed, whichever way they point."""

    status: Status
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 for pass, 99 (as k6) for a crossed threshold, 1 for invalid."""
        return {"pass": 0, "fail": 99, "invalid": 1}[self.status]


def parse_threshold(metric: str, expression: str, **more: Any) -> Threshold:
    """Return the threshold of a metric key and an expression; `more`: Threshold's own fields. Raises ThresholdError."""
    named = METRIC.fullmatch(metric)
    if named is None or named[1] not in AGGREGATES:
        raise ThresholdError(f"expected one of {', '.join(AGGREGATES)}, with or without {{route:NAME}}; got {metric!r}")
    if named[2] is not None and (named[2] not in TAGS or named[1] == "vus"):
        raise ThresholdError(f"{named[1]}: expected no tag but {', '.join(TAGS)}, got {named[2]!r}")
    found = EXPRESSION.fullmatch(expression)
    if found is None:
        raise ThresholdError(f"{metric}: expected an expression such as p(95)<200, got {expression!r}")
    kind = "p(N)" if found[2] is not None else found[1]
    if kind not in AGGREGATES[named[1]]:
        raise ThresholdError(f"{metric}: expected one of {', '.join(AGGREGATES[named[1]])}, got {found[1]!r}")
    quantile = None if found[2] is None else round(float(found[2]) / 100, 9)
    if quantile is not None and not 0 < quantile <= 1:
        raise ThresholdError(f"{metric}: expected a percentile above 0 and up to 100, got {found[1]!r}")
    return Threshold(named[1], kind, found[3], float(found[4]), quantile, named[3], **more)


def parse_slo(text: str) -> Threshold:
    """Return the threshold of one line, `http_req_duration: p(95)<200`. Raises ThresholdError."""
    tag_end = text.find("}")
    metric, colon, expression = text[tag_end + 1 :].partition(":")
    if not colon:
        raise ThresholdError(f"expected METRIC: EXPRESSION, such as 'http_req_failed: rate<0.01'; got {text!r}")
    return parse_threshold(text[: tag_end + 1] + metric, expression)


def with_unsent(thresholds: Sequence[Threshold]) -> tuple[Threshold, ...]:
    """Return the thresholds with `dropped_iterations: count==0` added, unless one of them says what is allowed."""
    if any(threshold.metric == NOT_SENT for threshold in thresholds):
        return tuple(thresholds)
    return (*thresholds, Threshold(NOT_SENT, "count", "==", 0.0))


def value_of(threshold: Threshold, measured: Measured, *, seconds: float, users: int = 0) -> float | None:
    """Return what the threshold looks at, in its unit; None where there is no data. seconds: the span measured over."""
    if threshold.metric in TRENDS:
        return _trend_ms(threshold, TRENDS[threshold.metric](measured))
    if threshold.metric == "vus":
        return float(users)
    if threshold.metric == "http_req_failed":
        return measured.failed / measured.sent if measured.sent else None
    if threshold.metric == "checks":
        made = measured.checks_passed + measured.checks_failed
        return measured.checks_passed / made if made else None
    if not measured.intended:
        return None
    count = measured.unsent if threshold.metric == NOT_SENT else measured.sent
    if threshold.aggregate == "count":
        return float(count)
    return count / seconds if seconds > 0 else None


def _trend_ms(threshold: Threshold, trend: Trend) -> float | None:
    if threshold.aggregate == "avg":
        value = trend.mean_us()
    elif threshold.aggregate == "min":
        value = trend.least_us
    elif threshold.aggregate == "max":
        value = trend.longest_us
    else:
        value = trend.quantile_us(0.5 if threshold.quantile is None else threshold.quantile)
    return None if value is None else value / 1000


def judge(threshold: Threshold, measured: Measured, *, seconds: float, users: int = 0) -> Judged:
    """Return whether the threshold held of what was measured; without data it did not, unless that is allowed."""
    value = value_of(threshold, measured, seconds=seconds, users=users)
    held = threshold.allow_no_data if value is None else OPERATORS[threshold.comparison](value, threshold.bound)
    return Judged(threshold, value, bool(held))


def select(threshold: Threshold, routes: Mapping[str, Measured], overall: Measured) -> Measured:
    """Return what the threshold is about: one route (nothing when there is none of that name) or all."""
    return overall if threshold.route is None else routes.get(threshold.route, Measured())


@dataclass(slots=True)
class WindowWatch:
    """Judges a windowed threshold as each second becomes complete, and keeps the worst that happened."""

    threshold: Threshold
    last: list[Measured]
    crossed: Judged | None = None
    latest: Judged | None = None

    def take(self, routes: Mapping[str, Measured], overall: Measured) -> None:
        """Take the next complete second; once the window is full, each further second ends one."""
        span = self.threshold.window_seconds or 1
        self.last = [*self.last[-(span - 1) :], select(self.threshold, routes, overall)] if span > 1 else [
            select(self.threshold, routes, overall)
        ]  # fmt: skip
        if len(self.last) == span:
            self.latest = judge(self.threshold, merged(self.last), seconds=span)
            if not self.latest.held and self.crossed is None:
                self.crossed = self.latest

    def judged(self) -> Judged:
        """Return the first crossing, else the latest window; a run shorter than the window has no data."""
        return self.crossed or self.latest or Judged(self.threshold, None, self.threshold.allow_no_data)


def verdict_of(judged: Sequence[Judged], invalid_because: Sequence[str]) -> Verdict:
    """Return the verdict: invalid before fail before pass, with the reasons."""
    if invalid_because:
        return Verdict("invalid", tuple(invalid_because))
    crossed = [f"{one.threshold.name} (got {_shown(one.value)})" for one in judged if not one.held]
    return Verdict("fail", tuple(crossed)) if crossed else Verdict("pass", ())


def _shown(value: float | None) -> str:
    return "no data" if value is None else f"{value:.4g}"
